"""Encoded splits of a dataset, published under their digest, and the ledger that grows with them.

The ledger is the encoder of the last encoded run. The next one starts from its vocabularies, so
a code keeps its category; a damaged ledger, or another dataset's, is refused, for codes would
change their meaning.
"""

import json
import shutil
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.columns import CategoryColumn, Column
from pipeline_lib.config.sources import CsvFile
from pipeline_lib.data.contract.declared import target_column, weight_column
from pipeline_lib.data.snapshots.snapshot import PartRows, Snapshot
from pipeline_lib.data.splits.assign import SplitName
from pipeline_lib.data.splits.split_rows import SplitRows
from pipeline_lib.data.values.casts import read_columns
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.data.values.written import has_typed_values
from pipeline_lib.encoding.encoder import CountedWords, Encoder
from pipeline_lib.encoding.ledger import LedgerChange, ledger_changes
from pipeline_lib.encoding.log_scale import LogScaleFitter
from pipeline_lib.encoding.numeric import Standardizer
from pipeline_lib.encoding.segments import Segment, read_segment, write_segment
from pipeline_lib.encoding.streaming import Counted, NumberedRows
from pipeline_lib.encoding.target import (
    NumberTarget,
    Target,
    class_target,
    on_its_scale,
    target_from_json,
    target_to_json,
)
from pipeline_lib.encoding.tensors import EncodedSplit, SplitFile, read_split
from pipeline_lib.encoding.vocabulary import Vocabulary
from pipeline_lib.errors import StorageError
from pipeline_lib.home import DatasetFolder
from pipeline_lib.storage.digests import code_digest, digest_json
from pipeline_lib.storage.json_files import Json, write_json
from pipeline_lib.storage.publishing import believed, publish, staged

# Below this many rows a part is numbered again each run with its neighbours: opening the files
# of a kept segment costs as much.
_MIN_KEPT_ROWS = 50_000


@dataclass(frozen=True)
class EncodedData:
    """Where encoded splits, encoder and target lie, and what encoding them changed in the ledger.

    `is_new` is False where an earlier run had encoded the same rows.
    """

    folder: Path
    digest: str
    changes: tuple[LedgerChange, ...]
    is_new: bool = field(default=True, compare=False)

    def read_encoder(self) -> Encoder:
        """Return the encoder that made the splits."""
        return Encoder.load(self.folder)

    def read_target(self) -> Target:
        """Return how the target is encoded."""
        text = (self.folder / "target.json").read_text("utf-8")
        return target_from_json(cast("dict[str, Any]", json.loads(text)))

    def scale_said(self) -> str:
        """Return which scale the target is on and why; empty of a plain linear one."""
        target = self.read_target()
        return target.scale_said if isinstance(target, NumberTarget) else ""

    def path(self, split: SplitName) -> Path:
        """Return the file of one encoded split."""
        return self.folder / f"{split}.parquet"

    def open(self, split: SplitName) -> SplitFile:
        """Return one encoded split that stays in its file."""
        return SplitFile(self.path(split), self.read_encoder())

    def read(self, split: SplitName) -> EncodedSplit:
        """Return one encoded split."""
        return read_split(self.path(split), self.read_encoder())


def read_ledger(dataset: DatasetFolder) -> Mapping[str, Vocabulary]:
    """Return a dataset's vocabularies so far; none before the first run.

    Raises:
        StorageError: the ledger is damaged, or another dataset's.
    """
    name, folder = dataset.name, dataset.ledger
    manifest = believed(folder)
    if manifest is None:
        if not folder.exists():
            return {}
        raise StorageError(
            f"{folder} is damaged: its files are not those of its manifest. Restore it, or remove "
            "it: then codes are taken from the registered models, and start anew without any"
        )
    if manifest.get("dataset") != name:
        raise StorageError(
            f"{folder} is the ledger of {manifest.get('dataset')!r}, not of {name!r}: its codes "
            f"mean other categories. Restore {name}'s own, or remove it: then codes are taken from "
            "the registered models, and start anew without any"
        )
    return Encoder.load(folder).vocabularies


def write_ledger(dataset: DatasetFolder, vocabularies: Mapping[str, Vocabulary]) -> None:
    """Write a dataset's vocabularies, those of columns that this run's config lacks included."""
    kept = Encoder({name: CategoryColumn() for name in vocabularies}, dict(vocabularies), {})
    dataset.home.writable(dataset.folder)
    facts = {"dataset": dataset.name, "encoder": kept.fingerprint()}
    with publish(dataset.ledger, facts) as scratch:
        kept.save(scratch)


class ScaleChooser(Protocol):
    """Chooses whether a target is learned on the log scale, by encoded rows."""

    def __call__(
        self, target: NumberTarget, encoder: Encoder, train: SplitFile, val: SplitFile
    ) -> NumberTarget:
        """Return `target`, with which both splits were encoded, or the linear one.

        Args:
            target: on the log scale.
            encoder: of both splits.
            train: rows to learn from.
            val: rows to choose by.
        """
        ...


def encode_splits(
    config: PipelineConfig,
    rows: SplitRows,
    *,
    today: str,
    grow: bool = True,
    last_ended: str = "",
    choose_scale: ScaleChooser | None = None,
) -> EncodedData:
    """Fit the encoder on the training rows, encode all splits, and let the ledger grow.

    The same rows under the same config are encoded once: later runs find them done.

    Args:
        config: columns, target, name.
        rows: the splits.
        today: day that categories are noted with (ISO 8601).
        grow: without it new categories get the codes that they would get, and the ledger stays
            as it is.
        last_ended: when a run of these rows last came to its end (ISO 8601, UTC); empty if none
            did. What encoding had changed before then is not news any more.
        choose_scale: decides where `data.target_scale` is auto; without it that is an error.

    Raises:
        ContractError: a class has no training row, or a target no logarithm.
        UnknownCategoryError: a category is unseen in a column with `on_unknown: error`.
        StorageError: the ledger is damaged, or a place cannot be written.
    """
    dataset, scale = rows.snapshot.dataset, config.data.target_scale
    ledger = read_ledger(dataset)
    encoding = config.encoding.model_dump(mode="json")
    key: list[Json] = [rows.digest, _settings(config), encoding, code_digest()]
    digest = digest_json(key + ([scale] if scale != "linear" else []))
    folder = dataset.encoded / digest[:16]
    if (done := _already_encoded(folder, digest, ledger)) is not None:
        again = _encoded_again(ledger, done, today=today, last_ended=last_ended)
        if grow and again.seen:  # another run came between
            write_ledger(dataset, {**ledger, **again.seen})
        return again.data
    weight, of_target = config.data.weight, {config.data.target: target_column(config.data)}
    columns = {**config.columns, **weight_column(config.data), **of_target}
    known = {name: ledger[name].known for name in config.columns if name in ledger}
    with _segments(config, rows.snapshot, columns, known) as segments:
        numbered = NumberedRows(segments, columns, rows.assignment(), rows.zones, weight)
        logs = LogScaleFitter() if scale != "linear" else None
        counted = numbered.count(logs)
        target = _target(config, counted, rows, logs)
        encoder = Encoder.of_counts(
            config.columns,
            counted.train,
            {name: f for name, f in counted.fitters.items() if name != target.column},
            today=today,
            encoding=config.encoding,
            ledger=ledger,
        )
        codes = numbered.codes(encoder)
        numbered.refuse_unknown(encoder, counted, codes)
        changes = ledger_changes(ledger, encoder, counted.train, codes)
        entries: list[Json] = [asdict(change) for change in changes]
        facts: dict[str, Json] = {
            "digest": digest,
            "encoder": encoder.fingerprint(),
            "changes": entries,
            "encoded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        dataset.home.writable(dataset.encoded)
        with publish(folder, facts) as scratch:
            encoder.save(scratch)
            numbered.write(scratch, encoder, target, codes, counted.weights)
            if scale == "auto" and isinstance(target, NumberTarget) and target.log is not None:
                assert choose_scale is not None, "auto needs a function that chooses"
                train, val = (
                    SplitFile(scratch / f"{name}.parquet", encoder) for name in ("train", "val")
                )
                target = choose_scale(target, encoder, train, val)
                if target.log is None:
                    numbered.write(scratch, encoder, target, codes, counted.weights)
            write_json(scratch / "target.json", target_to_json(target))
    if grow:
        write_ledger(dataset, {**ledger, **encoder.vocabularies})
    return EncodedData(folder, digest, changes)


def _settings(config: PipelineConfig) -> Json:
    """Return what decides how a column is read and encoded, in the order of columns."""
    columns: list[Json] = [
        [name, column.model_dump(mode="json")] for name, column in config.columns.items()
    ]
    data = config.data
    weight: list[Json] = [] if data.weight is None else [data.weight]
    return [columns, data.target, data.task, list(data.classes or ()), *weight]


@dataclass(frozen=True)
class _Done:
    """What an earlier run has encoded, and what that changed in the ledger then."""

    folder: Path
    digest: str
    encoder: Encoder
    changes: tuple[LedgerChange, ...]
    encoded_at: str


def _already_encoded(folder: Path, digest: str, ledger: Mapping[str, Vocabulary]) -> _Done | None:
    """Return what an earlier run has encoded, if its codes still mean the same."""
    manifest = believed(folder)
    if manifest is None or manifest.get("digest") != digest:
        return None
    encoder = Encoder.load(folder)
    for name, vocabulary in encoder.vocabularies.items():
        if not ledger.get(name, Vocabulary(name)).extends(vocabulary):
            return None
    changes = cast("list[dict[str, Any]]", manifest["changes"])
    changed = tuple(LedgerChange.from_json(change) for change in changes)
    return _Done(folder, digest, encoder, changed, str(manifest.get("encoded_at", "")))


@dataclass(frozen=True)
class _Again:
    """Splits that are there already; `seen` are vocabularies that the ledger has with other counts.

    It is empty where the ledger is as these splits have left it.
    """

    data: EncodedData
    seen: dict[str, Vocabulary]


def _encoded_again(
    ledger: Mapping[str, Vocabulary], done: _Done, *, today: str, last_ended: str
) -> _Again:
    """Return splits that are there already, with their categories seen this run.

    A run that goes on after a kill reports what its first attempt has changed; one that is done
    again reports what is different from the last run.
    """
    seen: dict[str, Vocabulary] = {}
    for column, vocabulary in done.encoder.vocabularies.items():
        counts = np.concatenate([[vocabulary.n_missing], vocabulary.counts])
        seen[column] = ledger[column].grow(
            vocabulary.categories, counts, today=today, min_count=vocabulary.min_count
        )
    changes = done.changes
    if last_ended and done.encoded_at <= last_ended:
        changes = _changes_since(ledger, seen, done)
    same = all(_has_counts_of(ledger[column], words) for column, words in seen.items())
    data = EncodedData(done.folder, done.digest, changes, is_new=False)
    return _Again(data, {} if same else seen)


def _has_counts_of(one: Vocabulary, other: Vocabulary) -> bool:
    return one.n_missing == other.n_missing and np.array_equal(one.counts, other.counts)


def _changes_since(
    ledger: Mapping[str, Vocabulary],
    seen: Mapping[str, Vocabulary],
    done: _Done,
) -> tuple[LedgerChange, ...]:
    """Return what differs from the ledger; rare words are a fact of the rows, counted before."""
    now = Encoder({column: done.encoder.columns[column] for column in seen}, dict(seen), {})
    train = {
        column: CountedWords(words.categories, np.concatenate([[words.n_missing], words.counts]))
        for column, words in seen.items()
    }
    codes = {column: words.codes for column, words in seen.items()}
    found = {change.column: change for change in ledger_changes(ledger, now, train, codes)}
    rare = {change.column: change for change in done.changes}
    changes = (
        replace(
            found.get(column, LedgerChange(column)),
            n_rare=rare.get(column, LedgerChange(column)).n_rare,
            n_rare_rows=rare.get(column, LedgerChange(column)).n_rare_rows,
        )
        for column in seen
    )
    return tuple(change for change in changes if change)


def _target(
    config: PipelineConfig, counted: Counted, rows: SplitRows, logs: LogScaleFitter | None
) -> Target:
    column, snapshot = config.data.target, rows.snapshot
    if config.data.task == "regression":
        scale = counted.fitters[column].finish()
        assert isinstance(scale, Standardizer)
        target = NumberTarget(column, scale.mean, scale.deviation)
        n_rows = rows.n_rows["train"] + rows.n_rows["val"]
        return target if logs is None else on_its_scale(config.data, target, logs, n_rows=n_rows)
    return class_target(
        config.data,
        counted.train[column].held(),
        counted.used[column].held(),
        raw=snapshot.schema().field(column),
        is_untyped=isinstance(config.data.source, CsvFile),
    )


@contextmanager
def _segments(
    config: PipelineConfig,
    snapshot: Snapshot,
    columns: Mapping[str, Column],
    known: Mapping[str, KnownWords],
) -> Generator[list[Segment]]:
    """Give the numbered rows of a snapshot; those of big parts are kept for the next run."""
    dataset, segments, kept = snapshot.dataset, list[Segment](), set[str]()
    spellings = _spellings(snapshot, known)
    with staged(dataset.home.writable(dataset.folder), "numbered") as stage:
        for number, run in enumerate(_runs(snapshot)):
            batches = _typed_batches(snapshot, columns, known, (run.first_row, run.stop))
            if not run.fingerprint:
                folder = stage.folder / str(number)
                folder.mkdir()
                segments.append(write_segment(folder, batches, columns))
                continue
            key = [run.name, run.fingerprint, snapshot.reading, _settings(config), code_digest()]
            key += [spellings] if spellings else []
            folder = dataset.segments / digest_json(key)[:16]
            kept.add(folder.name)
            if believed(folder) is None:
                dataset.home.writable(dataset.segments)
                with publish(folder, {"part": run.name}) as scratch:
                    write_segment(scratch, batches, columns, compression="lz4")
            segments.append(read_segment(folder, columns))
        yield segments
    for folder in dataset.segments.glob("*"):
        if folder.name not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _runs(snapshot: Snapshot) -> Iterator[PartRows]:
    """Yield parts worth keeping by themselves; rows between them without a fingerprint."""
    start = 0
    for part in snapshot.parts if len(snapshot.parts) > 1 else ():
        if part.n_rows >= _MIN_KEPT_ROWS and part.fingerprint:
            if part.first_row > start:
                yield PartRows("", "", start, part.first_row - start)
            yield part
            start = part.stop
    if start < snapshot.n_rows:
        yield PartRows("", "", start, snapshot.n_rows - start)


def _spellings(snapshot: Snapshot, known: Mapping[str, KnownWords]) -> dict[str, Json]:
    """Return how typed values of the snapshot are spelled in the ledger, if not as always."""
    schema, found = snapshot.schema(), dict[str, Json]()
    for name, words in known.items():
        if has_typed_values(schema.field(name)) and words.spellings:
            found[name] = dict(words.spellings)
    return found


def _typed_batches(
    snapshot: Snapshot,
    columns: Mapping[str, Column],
    known: Mapping[str, KnownWords],
    rows: tuple[int, int],
) -> Iterator[pa.Table]:
    words = [name for name, column in columns.items() if isinstance(column, CategoryColumn)]
    for batch in snapshot.batches(rows=rows, dictionaries=words):
        yield read_columns(batch, columns, known=known)
