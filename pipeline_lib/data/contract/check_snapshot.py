"""A snapshot checked against its contract: bad rows are quarantined, the rest may be trained on."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.columns import Column
from pipeline_lib.config.places import place_of
from pipeline_lib.config.splits import GroupSplit, PredefinedSplit
from pipeline_lib.data.contract.checker import ContractChecker
from pipeline_lib.data.contract.declared import declared_columns
from pipeline_lib.data.contract.quarantine import ContractReport
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.data.values.casts import read_columns
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.data.values.written import has_typed_values
from pipeline_lib.errors import StorageError
from pipeline_lib.storage.digests import code_digest, digest_json
from pipeline_lib.storage.replacing import replacing

OnBatch = Callable[[pa.Table, npt.NDArray[np.int64]], None]


@dataclass(frozen=True)
class CheckedRows:
    """A snapshot that keeps the contract, rows in quarantine aside.

    `quarantine` is the file with those rows, if there are any.
    """

    snapshot: Snapshot
    report: ContractReport
    quarantine: Path | None = None

    @property
    def n_rows(self) -> int:
        """The number of rows that may be trained on."""
        return self.report.n_used

    def kept(self) -> npt.NDArray[np.bool_]:
        """Return which rows of the snapshot may be trained on, shape ``(n_rows,)``."""
        return ~self.report.mask(0, self.report.n_rows)


def run_key(config: PipelineConfig, snapshot: Snapshot) -> str:
    """Return what makes two runs the same: the hash of snapshot, config and code."""
    return digest_json([snapshot.digest, config.digest(), code_digest()])[:16]


def split_source_columns(config: PipelineConfig) -> tuple[str, ...]:
    """Return the columns that the split goes by besides those that the contract knows."""
    split = config.split
    if isinstance(split, GroupSplit):
        return split.columns
    return (split.column,) if isinstance(split, PredefinedSplit) else ()


def named_columns(config: PipelineConfig) -> set[str]:
    """Return every column that the config names, those of rules aside."""
    declared = declared_columns(config.columns, config.data)
    return {*declared, *split_source_columns(config)}


def contract_checker(config: PipelineConfig, *, source: str) -> ContractChecker:
    """Return a checker of the config's contract."""
    return ContractChecker(
        config.columns,
        config.data,
        config.validation,
        source=source,
        root=config.root,
        required=split_source_columns(config),
        place=partial(place_of, config),
    )


def check_snapshot(
    config: PipelineConfig,
    snapshot: Snapshot,
    *,
    on_batch: OnBatch | None = None,
    known: Mapping[str, KnownWords] | None = None,
) -> CheckedRows:
    """Check a snapshot against the contract, and quarantine bad rows.

    Args:
        config: the contract.
        snapshot: the run's rows.
        on_batch: shown each batch, typed, less the quarantined rows, and where the others
            stand in the snapshot.
        known: words by feature or target; `on_batch` sees typed values in their spelling.

    Raises:
        DataError: see `data.contract.ContractChecker.finish`.
        StorageError: the quarantine cannot be written.
    """
    checker, first_row = contract_checker(config, source=snapshot.source), 0
    declared = declared_columns(config.columns, config.data)
    of_words = {*config.columns, config.data.target}
    known = {name: words for name, words in (known or {}).items() if name in of_words}
    # Which rows repeat a key is known at the end only: then they are shown in a second pass.
    # So it is of rows that one copy of the table has no use for.
    by_key, by_copy = config.validation.unique_key, config.validation.duplicates
    is_late = by_key == "quarantine" if config.data.key else by_copy == "drop"
    for batch in snapshot.batches():
        checked = checker.check(batch)
        if on_batch is not None and not is_late:
            kept = np.flatnonzero(~checked.quarantined)
            is_whole = len(kept) == batch.num_rows
            typed = _spelled(checked.typed, batch, declared, known)
            on_batch(typed if is_whole else typed.take(kept), kept + first_row)
        first_row += batch.num_rows
    report = checker.finish(snapshot.batches)
    if on_batch is not None and is_late:
        first_row = 0
        for batch in snapshot.batches():
            kept = np.flatnonzero(~report.mask(first_row, batch.num_rows))
            on_batch(read_columns(batch.take(kept), declared, known=known), kept + first_row)
            first_row += batch.num_rows
    if not report.n_quarantined:
        return CheckedRows(snapshot, report)
    return CheckedRows(snapshot, report, _put_aside(config, snapshot, report))


def _spelled(
    typed: pa.Table, raw: pa.Table, declared: Mapping[str, Column], known: Mapping[str, KnownWords]
) -> pa.Table:
    """Return a typed batch whose typed values have the spelling of known words."""
    for name, words in known.items():
        if has_typed_values(raw.schema.field(name)) and words.spellings:
            one = {name: declared[name]}
            spelled = read_columns(raw, one, known=known)[name]
            typed = typed.set_column(typed.column_names.index(name), name, spelled)
    return typed


def _put_aside(config: PipelineConfig, snapshot: Snapshot, report: ContractReport) -> Path:
    """Write the quarantined rows; return the file."""
    folder = snapshot.dataset.home.writable(snapshot.dataset.quarantine)
    path = folder / f"{run_key(config, snapshot)}.parquet"
    first_row, writer = 0, None
    try:
        with replacing(path) as scratch, ExitStack() as stack:
            for batch in snapshot.batches():
                aside = report.quarantined(batch, first_row)
                first_row += batch.num_rows
                writer = writer or stack.enter_context(
                    pq.ParquetWriter(scratch, aside.schema, compression="zstd")
                )
                writer.write_table(aside)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    return path
