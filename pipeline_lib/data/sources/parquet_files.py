"""Parquet files, believed only as far as they prove themselves: checksums, rows, values, size."""

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline_lib.data.arrow import BATCH_ROWS, is_binary, is_text, value_type
from pipeline_lib.data.sources.amounts import (
    BATCH_BYTES,
    MAX_RATIO,
    MAX_ROW_BYTES,
    MAX_UNPACKED_BYTES,
    Amount,
    long_row,
    made_to_fill,
    together,
)
from pipeline_lib.data.sources.column_names import check_names
from pipeline_lib.data.sources.formats import other_format
from pipeline_lib.data.sources.schemas import Head, fitted
from pipeline_lib.data.sources.stores import DataFile
from pipeline_lib.errors import SourceError
from pipeline_lib.wording import first_line

_MAGIC = b"PAR1"
_HEAD_BYTES = 1024
_NO_PARQUET = "it does not begin with PAR1", "if it is CSV, set `kind: csv`"
# What pyarrow unpacks at once. Words behind a dictionary stay there until they are counted; where
# a word is stored as what it adds to the one before (delta), few are read at once.
_UNPACKED_ROWS = 8192
_MAX_WORDS_BYTES = 8 * 1024 * 1024
_FEW_ROWS, _FEW_BYTES = 64, 256 * 1024 * 1024
_DELTA = {"DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"}
# Column chunks are read through a window of this size: of 180 MB in one row group 25 MB were held
# instead of 193.
_BUFFER_BYTES = 1 << 20
# Of row groups of no more than this several become one batch.
_SMALL_ROWS, _SMALL_BYTES = 1024, 1 << 20
_MAX_UNPACKED_BYTES, _MAX_RATIO = MAX_UNPACKED_BYTES, MAX_RATIO
# What pyarrow raises of it: for names that are no UTF-8 it is Python's error.
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)


def parquet_head(file: DataFile, needed: Collection[str] = ()) -> Head:
    """Return the columns of a Parquet file and whether its footer counts rows.

    Columns of lists, structs and maps are left out: one row may hold a million values.

    Args:
        file: to look at.
        needed: columns that cannot be left out.

    Raises:
        SourceError: the file is something else, its footer is damaged, it declares an absurd
            size, or a needed column is nested.
    """
    with file.open() as handle:
        opened = _opened(handle, file)
        schema, metadata = opened.schema_arrow, opened.metadata
        nested = [field for field in schema if _is_nested(field.type)]
        flat = [field for field in schema if field not in nested]
        for field in nested:
            if field.name in needed or any(f.name.startswith(f"{field.name}.") for f in flat):
                raise SourceError(
                    f"{file.name}: column {field.name!r} is of type {str(field.type)[:100]}, and "
                    "a feature has one value in a row; write its parts as columns, or leave it "
                    "out of the config"
                )
        if not flat:
            raise SourceError(f"{file.name} has no columns with one value in a row")
        left_out = {field.name: str(field.type)[:100] for field in nested}
        return Head(file.name, pa.schema(flat), metadata.num_rows > 0, left_out)


def parquet_batches(file: DataFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file with the columns and types of the schema.

    Raises:
        SourceError: the file is damaged, holds other than its footer says, far more than its size
            lets expect, or a value that its column's type cannot take; the message names the row
            group.
    """
    with file.on_disk() as path, pa.OSFile(str(path)) as handle:
        groups = _Groups(handle, _opened(handle, file), schema)
        amount = Amount(file.name, packed_bytes=file.size_bytes)
        yield from groups.fitted(amount)
        groups.check_rows(file.name)


def _opened(handle: BinaryIO | pa.NativeFile, file: DataFile) -> pq.ParquetFile:
    if not (head := bytes(handle.read(_HEAD_BYTES))).startswith(_MAGIC):
        what, way_out = other_format(head) or _NO_PARQUET
        raise SourceError(f"{file.name} is not a Parquet file: {what}; {way_out}")
    try:
        opened = _reader(handle)
        names = opened.schema_arrow.names
    except _DAMAGE as error:
        raise SourceError(f"{file.name}: its footer cannot be read: {first_line(error)}") from error
    check_names(names, file.name)
    _check_size(file, opened.metadata)
    return opened


def _reader(
    handle: BinaryIO | pa.NativeFile,
    *,
    metadata: pq.FileMetaData | None = None,
    words: Sequence[str] = (),
) -> pq.ParquetFile:
    """Open a file; columns of `words` are read as dictionaries."""
    handle.seek(0)
    return pq.ParquetFile(
        handle,
        metadata=metadata,
        read_dictionary=list(words),
        page_checksum_verification=True,
        # In nanoseconds, the default, the year 9999 of a file of Spark's wraps to 1816.
        coerce_int96_timestamp_unit="us",
        pre_buffer=False,
        buffer_size=_BUFFER_BYTES,
    )


def _check_size(file: DataFile, metadata: pq.FileMetaData) -> None:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    sizes = [int(group.total_byte_size) for group in groups]
    declared = sum(sizes)
    is_much = declared > _MAX_UNPACKED_BYTES or max(sizes, default=0) > BATCH_BYTES
    if is_much and declared > _MAX_RATIO * file.size_bytes:
        raise made_to_fill(file.name, file.size_bytes, declared)


class _Groups:
    """The row groups of a file, each read by itself; those of few rows are handled together.

    A file may have a row group for each row: what each of them costs is kept small.
    """

    def __init__(self, handle: pa.NativeFile, opened: pq.ParquetFile, schema: pa.Schema) -> None:
        self._handle, self._opened, self._schema = handle, opened, schema
        self._metadata, columns = opened.metadata, opened.schema
        self._leaves = [n for n in range(len(columns)) if columns.column(n).path in schema.names]
        self._columns = [columns.column(leaf) for leaf in self._leaves]
        types = opened.schema_arrow
        self._varying = [_has_length(types.field(column.path).type) for column in self._columns]
        self._readers: dict[tuple[str, ...], pq.ParquetFile] = {}

    def fitted(self, amount: Amount) -> Iterator[pa.RecordBatch]:
        """Yield all rows as the schema has them, in batches that are bounded by `amount`.

        Raises:
            SourceError: see `parquet_batches`.
        """
        for first, last, batches in self._runs(amount.name):
            try:
                yield from together(self._as_declared(batches, amount), BATCH_ROWS)
            except _DAMAGE as error:
                raise _damaged(amount.name, first, last, error) from error

    def check_rows(self, name: str) -> None:
        """Raise SourceError if the row groups hold other than all the rows of the footer."""
        held = sum(self._n_rows(number) for number in range(self._opened.num_row_groups))
        if held != self._metadata.num_rows:
            raise SourceError(
                f"{name}: its footer says {self._metadata.num_rows} rows, its row groups hold "
                f"{held}"
            )

    def _as_declared(
        self, batches: Iterator[pa.RecordBatch], amount: Amount
    ) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for part in _bounded(batch, amount):
                yield fitted(part, self._schema)

    def _runs(self, name: str) -> Iterator[tuple[int, int, Iterator[pa.RecordBatch]]]:
        """Yield the batches of one row group, or one batch of several that are small.

        Before them come the numbers of the first and the last of these row groups.
        """
        small, n_rows, n_bytes = list[pa.RecordBatch](), 0, 0
        for number in range(self._opened.num_row_groups):
            batches = self._group(name, number)
            first = next(batches, None) if self._n_rows(number) <= _SMALL_ROWS else None
            is_small = first is not None and self._is_small(first, number)
            if small and (not is_small or n_rows > _UNPACKED_ROWS or n_bytes > _MAX_WORDS_BYTES):
                yield number - len(small), number - 1, _as_one(small)
                small, n_rows, n_bytes = [], 0, 0
            if first is not None and is_small:
                deque(batches, maxlen=0)  # there is no more of it, or it is refused
                small.append(first)
                n_rows, n_bytes = n_rows + first.num_rows, n_bytes + first.nbytes
            else:
                yield number, number, batches if first is None else chain([first], batches)
        if small:
            end = self._opened.num_row_groups
            yield end - len(small), end - 1, _as_one(small)

    def _is_small(self, batch: pa.RecordBatch, number: int) -> bool:
        return batch.num_rows == self._n_rows(number) and batch.nbytes <= _SMALL_BYTES

    def _group(self, name: str, number: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one row group, no part of it without rows."""
        held = 0
        try:
            for batch in self._begun(number):
                batch.validate(full=True)
                held += batch.num_rows
                if batch.num_rows:
                    yield batch.select(self._schema.names)
        except _DAMAGE as error:
            raise _damaged(name, number, number, error) from error
        # Not before: pyarrow 25.0.1 ends the process where it is asked for a column of a damaged
        # footer that it has not read before.
        declared = _declared_rows(name, self._metadata, number, self._leaves)
        if held != declared:
            raise SourceError(
                f"{name}: row group {number}: its footer says {declared} rows, it holds {held}"
            )

    def _begun(self, number: int) -> Iterator[pa.RecordBatch]:
        """Return the batches of a group, of as many rows as may be unpacked at once."""
        # Before it has read a column pyarrow must not be asked about it.
        next(self._batches(self._opened, number, n_rows=1), None)
        group, n_rows = self._metadata.row_group(number), _UNPACKED_ROWS
        words: list[str] = []
        for leaf, column, is_varying in zip(
            self._leaves, self._columns, self._varying, strict=True
        ):
            if column.physical_type != "BYTE_ARRAY":
                continue
            chunk = group.column(leaf)
            if not is_varying or _DELTA & {*chunk.encodings}:
                # No dictionary can be read of these: a value is no longer than all there are.
                most = max(1, int(chunk.total_uncompressed_size))
                n_rows = min(n_rows, _FEW_ROWS, max(1, _FEW_BYTES // most))
            elif int(chunk.total_uncompressed_size) <= _MAX_WORDS_BYTES:
                # A dictionary that is read grows until the group ends, with words of no dictionary
                # too.
                words.append(column.path)
            else:
                n_rows = min(n_rows, _FEW_ROWS)
        width = sum(max(int(column.length or 0), 0) for column in self._columns)
        n_rows = max(1, min(n_rows, BATCH_BYTES // max(1, width)))
        return self._batches(self._reading(tuple(words)), number, n_rows=n_rows)

    def _reading(self, words: tuple[str, ...]) -> pq.ParquetFile:
        """Return a reader of these words as dictionaries; of a new one the footer is gone over."""
        if words not in self._readers:
            self._readers.clear()
            self._readers[words] = _reader(self._handle, metadata=self._metadata, words=words)
        return self._readers[words]

    def _batches(
        self, opened: pq.ParquetFile, number: int, *, n_rows: int
    ) -> Iterator[pa.RecordBatch]:
        # By position: for `columns` of the reader's own `iter_batches` `a.b` is a part of `a`.
        return opened.reader.iter_batches(
            n_rows, row_groups=[number], column_indices=self._leaves, use_threads=False
        )

    def _n_rows(self, number: int) -> int:
        return int(self._metadata.row_group(number).num_rows)


def _as_one(batches: Sequence[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield pa.concat_batches(batches)


def _damaged(name: str, first: int, last: int, error: Exception) -> SourceError:
    groups = f"row group {first}" if first == last else f"row groups {first} to {last}"
    return SourceError(f"{name}: {groups}: {first_line(error)}")


def _bounded(batch: pa.RecordBatch, amount: Amount) -> Iterator[pa.RecordBatch]:
    """Yield a batch in slices that are no more than they should be once they are unpacked."""
    sizes = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        sizes += _row_sizes(column)
    if batch.num_rows and (longest := int(sizes.max())) > MAX_ROW_BYTES:
        raise long_row(amount.name, longest)
    amount.add(batch.num_rows, int(sizes.sum()))
    ends, start = np.cumsum(sizes), 0
    while start < batch.num_rows:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + BATCH_BYTES, side="right")))
        yield batch.slice(start, stop - start)
        start = stop


def _row_sizes(column: pa.Array) -> "npt.NDArray[np.int64] | int":
    """Return the bytes of each value, shape ``(n_rows,)``, or those of any."""
    kind = column.type
    if pa.types.is_dictionary(kind) and _has_length(kind.value_type):
        lengths = pc.binary_length(column.dictionary).cast(pa.int64()).take(column.indices)
    elif _has_length(kind):
        lengths = pc.binary_length(column).cast(pa.int64())
    else:
        return column.nbytes // max(len(column), 1)
    return lengths.fill_null(0).to_numpy(zero_copy_only=False)


def _has_length(kind: pa.DataType) -> bool:
    """Report whether each value has a length of its own."""
    kind = value_type(kind)
    return is_text(kind) or (is_binary(kind) and not pa.types.is_fixed_size_binary(kind))


def _is_nested(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return pa.types.is_nested(kind)


def _declared_rows(name: str, metadata: pq.FileMetaData, number: int, leaves: Sequence[int]) -> int:
    """Return how many rows the footer gives a row group, if its columns agree.

    A reader takes as many rows as the footer says: one that says too few hides the others.
    """
    group = metadata.row_group(number)
    for position in leaves:
        chunk, field = group.column(position), metadata.schema.column(position)
        if field.max_repetition_level == 0 and chunk.num_values != group.num_rows:
            raise SourceError(
                f"{name}: row group {number}: its footer says {group.num_rows} rows, and "
                f"{chunk.num_values} values of column {field.path!r}"
            )
    return int(group.num_rows)
