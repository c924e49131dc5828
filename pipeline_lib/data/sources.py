"""Read the rows of a source as they are: text stays text, types come later from the contract."""

import codecs
import csv
from pathlib import Path
from typing import assert_never

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipeline_lib.config import BuiltinTable, CsvFile, ParquetFile, Source
from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.errors import SourceError, SourceNotFoundError, did_you_mean, examples


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
            table = _read_csv(path, source)
        case ParquetFile():
            path = _existing_file(root / source.path)
            table = _read_parquet(path)
        case _:
            assert_never(source)
    _check_names(table.column_names, path)
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


def _read_csv(path: Path, source: CsvFile) -> pa.Table:
    try:
        with path.open(encoding=_without_mark(source.encoding), newline="") as file:
            lines = (row for row in csv.reader(file, delimiter=source.delimiter) if row)
            header = next(lines)
            has_rows = next(lines, None) is not None
    except (UnicodeDecodeError, LookupError) as error:
        raise SourceError(
            f"{path} is not {source.encoding} text ({error}); set `data.source.encoding`"
        ) from None
    except (StopIteration, csv.Error, OSError) as error:
        raise SourceError(f"{path}:1: the header cannot be read: {error}") from None
    _check_names([name.strip() for name in header] if source.trim else header, path)
    if not has_rows:
        raise SourceError(f"{path} has columns but no rows")
    try:
        table = pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(encoding=source.encoding, use_threads=False),
            parse_options=pa_csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                null_values=list(source.null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        text = _first_line(error)
        if "invalid UTF8" in text:
            text = f"not {source.encoding} text ({text}); set `data.source.encoding`"
        raise SourceError(f"{path}: {text}") from None
    return _trimmed(table, source.null_values) if source.trim else table


def _without_mark(encoding: str) -> str:
    """Return the encoding that reads over a byte order mark."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _trimmed(table: pa.Table, null_values: tuple[str, ...]) -> pa.Table:
    nulls = pa.array(null_values, pa.string())
    columns = []
    for column in table.columns:
        text = pc.utf8_trim_whitespace(column)
        is_null = pc.is_in(text, value_set=nulls)
        columns.append(pc.if_else(is_null, pa.scalar(None, pa.string()), text))
    return pa.table(columns, names=[name.strip() for name in table.column_names])


def _read_parquet(path: Path) -> pa.Table:
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path}: {_first_line(error)}") from None
    declared = file.metadata.num_rows
    if table.num_rows != declared:
        raise SourceError(f"{path}: its footer says {declared} rows, it holds {table.num_rows}")
    return table


def _check_names(names: list[str], path: Path) -> None:
    if blank := [position for position, name in enumerate(names, start=1) if not name.strip()]:
        raise SourceError(f"{path}: columns without a name at {examples(blank)}")
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(f"{path}: column names that stand twice: {examples(double)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
