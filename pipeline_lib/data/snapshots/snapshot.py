"""The rows of one run, immutable, named by their content, and what is new about them.

A part of the source that has not changed since the last run is copied from its snapshot: it is
neither fetched nor parsed again.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.data.arrow import BATCH_ROWS
from pipeline_lib.data.snapshots.digest import ContentDigest
from pipeline_lib.data.sources.stream import Part, RowStream
from pipeline_lib.home import DatasetFolder
from pipeline_lib.interruption import raise_if_heard
from pipeline_lib.storage.json_files import Json
from pipeline_lib.storage.publishing import believed, staged
from pipeline_lib.wording import examples

_ROW_GROUP_ROWS = _BATCH_ROWS = BATCH_ROWS


@dataclass(frozen=True)
class PartRows:
    """The rows of one part of the source: `n_rows` from `first_row` on."""

    name: str
    fingerprint: str
    first_row: int
    n_rows: int
    day: str | None = None

    @property
    def stop(self) -> int:
        """The row after the last one."""
        return self.first_row + self.n_rows


@dataclass(frozen=True)
class Snapshot:
    """Where a run's rows lie; `digest` is over their content, order included.

    `arrivals` are the ranges of rows that the last run did not have, or None where that is
    not known; `news` says in words what happened to the source's parts since then. `reading` is the
    digest of the settings that the source was read with.
    """

    folder: Path
    digest: str
    n_rows: int
    source: str
    reading: str = ""
    parts: tuple[PartRows, ...] = ()
    arrivals: tuple[tuple[int, int], ...] | None = None
    news: tuple[str, ...] = ()
    dataset: DatasetFolder = field(kw_only=True)

    @property
    def rows_file(self) -> Path:
        """The rows, as Parquet in row groups of at most 131,072 that end with their part."""
        return self.folder / "rows.parquet"

    def schema(self) -> pa.Schema:
        """Return the columns as they came."""
        return pq.read_schema(self.rows_file)

    def read(self) -> pa.Table:
        """Return all rows."""
        return pq.read_table(self.rows_file)

    def batches(
        self,
        *,
        rows: tuple[int, int] | None = None,
        dictionaries: Sequence[str] = (),
    ) -> Iterator[pa.Table]:
        """Yield the rows, at most 131,072 at a time.

        Args:
            rows: from where to where; all without it.
            dictionaries: columns of text that come dictionary-encoded.
        """
        start, stop = rows or (0, self.n_rows)
        # Without pre_buffer: it would hold the whole file, compressed, until the end.
        with pq.ParquetFile(
            self.rows_file, read_dictionary=[*dictionaries], pre_buffer=False
        ) as file:
            groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
            for numbers, first in _together(groups):
                n_rows = sum(groups[number] for number in numbers)
                if first < stop and first + n_rows > start:
                    table = file.read_row_groups(numbers, use_threads=False)
                    within = max(0, start - first)
                    yield table.slice(within, min(stop, first + n_rows) - first - within)


def _together(groups: Sequence[int]) -> Iterator[tuple[list[int], int]]:
    """Yield the numbers of neighbouring row groups that make a batch, and their first row."""
    numbers, first, n_rows = list[int](), 0, 0
    for number, rows in enumerate(groups):
        if numbers and n_rows + rows > _BATCH_ROWS:
            yield numbers, first
            numbers, first, n_rows = [], first + n_rows, 0
        numbers.append(number)
        n_rows += rows
    if numbers:
        yield numbers, first


@dataclass(frozen=True)
class LastNight:
    """What is remembered of the last run whose rows kept the contract.

    `arrivals` and `news` are what was new about its rows.
    """

    folder: Path
    digest: str
    n_rows: int
    reading: str
    parts: tuple[PartRows, ...] = ()
    arrivals: tuple[tuple[int, int], ...] | None = None
    news: tuple[str, ...] = ()

    def going_on(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot of these rows with what was new about them, if it is one.

        A run that goes on after a kill has the rows of its first attempt: beside those nothing
        would be new.
        """
        if (self.digest, self.reading) != (snapshot.digest, snapshot.reading):
            return snapshot
        return replace(snapshot, arrivals=self.arrivals, news=self.news)

    def to_json(self) -> dict[str, Json]:
        """Return what `from_json` reads."""
        return {
            "folder": self.folder.name,
            "digest": self.digest,
            "n_rows": self.n_rows,
            "reading": self.reading,
            "parts": [asdict(part) for part in self.parts],
            "arrivals": None if self.arrivals is None else [list(rows) for rows in self.arrivals],
            "news": list(self.news),
        }

    @classmethod
    def from_json(cls, dataset: DatasetFolder, spec: dict[str, Any]) -> "LastNight":
        """Return the run that `to_json` described."""
        parts = tuple(PartRows(**part) for part in cast("list[dict[str, Any]]", spec["parts"]))
        # A name that is no snapshot's leads nowhere: then there is nothing to copy from.
        folder = dataset.snapshots / (re.sub(r"[^0-9a-f]", "_", str(spec["folder"])) or "_")
        digest, reading, n_rows = str(spec["digest"]), str(spec["reading"]), int(spec["n_rows"])
        ranges = cast("list[tuple[int, int]] | None", spec.get("arrivals"))
        arrivals = None if ranges is None else tuple((int(a), int(b)) for a, b in ranges)
        news = tuple(str(text) for text in cast("list[str]", spec.get("news", [])))
        return cls(folder, digest, n_rows, reading, parts, arrivals, news)


@dataclass
class _Writing:
    """Rows on their way into a snapshot."""

    writer: pq.ParquetWriter
    digest: ContentDigest
    n_rows: int = 0
    parts: list[PartRows] = field(default_factory=list)

    def take(self, part: Part, batches: Iterator[pa.RecordBatch | pa.Table]) -> None:
        """Write a part, in row groups of its own."""
        first_row, pending, n_pending = self.n_rows, list[pa.Table](), 0
        for batch in batches:
            raise_if_heard()
            table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
            self.digest.add(table)
            self.n_rows += table.num_rows
            pending.append(table)
            n_pending += table.num_rows
            if n_pending >= _ROW_GROUP_ROWS:
                whole = pa.concat_tables(pending)
                n_whole = n_pending - n_pending % _ROW_GROUP_ROWS
                self.writer.write_table(whole.slice(0, n_whole), row_group_size=_ROW_GROUP_ROWS)
                pending, n_pending = [whole.slice(n_whole)], n_pending - n_whole
        if n_pending:
            self.writer.write_table(pa.concat_tables(pending), row_group_size=_ROW_GROUP_ROWS)
        day = part.day.isoformat() if part.day else None
        n_rows = self.n_rows - first_row
        self.parts.append(PartRows(part.name, part.fingerprint, first_row, n_rows, day))


def take_snapshot(
    dataset: DatasetFolder, stream: RowStream, *, reading: str = "", last: LastNight | None = None
) -> Snapshot:
    """Keep the rows under `datasets/<name>/snapshots/<digest>/`; once, however often it is called.

    Args:
        dataset: where they are kept.
        stream: the rows.
        reading: digest of the settings that they are read with; other settings, other rows.
        last: the last run, whose unchanged parts need no reading.

    Raises:
        SourceError: the source breaks off, or holds other than it should.
        StorageError: the place cannot be written.
    """
    known = last if last and last.reading == reading else None
    earlier = _Earlier(dataset, known, stream.schema)
    prefix_rows = last.n_rows if last else None
    with staged(dataset.home.writable(dataset.snapshots), "rows") as stage:
        path = stage.folder / "rows.parquet"
        with pq.ParquetWriter(path, stream.schema, compression="zstd") as writer:
            digest = ContentDigest(stream.schema, prefix_rows=prefix_rows)
            writing = _Writing(writer, digest)
            for part in stream.parts:
                writing.take(part, earlier.batches(part) or iter(part.batches()))
        content = digest.finish()
        folder = dataset.snapshots / content[:16]
        manifest = believed(folder)
        if manifest is None or manifest.get("digest") != content:
            facts: dict[str, Json] = {
                "digest": content,
                "n_rows": writing.n_rows,
                "columns": {field.name: str(field.type) for field in stream.schema},
                "source": stream.source,
            }
            stage.publish(folder, facts)
    snapshot = Snapshot(
        folder,
        content,
        writing.n_rows,
        stream.source,
        reading,
        tuple(writing.parts),
        dataset=dataset,
    )
    return _with_news(
        snapshot, stream, last, grew=last is not None and digest.prefix == last.digest
    )


class _Earlier:
    """The parts of the last snapshot that can be copied."""

    def __init__(self, dataset: DatasetFolder, last: LastNight | None, schema: pa.Schema) -> None:
        self._parts: dict[tuple[str, str], PartRows] = {}
        manifest = believed(last.folder) if last else None
        if last is None or manifest is None or manifest.get("digest") != last.digest:
            return
        self._snapshot = Snapshot(last.folder, last.digest, last.n_rows, "", dataset=dataset)
        if pq.read_schema(self._snapshot.rows_file).equals(schema):
            self._parts = {(p.name, p.fingerprint): p for p in last.parts if p.fingerprint}

    def batches(self, part: Part) -> Iterator[pa.Table] | None:
        """Return the rows of an unchanged part; None for a part that has to be read."""
        known = self._parts.get((part.name, part.fingerprint))
        if known is None:
            return None
        return self._snapshot.batches(rows=(known.first_row, known.stop))


def _with_news(
    snapshot: Snapshot, stream: RowStream, last: LastNight | None, *, grew: bool
) -> Snapshot:
    """Return the snapshot with what is new about it."""
    if last is None:
        return replace(snapshot, news=missing_days(stream))
    if snapshot.digest == last.digest:
        return replace(snapshot, arrivals=(), news=missing_days(stream))
    before = {part.name: part for part in last.parts}
    if len(snapshot.parts) == 1 and len(last.parts) <= 1:
        (part,) = snapshot.parts
        is_another = bool(part.fingerprint and last.parts) and part.name not in before
        if grew or not is_another:
            arrivals = ((last.n_rows, snapshot.n_rows),) if grew else None
            return replace(snapshot, arrivals=arrivals, news=missing_days(stream))
    new = [part for part in snapshot.parts if part.name not in before]
    rewritten = [
        part
        for part in snapshot.parts
        if part.name in before and before[part.name].fingerprint != part.fingerprint
    ]
    newest = max((part.day for part in last.parts if part.day), default="")
    late = [part for part in new if part.day and part.day < newest]
    gone = sorted(before.keys() - {part.name for part in snapshot.parts})
    news = [
        f"{_parts(len(names), kind)} {rest}".strip() + f": {examples(names)}"
        for kind, rest, names in (
            ("new", "", [part.name for part in new if part not in late]),
            ("late", "from before the last run's newest", [part.name for part in late]),
            ("rewritten", "", [part.name for part in rewritten]),
            ("", "no longer there", gone),
        )
        if names
    ]
    is_known = last.reading == snapshot.reading and all(
        part.fingerprint or part in new for part in snapshot.parts
    )
    arrivals = tuple(
        (part.first_row, part.stop) for part in snapshot.parts if part in (*new, *rewritten)
    )
    return replace(
        snapshot, arrivals=arrivals if is_known else None, news=(*news, *missing_days(stream))
    )


def _parts(n: int, kind: str) -> str:
    return " ".join([str(n), *([kind] if kind else []), "part" if n == 1 else "parts"])


def missing_days(stream: RowStream) -> tuple[str, ...]:
    """Return a sentence about the days of the window without a part, if there are any."""
    days = [day.isoformat() for day in stream.missing_days]
    noun = "day" if len(days) == 1 else "days"
    return (f"{len(days)} {noun} without a part: {examples(days)}",) if days else ()
