"""Parquet files, believed only as far as they prove themselves: checksums, rows, values, size."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.data.files import DataFile
from pipeline_lib.data.formats import other_format
from pipeline_lib.data.names import check_names
from pipeline_lib.data.schemas import Head, fitted
from pipeline_lib.errors import SourceError, first_line

_MAGIC = b"PAR1"
_HEAD_BYTES = 1024
_NO_PARQUET = "it does not begin with PAR1", "if it is CSV, set `kind: csv`"
_BATCH_ROWS = 131_072
# Column chunks are read through a window of this size: of 180 MB in one row group 25 MB were held
# instead of 193.
_BUFFER_BYTES = 1 << 20
# A damaged or hostile footer can declare anything: 4 kB on disk were seen to declare 4 GB.
_MAX_UNPACKED_BYTES = 1 << 30
_MAX_RATIO = 1000
# What pyarrow raises of it: names that are no UTF-8 are told by Python.
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)


def parquet_head(file: DataFile) -> Head:
    """Return the columns of a Parquet file and whether its footer tells of rows.

    Raises:
        SourceError: the file is something else, its footer is damaged, or it declares an absurd
            size.
    """
    with file.open() as handle:
        opened = _opened(handle, file)
        metadata = opened.metadata
        return Head(file.name, opened.schema_arrow, metadata.num_rows > 0)


def parquet_batches(file: DataFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a Parquet file with the columns and types of the schema.

    Raises:
        SourceError: the file is damaged, holds other than its footer says, or a value that its
            column's type cannot take; the message names the row group.
    """
    with file.on_disk() as path, pa.OSFile(str(path)) as handle:
        opened = _opened(handle, file)
        for number in range(opened.num_row_groups):
            yield from _group(file.name, opened, number, schema)
        held = sum(opened.metadata.row_group(n).num_rows for n in range(opened.num_row_groups))
        if held != opened.metadata.num_rows:
            raise SourceError(
                f"{file.name}: its footer says {opened.metadata.num_rows} rows, its row groups "
                f"hold {held}"
            )


def _opened(handle: BinaryIO | pa.NativeFile, file: DataFile) -> pq.ParquetFile:
    if not (head := bytes(handle.read(_HEAD_BYTES))).startswith(_MAGIC):
        what, way_out = other_format(head) or _NO_PARQUET
        raise SourceError(f"{file.name} is not a Parquet file: {what}; {way_out}")
    handle.seek(0)
    try:
        opened = pq.ParquetFile(
            handle,
            page_checksum_verification=True,
            # In nanoseconds, the default, the year 9999 of a file of Spark's wraps to 1816.
            coerce_int96_timestamp_unit="us",
            pre_buffer=False,
            buffer_size=_BUFFER_BYTES,
        )
        names = opened.schema_arrow.names
    except _DAMAGE as error:
        raise SourceError(f"{file.name}: its footer cannot be read: {first_line(error)}") from None
    check_names(names, file.name)
    _check_size(file, opened.metadata)
    return opened


def _check_size(file: DataFile, metadata: pq.FileMetaData) -> None:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    declared = sum(int(group.total_byte_size) for group in groups)
    if declared > _MAX_UNPACKED_BYTES and declared > _MAX_RATIO * file.size_bytes:
        raise SourceError(
            f"{file.name}: {file.size_bytes:,} bytes declare {declared:,} unpacked; "
            "it is damaged or made to fill the memory"
        )


def _group(
    name: str, opened: pq.ParquetFile, number: int, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    held = 0
    batches = opened.iter_batches(_BATCH_ROWS, row_groups=[number], use_threads=False)
    while True:
        try:
            batch = next(batches, None)
            if batch is None:
                break
            batch.validate(full=True)
            held += batch.num_rows
            ready = fitted(batch, schema)
        except _DAMAGE as error:
            raise SourceError(f"{name}: row group {number}: {first_line(error)}") from None
        yield ready
    # Not before: pyarrow 25.0.1 ends the process where it is asked for a column of a damaged footer
    # that it has not read before.
    declared = _declared_rows(name, opened.metadata, number)
    if held != declared:
        raise SourceError(
            f"{name}: row group {number}: its footer says {declared} rows, it holds {held}"
        )


def _declared_rows(name: str, metadata: pq.FileMetaData, number: int) -> int:
    """Return how many rows the footer gives a row group, if its columns agree.

    A reader takes as many rows as it is told of: a footer that tells of too few hides the others.
    """
    group = metadata.row_group(number)
    for position in range(group.num_columns):
        chunk, field = group.column(position), metadata.schema.column(position)
        if field.max_repetition_level == 0 and chunk.num_values != group.num_rows:
            raise SourceError(
                f"{name}: row group {number}: its footer says {group.num_rows} rows, and "
                f"{chunk.num_values} values of column {field.path!r}"
            )
    return int(group.num_rows)
