"""Read the rows of a source as they are: text stays text, types come later from the contract."""

from pathlib import Path
from typing import assert_never

import pyarrow as pa

from pipeline_lib.config import BuiltinTable, CsvFile, ParquetFile, Source
from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.data.csv_files import read_csv
from pipeline_lib.data.parquet_files import read_parquet
from pipeline_lib.errors import SourceError, SourceNotFoundError, did_you_mean


def read_source(source: Source, *, root: Path) -> pa.Table:
    """Read all rows of a source.

    Args:
        source: which table, by kind.
        root: the folder that a relative path starts from.

    Returns:
        A table with at least one row and names that are unique and not blank. From CSV every
        column is of type string.

    Raises:
        SourceNotFoundError: there is no such file.
        SourceError: the file is empty, has only a header, is ragged or otherwise damaged.
    """
    match source:
        case BuiltinTable():
            return car_evaluation()
        case CsvFile():
            path = _existing_file(root / source.path)
            table = read_csv(path, source)
        case ParquetFile():
            path = _existing_file(root / source.path)
            table = read_parquet(path)
        case _:
            assert_never(source)
    if table.num_rows == 0:
        raise SourceError(f"{path} has columns but no rows")
    return table


def source_name(source: Source, *, root: Path) -> str:
    """Return what a person calls the source: a path, or the name of a built-in table."""
    match source:
        case BuiltinTable():
            return f"built-in table {source.table}"
        case CsvFile() | ParquetFile():
            return str(root / source.path)
        case _:
            assert_never(source)


def _existing_file(path: Path) -> Path:
    if path.is_dir():
        raise SourceError(f"{path} is a folder, not a file")
    if not path.exists():
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*")))
        raise SourceNotFoundError(f"{path}: there is no such file{near}")
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty")
    return path
