"""Parquet files, believed only as far as they prove themselves: checksums, rows, values, size."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.data.names import check_names
from pipeline_lib.errors import SourceError, first_line

_MAGIC = b"PAR1"
# A damaged or hostile footer can declare anything: 4 kB on disk were seen to declare 4 GB.
_MAX_UNPACKED_BYTES = 1 << 30
_MAX_RATIO = 1000


def read_parquet(path: Path) -> pa.Table:
    """Read all rows of a Parquet file.

    Raises:
        SourceError: the file is something else, damaged, or holds other than its footer says;
            the message names the row group.
    """
    with path.open("rb") as handle:
        if handle.read(len(_MAGIC)) != _MAGIC:
            raise SourceError(f"{path} is not a Parquet file: it does not begin with PAR1")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path}: its footer cannot be read: {first_line(error)}") from None
    check_names(file.schema_arrow.names, path)
    _check_size(path, file.metadata)
    groups = [_read_group(path, file, number) for number in range(file.num_row_groups)]
    table = pa.concat_tables(groups) if groups else file.schema_arrow.empty_table()
    if table.num_rows != file.metadata.num_rows:
        raise SourceError(
            f"{path}: its footer says {file.metadata.num_rows} rows, its row groups hold "
            f"{table.num_rows}"
        )
    return table


def _check_size(path: Path, metadata: pq.FileMetaData) -> None:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    declared = sum(int(group.total_byte_size) for group in groups)
    if declared > _MAX_UNPACKED_BYTES and declared > _MAX_RATIO * path.stat().st_size:
        raise SourceError(
            f"{path}: {path.stat().st_size:,} bytes declare {declared:,} unpacked; "
            "it is damaged or made to fill the memory"
        )


def _read_group(path: Path, file: pq.ParquetFile, number: int) -> pa.Table:
    try:
        group = file.read_row_group(number)
        group.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path}: row group {number}: {first_line(error)}") from None
    declared = file.metadata.row_group(number).num_rows
    if group.num_rows != declared:
        raise SourceError(
            f"{path}: row group {number}: its footer says {declared} rows, it holds "
            f"{group.num_rows}"
        )
    return group
