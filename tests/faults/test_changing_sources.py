"""A source that somebody cuts, rewrites or takes away while its rows are read."""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from pipeline_lib.config.sources import CsvFile, ParquetFile
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.errors import SourceError
from pipeline_lib.home import find_home

N_ROWS = 400_000


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3 - 1)


def cut_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


def rewrite(path: Path) -> None:
    path.write_bytes(b"other,columns\n" * 100_000)


def write_over_its_end(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(b'"' * 100)


def put_another_in_its_place(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def take_away(path: Path) -> None:
    path.unlink()


CHANGES = [cut, cut_to_nothing, rewrite, write_over_its_end, put_another_in_its_place, take_away]


def opened(path: Path) -> RowStream:
    table = pa.table({"n": range(N_ROWS), "word": [f"word {n % 977}" for n in range(N_ROWS)]})
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
        return open_source(CsvFile(path=path.name), root=path.parent, run_date=date(2026, 1, 1))
    pq.write_table(table, path, row_group_size=50_000)
    return open_source(ParquetFile(path=path.name), root=path.parent, run_date=date(2026, 1, 1))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["toy.csv", "toy.parquet"])
def test_a_file_that_changes_while_it_is_read_is_said_to_have_changed(
    tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    batches = opened(path).batches()
    next(batches)
    change(path)

    with pytest.raises(SourceError) as refused:
        list(batches)

    said = f"{path} changed while it was read; run again when it is complete"
    gone = "" if path.exists() else "; there is no such file any more"
    assert str(refused.value) == said + gone


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_between_a_first_look_and_the_reading_leaves_no_snapshot(
    tmp_path: Path, evergreen_home_of_the_test: Path, change: Callable[[Path], None]
) -> None:
    stream = opened(tmp_path / "toy.csv")
    change(tmp_path / "toy.csv")

    with pytest.raises(SourceError, match="changed while it was read; run again when"):
        take_snapshot(find_home().dataset("toy"), stream)

    assert list((evergreen_home_of_the_test / "datasets" / "toy" / "snapshots").iterdir()) == []


def test_a_short_row_of_a_file_that_stays_as_it_is_is_a_short_row(tmp_path: Path) -> None:
    (tmp_path / "toy.csv").write_text("a,b\n1,2\n3\n")

    with pytest.raises(SourceError, match=r"toy\.csv:3: a short row: 2 fields expected, 1 found"):
        open_source(CsvFile(path="toy.csv"), root=tmp_path, run_date=date(2026, 1, 1)).read()
