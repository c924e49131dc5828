"""Rows on their way to the encoder: who is in which split.

The test rows are kept as they came, all columns of the source: each model that is asked about
them, this run's or the champion, types them by its own contract.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.columns import CategoryColumn
from pipeline_lib.config.splits import (
    GroupSplit,
    HashSplit,
    PredefinedSplit,
    StratifiedSplit,
    TimeSplit,
)
from pipeline_lib.data.contract.check_snapshot import CheckedRows, split_source_columns
from pipeline_lib.data.contract.column_rules import hidden_columns
from pipeline_lib.data.contract.declared import conform, declared_columns
from pipeline_lib.data.hashing import Hashes
from pipeline_lib.data.row_hashes import RowHasher
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.data.splits.assign import SPLITS, UNUSED, SplitAssigner, SplitName
from pipeline_lib.data.values.casts import arrow_type, read_columns
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.storage.digests import code_digest, digest_bytes, digest_json
from pipeline_lib.storage.json_files import Json
from pipeline_lib.storage.publishing import believed, publish

_ASSIGNMENT = "assignment.parquet"


@dataclass(frozen=True)
class SplitRows:
    """The split of every row of a snapshot; `rule` identifies how it was split.

    `zones` are the time zones of columns of times that have one.
    """

    folder: Path
    digest: str
    snapshot: Snapshot
    rule: str
    n_rows: dict[SplitName, int]
    n_unused: int
    warnings: tuple[str, ...]
    zones: Mapping[str, str] = field(default_factory=dict[str, str])

    def assignment(self) -> npt.NDArray[np.int8]:
        """Return positions in `SPLITS`, −1 for rows that no split uses; shape ``(n_rows,)``."""
        return pq.read_table(self.folder / _ASSIGNMENT)["split"].to_numpy()

    def read(self, split: SplitName) -> pa.Table:
        """Return the rows of a split, all columns, untyped."""
        return pa.concat_tables(self._tables(split))

    def batches(self, split: SplitName, n_rows: int) -> Iterator[pa.Table]:
        """Yield the rows of a split, all columns, untyped; `n_rows` at a time, at last the rest."""
        rest: list[pa.Table] = []
        for table in self._tables(split):
            whole = pa.concat_tables([*rest, table])
            n_whole = whole.num_rows - whole.num_rows % n_rows
            for start in range(0, n_whole, n_rows):
                yield whole.slice(start, n_rows)
            rest = [whole.slice(n_whole)]
        if rest and rest[0].num_rows:
            yield rest[0]

    def _tables(self, split: SplitName) -> Iterator[pa.Table]:
        """Yield the rows of a split as they come, a bounded number at a time."""
        if split == "test":
            # Without pre_buffer: it would hold the whole file, compressed, until the end.
            with pq.ParquetFile(self.folder / "test.parquet", pre_buffer=False) as file:
                for number in range(file.num_row_groups):
                    yield file.read_row_group(number, use_threads=False)
            return
        number, first_row, assigned = SPLITS.index(split), 0, self.assignment()
        for batch in self.snapshot.batches():
            mine = assigned[first_row : first_row + batch.num_rows] == number
            yield batch.filter(pa.array(mine))
            first_row += batch.num_rows


def split_columns(config: PipelineConfig) -> list[str]:
    """Return the columns that decide a row's split: its key, else its features."""
    return list(config.data.key) or list(config.columns)


def split_checked(config: PipelineConfig, checked: CheckedRows) -> SplitRows:
    """Write down the split of each row, and the test rows as they came.

    Raises:
        ContractError: a split is empty, or rows have no time to be split by.
        StorageError: the place cannot be written.
    """
    by, snapshot, data = split_columns(config), checked.snapshot, config.data
    zones = checked.report.zones
    rule = _rule_digest(config, zones.get(data.time or ""))
    typing = {name: column.model_dump(mode="json") for name, column in config.columns.items()}
    aside = digest_bytes(checked.report.unused_rows.tobytes())
    # The target counts for every kind of split: warnings name its classes.
    target: list[Json] = [data.target, data.task]
    target += [data.weight] if data.weight is not None else []
    digest = digest_json([snapshot.digest, aside, rule, typing, target, code_digest()])
    folder = snapshot.dataset.splits / digest[:16]
    manifest = believed(folder)
    if manifest is None or manifest.get("digest") != digest:
        manifest = _split(config, checked, by, folder, digest)
    n_rows = cast("dict[SplitName, int]", manifest["n_rows"])
    counts: dict[SplitName, int] = {name: n_rows[name] for name in SPLITS}
    warnings = tuple(cast("list[str]", manifest["warnings"]))
    n_unused = checked.n_rows - sum(counts.values())
    return SplitRows(folder, digest, snapshot, rule, counts, n_unused, warnings, zones)


def _rule_digest(config: PipelineConfig, zone: str | None) -> str:
    """Return what identifies a way to split, whatever the rows.

    The types of hashed columns are a part of it: as a word `1` has another hash than as a number.
    """
    split, data = config.split, config.data
    declared = declared_columns(config.columns, data)
    hashed: Sequence[str] = ()
    if isinstance(split, GroupSplit):
        hashed = split.columns
    elif isinstance(split, HashSplit | StratifiedSplit):
        hashed = split_columns(config)
    types = {name: str(arrow_type(declared.get(name, CategoryColumn()))) for name in hashed}
    parts: list[Json] = [cast("Json", types), split.model_dump(mode="json")]
    if isinstance(split, TimeSplit):
        parts += [data.time, data.time_format, *([zone] if zone not in {None, "UTC"} else [])]
    if isinstance(split, StratifiedSplit):
        parts += [data.target, data.task]
    return digest_json(parts)


def _split(
    config: PipelineConfig, checked: CheckedRows, by: Sequence[str], folder: Path, digest: str
) -> dict[str, Json]:
    zone = checked.report.zones.get(config.data.time or "")
    hidden = hidden_columns(config.columns) | set(config.data.private)
    assigner = SplitAssigner(config.split, by=by, data=config.data, zone=zone, hidden=hidden)
    # By its features a row cannot be on two sides; by anything else equal rows can.
    hasher = None if _goes_by_features(config) else RowHasher(list(config.columns), seed=0)
    kept, hashes = checked.kept(), list[npt.NDArray[np.uint64]]()
    for batch in _kept_batches(checked, kept):
        typed = typed_to_split(batch, config)
        assigner.add(typed)
        if hasher is not None:
            hashes.append(hasher.hash(typed))
    assignment = assigner.finish()
    warnings = [*assignment.warnings, *_shared(hashes, assignment.splits)]
    splits = np.full(len(kept), UNUSED, np.int8)
    splits[kept] = assignment.splits
    facts: dict[str, Json] = {
        "digest": digest,
        "n_rows": {str(name): n for name, n in assignment.counts.items()},
        "warnings": warnings,
    }
    dataset = checked.snapshot.dataset
    dataset.home.writable(dataset.splits)
    with publish(folder, facts) as scratch, ExitStack() as stack:
        pq.write_table(pa.table({"split": splits}), scratch / _ASSIGNMENT, compression="zstd")
        first_row, writer = 0, None
        for batch in checked.snapshot.batches():
            is_test = splits[first_row : first_row + batch.num_rows] == SPLITS.index("test")
            first_row += batch.num_rows
            writer = writer or stack.enter_context(
                pq.ParquetWriter(scratch / "test.parquet", batch.schema, compression="zstd")
            )
            writer.write_table(batch.filter(pa.array(is_test)))
    return facts


def typed_to_split(rows: pa.Table, config: PipelineConfig) -> pa.Table:
    """Return the columns of the contract and those that the split goes by, typed.

    Raises:
        ContractError: a column that only the split goes by holds what is no word.
    """
    columns = declared_columns(config.columns, config.data)
    known = _known_words(config)
    typed = read_columns(rows, columns, known=known)
    extra = {name: CategoryColumn() for name in split_source_columns(config) if name not in columns}
    words = conform(rows, extra, source="the column that `split` names", known=known)
    for name in extra:
        typed = typed.append_column(name, words[name])
    return typed


def _known_words(config: PipelineConfig) -> dict[str, KnownWords]:
    """Return the words that a predefined split knows: its column may hold booleans or numbers."""
    split = config.split
    if not isinstance(split, PredefinedSplit):
        return {}
    words = pa.array([*split.train, *split.val, *split.test], pa.string())
    return {split.column: KnownWords(words)}


def _goes_by_features(config: PipelineConfig) -> bool:
    return isinstance(config.split, HashSplit | StratifiedSplit) and not config.data.key


def _shared(hashes: Sequence[Hashes], splits: npt.NDArray[np.int8]) -> list[str]:
    """Say how many test rows have the features of a training row."""
    if not hashes:
        return []
    every = np.concatenate(hashes)
    train, test = (every[splits == SPLITS.index(name)] for name in ("train", "test"))
    n_shared = shared_rows([train], [test])
    if not n_shared:
        return []
    share = n_shared / len(test)
    return [
        f"{n_shared:,} of {len(test):,} test rows ({share:.1%}) have the features of a training "
        "row: the model is tested there on what it has seen"
    ]


def shared_rows(train: Iterable[Hashes], other: Iterable[Hashes]) -> int:
    """Count the rows of another split whose features stand in train as well.

    Args:
        train: a hash per row, in blocks.
        other: the same of the other split.
    """
    known = np.unique(np.concatenate([np.empty(0, np.uint64), *train]))
    return sum(int(np.isin(block, known).sum()) for block in other)


def _kept_batches(checked: CheckedRows, kept: npt.NDArray[np.bool_]) -> Iterator[pa.Table]:
    """Yield the raw rows that are not quarantined."""
    first_row = 0
    for batch in checked.snapshot.batches():
        mine = kept[first_row : first_row + batch.num_rows]
        yield batch if mine.all() else batch.filter(pa.array(mine))
        first_row += batch.num_rows
