"""Typed rows with their words as numbers: what the encoder reads instead of strings.

A segment holds consecutive rows of a snapshot, one part of its source. Its words are read once;
fitting and encoding then work on integers. A segment whose part has not changed since an earlier
run is taken from there.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa

from pipeline_lib.config.columns import CategoryColumn, Column, HashColumn
from pipeline_lib.data.arrow import one_array
from pipeline_lib.encoding.hashing import HashInput
from pipeline_lib.encoding.words import WordNumbers, WordTable

_ROWS = "rows.arrow"


@dataclass(frozen=True)
class NumberedBatch:
    """Rows in the order of the columns: words as the batch's own numbers, the rest as typed.

    `numbers` gives the segment's number of each of the batch's own, by column.
    """

    rows: pa.RecordBatch
    numbers: Mapping[str, WordNumbers]


@dataclass(frozen=True)
class Segment:
    """A folder of numbered rows, and the words of each column that has some, by number − 1."""

    folder: Path
    words: Mapping[str, pa.Array]

    def batches(self) -> Iterator[NumberedBatch]:
        """Yield the rows."""
        with ExitStack() as stack:
            numbers = {
                name: stack.enter_context(_Reader(self.folder / f"numbers-{position}.arrow"))
                for position, name in enumerate(self.words)
            }
            rows = stack.enter_context(_Reader(self.folder / _ROWS))
            for batch in rows:
                own = {name: _to_numpy(next(reader).column(0)) for name, reader in numbers.items()}
                yield NumberedBatch(batch, own)


def write_segment(
    folder: Path,
    batches: Iterable[pa.Table],
    columns: Mapping[str, Column],
    *,
    compression: str | None = None,
) -> Segment:
    """Number the words of typed batches.

    Args:
        folder: where the segment shall lie; exists.
        batches: typed rows with all `columns`; words as strings or dictionaries of strings.
        columns: features and target.
        compression: "lz4" for a segment that is kept.
    """
    named = [name for name, column in columns.items() if isinstance(column, CategoryColumn)]
    with ExitStack() as stack:

        def writer(file: str) -> _Writer:
            return stack.enter_context(_Writer(folder / file, compression))

        tables = {
            name: WordTable(_numbers_into(writer(f"numbers-{position}.arrow")))
            for position, name in enumerate(named)
        }
        rows = writer(_ROWS)
        for batch in batches:
            arrays = [
                _numbered(batch[name], tables.get(name), column) for name, column in columns.items()
            ]
            rows.write(arrays)
        for table in tables.values():
            table.finish()
        words = {name: table.words for name, table in tables.items()}
        for position, known in enumerate(words.values()):
            writer(f"words-{position}.arrow").write([known])
    return Segment(folder, words)


def read_segment(folder: Path, columns: Mapping[str, Column]) -> Segment:
    """Return what `write_segment` wrote with the same columns."""
    named = [name for name, column in columns.items() if isinstance(column, CategoryColumn)]
    words: dict[str, pa.Array] = {}
    for position, name in enumerate(named):
        with _Reader(folder / f"words-{position}.arrow") as reader:
            words[name] = next(reader).column(0)
    return Segment(folder, words)


def common_numbers(
    segments: Sequence[Segment],
) -> tuple[dict[str, pa.Array], list[dict[str, WordNumbers]]]:
    """Return the words of all segments by column, and the common numbers of each segment's own."""
    if len(segments) == 1:
        (only,) = segments
        own = {
            name: np.arange(len(words) + 1, dtype=np.int32) for name, words in only.words.items()
        }
        return dict(only.words), [own]
    tables: dict[str, WordTable] = {}
    numbers = [
        {name: tables.setdefault(name, WordTable()).merge(own) for name, own in s.words.items()}
        for s in segments
    ]
    return {name: table.words for name, table in tables.items()}, numbers


def _numbered(values: pa.ChunkedArray, table: WordTable | None, column: Column) -> pa.Array:
    if table is not None:
        return pa.array(table.add(values))
    if isinstance(column, HashColumn):
        # As plain strings: a dictionary of another writer may have nulls inside, or
        # indices too narrow for one word more.
        return pa.array(HashInput("", column.n_buckets).encode(values.cast(pa.string())))
    return one_array(values)


def _numbers_into(writer: "_Writer") -> Callable[[WordNumbers], None]:
    return lambda numbers: writer.write([pa.array(numbers)])


def _to_numpy(array: pa.Array) -> WordNumbers:
    return cast("WordNumbers", array.to_numpy())


class _Writer(AbstractContextManager["_Writer"]):
    """Writes arrays to a file, each set as an Arrow stream of its own: types may differ."""

    def __init__(self, path: Path, compression: str | None) -> None:
        self._file = pa.OSFile(str(path), "wb")
        self._options = pa.ipc.IpcWriteOptions(compression=compression)

    def write(self, arrays: Sequence[pa.Array]) -> None:
        batch = pa.RecordBatch.from_arrays([*arrays], [str(i) for i in range(len(arrays))])
        with pa.ipc.new_stream(self._file, batch.schema, options=self._options) as stream:
            stream.write_batch(batch)

    def __exit__(self, *_: object) -> None:
        self._file.close()


class _Reader(AbstractContextManager["_Reader"]):
    """Reads what a `_Writer` wrote, set by set."""

    def __init__(self, path: Path) -> None:
        # Read, not mapped: mapped pages count as memory of the process.
        self._file = pa.OSFile(str(path))
        self._n_bytes = path.stat().st_size

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while self._file.tell() < self._n_bytes:
            yield next(self)

    def __next__(self) -> pa.RecordBatch:
        with pa.ipc.open_stream(self._file) as stream:
            batch = stream.read_next_batch()
            with suppress(StopIteration):  # the mark at a stream's end
                stream.read_next_batch()
            return batch

    def __exit__(self, *_: object) -> None:
        self._file.close()
