"""A night's rows, named by what they say and by nothing else."""

import json
from collections.abc import Callable

import pyarrow as pa
import pytest

from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.home import find_home
from pipeline_lib.storage.publishing import believed
from tests.unit.data.in_memory import content_digest

MakeTable = Callable[..., pa.Table]


def test_a_snapshot_gives_the_rows_back_and_says_what_they_are() -> None:
    table = car_evaluation()

    snapshot = take_snapshot(find_home().dataset("toy"), RowStream.of(table, source="built-in"))

    manifest = believed(snapshot.folder)
    assert snapshot.read().equals(table)
    assert snapshot.folder == find_home().dataset("toy").folder / "snapshots" / snapshot.digest[:16]
    assert manifest is not None
    assert manifest["digest"] == snapshot.digest == content_digest(table)
    assert manifest["n_rows"] == snapshot.n_rows == 1728


def test_the_same_rows_are_written_once() -> None:
    first = take_snapshot(find_home().dataset("toy"), RowStream.of(car_evaluation(), source="a"))
    written_at = (first.folder / "rows.parquet").stat().st_mtime_ns

    second = take_snapshot(
        find_home().dataset("toy"), RowStream.of(car_evaluation().combine_chunks(), source="a")
    )

    assert second.folder == first.folder
    assert (second.folder / "rows.parquet").stat().st_mtime_ns == written_at


def test_other_rows_get_a_folder_of_their_own(toy_table: MakeTable) -> None:
    first = take_snapshot(find_home().dataset("toy"), RowStream.of(toy_table(20), source="a"))

    second = take_snapshot(find_home().dataset("toy"), RowStream.of(toy_table(21), source="a"))

    assert first.folder != second.folder
    assert first.read().num_rows == 20


@pytest.mark.parametrize("damage", ["rows", "manifest", "digest"])
def test_a_damaged_snapshot_is_not_believed_but_written_again(damage: str) -> None:
    table = car_evaluation()
    snapshot = take_snapshot(find_home().dataset("toy"), RowStream.of(table, source="a"))
    rows, manifest = snapshot.folder / "rows.parquet", snapshot.folder / "manifest.json"

    match damage:
        case "rows":
            data = bytearray(rows.read_bytes())
            data[len(data) // 2] ^= 1
            rows.write_bytes(data)
        case "manifest":
            manifest.unlink()
        case _:
            facts = json.loads(manifest.read_text())
            manifest.write_text(json.dumps({**facts, "digest": "0" * 64}))
    again = take_snapshot(find_home().dataset("toy"), RowStream.of(table, source="a"))

    assert again.read().equals(table)
    assert believed(again.folder) is not None


def test_a_snapshot_of_a_table_with_dictionaries_reads_as_equal_content() -> None:
    table = car_evaluation()
    encoded = pa.table({name: table[name].dictionary_encode() for name in table.column_names})

    snapshot = take_snapshot(find_home().dataset("toy"), RowStream.of(encoded, source="a"))

    assert content_digest(snapshot.read()) == snapshot.digest == content_digest(table)
