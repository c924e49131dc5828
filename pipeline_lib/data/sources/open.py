"""Read the rows of a source as they are: text stays text, types come later from the contract."""

from collections.abc import Collection
from datetime import date
from functools import partial
from pathlib import Path
from typing import assert_never

from pipeline_lib.config.sources import BuiltinTable, CsvFile, ParquetFile, Source, SqlQuery
from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.data.sources.csv_files import csv_batches, csv_head
from pipeline_lib.data.sources.parquet_files import parquet_batches, parquet_head
from pipeline_lib.data.sources.paths import FoundFiles, find_files
from pipeline_lib.data.sources.schemas import common_schema
from pipeline_lib.data.sources.sql import open_query, query_name
from pipeline_lib.data.sources.stores import FolderStore, is_remote, store_of
from pipeline_lib.data.sources.stream import Part, RowStream
from pipeline_lib.errors import SourceError
from pipeline_lib.home import Home


def open_source(
    source: Source,
    *,
    root: Path,
    run_date: date,
    needed: Collection[str] = (),
    home: Home | None = None,
) -> RowStream:
    """Open a source: find its files or its columns, and read no rows yet.

    Args:
        source: which table, by kind.
        root: the folder that a relative path starts from.
        run_date: the run's date: files of later days are not read, queries may ask for it.
        needed: columns that have to be there with one value in a row: nested ones of a Parquet
            file are left out.
        home: for whose runs remote files are fetched; without it they go to temporary files.

    Returns:
        A stream whose names are unique and not blank. From CSV and SQL every column is of type
        string. What is wrong with a row is reported when its batch is read.

    Raises:
        SourceNotFoundError: there is no such file, or none that matches.
        SourceError: a file is empty, of another format or with other columns than the first;
            the source has no rows; the query is refused.
        UsageError: the path or url is of a kind that is not known, or an extra is not installed.
    """
    name = source_name(source, root=root)
    match source:
        case BuiltinTable():
            return RowStream.of(car_evaluation(), source=name)
        case CsvFile():
            found = _found(source, root=root, run_date=run_date, home=home)
            heads = [csv_head(dated.file, source) for dated in found.files]
            schema = common_schema(heads)
            readers = [partial(csv_batches, dated.file, source, schema) for dated in found.files]
        case ParquetFile():
            found = _found(source, root=root, run_date=run_date, home=home)
            heads = [parquet_head(dated.file, needed) for dated in found.files]
            schema = common_schema(heads)
            readers = [partial(parquet_batches, dated.file, schema) for dated in found.files]
        case SqlQuery():
            return open_query(source, root=root, run_date=run_date)
        case _:
            assert_never(source)
    if not any(head.has_rows for head in heads):
        files = heads[0].name if len(heads) == 1 else f"{name}: each of {len(heads)} files"
        raise SourceError(f"{files} has columns but no rows")
    parts = tuple(
        Part(dated.file.name, dated.file.fingerprint(), reader, dated.day)
        for dated, reader in zip(found.files, readers, strict=True)
    )
    left_out = {name: kind for head in heads for name, kind in head.left_out.items()}
    return RowStream(name, schema, parts, found.missing_days, left_out)


def source_name(source: Source, *, root: Path) -> str:
    """Return what a person calls the source: a path, a url, the name of a built-in table."""
    match source:
        case BuiltinTable():
            return f"built-in table {source.table}"
        case CsvFile() | ParquetFile():
            return source.path if is_remote(source.path) else FolderStore(root).place(source.path)
        case SqlQuery():
            return query_name(source)
        case _:
            assert_never(source)


def _found(
    source: CsvFile | ParquetFile, *, root: Path, run_date: date, home: Home | None
) -> FoundFiles:
    store = store_of(source.path, root=root, follow_symlinks=source.follow_symlinks, home=home)
    return find_files(source.path, store, window_days=source.window_days, run_date=run_date)
