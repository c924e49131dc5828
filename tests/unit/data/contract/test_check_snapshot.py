"""Rows put aside are kept as they came, and nobody else sees them."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import CheckedRows, check_snapshot, run_key
from pipeline_lib.data.snapshots import snapshot as snapshot_module
from pipeline_lib.data.snapshots.snapshot import Snapshot, take_snapshot
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.errors import QuarantineBudgetError, SourceError
from pipeline_lib.home import find_home

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]
COLUMNS = {
    "color": {"kind": "category", "severity": "quarantine"},
    "size": {"kind": "number", "maximum": 1000.0, "severity": "quarantine"},
}
BUDGET = {"quarantine": {"max_percent": 50.0}}
BAD_COLOR, BAD_SIZE, BAD_BOTH = 7, 50, 199


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a snapshot of a few hundred rows come in many batches."""
    monkeypatch.setattr(snapshot_module, "_ROW_GROUP_ROWS", 16)
    monkeypatch.setattr(snapshot_module, "_BATCH_ROWS", 16)


def _dirty(table: pa.Table) -> pa.Table:
    """Return a table with a bad color, a bad size and a row with both, and a column of no use."""
    colors, sizes = table["color"].to_pylist(), table["size"].to_pylist()
    colors[BAD_COLOR] = colors[BAD_BOTH] = None
    sizes[BAD_SIZE] = sizes[BAD_BOTH] = 5000.0
    return pa.table(
        {
            "note": [f"row {number}" for number in range(table.num_rows)],
            "color": pa.array(colors, pa.string()),
            "size": sizes,
            "label": table["label"],
        }
    )


def _snapshot(config: PipelineConfig, table: pa.Table) -> Snapshot:
    return take_snapshot(find_home().dataset(config.name), RowStream.of(table, source="toy.csv"))


@pytest.fixture
def config(table_config: MakeConfig) -> PipelineConfig:
    """A contract that puts bad rows aside."""
    return table_config(columns=COLUMNS, validation=BUDGET)


def test_bad_rows_are_kept_as_they_came_with_where_they_stood_and_why(
    config: PipelineConfig, toy_table: MakeTable
) -> None:
    table = _dirty(toy_table(200))
    snapshot = _snapshot(config, table)

    checked = check_snapshot(config, snapshot)

    key = run_key(config, snapshot)
    assert checked.quarantine == find_home().root / "quarantine" / "toy" / f"{key}.parquet"
    aside = pq.read_table(checked.quarantine)
    assert aside.column_names == [*table.column_names, "evergreen_row", "evergreen_rules"]
    assert aside.select(table.column_names).equals(table.take([BAD_COLOR, BAD_SIZE, BAD_BOTH]))
    assert aside["evergreen_row"].to_pylist() == [BAD_COLOR + 1, BAD_SIZE + 1, BAD_BOTH + 1]
    assert aside["evergreen_rules"].to_pylist() == [
        "color: nullable",
        "size: range",
        "color: nullable; size: range",
    ]


def test_it_is_known_of_every_row_whether_it_may_be_trained_on(
    config: PipelineConfig, toy_table: MakeTable
) -> None:
    checked = check_snapshot(config, _snapshot(config, _dirty(toy_table(200))))

    kept = checked.kept()

    assert kept.shape == (200,)
    assert np.flatnonzero(~kept).tolist() == [BAD_COLOR, BAD_SIZE, BAD_BOTH]
    assert checked.n_rows == 197


def test_rows_that_are_all_good_need_no_quarantine(
    config: PipelineConfig, toy_table: MakeTable
) -> None:
    checked = check_snapshot(config, _snapshot(config, toy_table(200)))

    assert checked.quarantine is None
    assert checked.kept().all()
    assert not (find_home().root / "quarantine").exists()


def _shown(
    config: PipelineConfig, table: pa.Table
) -> tuple[CheckedRows, pa.Table, npt.NDArray[np.int64]]:
    """Check a table, and gather what was shown on the way."""
    batches, places = list[pa.Table](), list[npt.NDArray[np.int64]]()

    def show(batch: pa.Table, rows: npt.NDArray[np.int64]) -> None:
        assert batch.num_rows == len(rows)
        batches.append(batch)
        places.append(rows)

    checked = check_snapshot(config, _snapshot(config, table), on_batch=show)
    return checked, pa.concat_tables(batches), np.concatenate(places)


def test_who_looks_on_sees_good_rows_alone_and_where_they_stand(
    config: PipelineConfig, toy_table: MakeTable
) -> None:
    table = _dirty(toy_table(200))

    checked, shown, places = _shown(config, table)

    assert places.tolist() == np.flatnonzero(checked.kept()).tolist()
    good = table.filter(pa.array(checked.kept()))
    for name in ("color", "size", "label"):
        assert shown[name].to_pylist() == good[name].to_pylist()


def test_who_looks_on_does_not_see_a_key_again(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(
        columns=COLUMNS, data={"key": ["id"]}, validation={**BUDGET, "unique_key": "quarantine"}
    )
    ids = [f"c{number % 190}" for number in range(200)]
    table = _dirty(toy_table(200)).append_column("id", pa.array(ids))

    checked, shown, places = _shown(config, table)

    aside = {BAD_COLOR, BAD_SIZE, *range(190, 200)}
    assert sorted(aside) == np.flatnonzero(~checked.kept()).tolist()
    assert places.tolist() == [row for row in range(200) if row not in aside]
    assert shown["id"].to_pylist() == [ids[row] for row in places]
    assert shown["size"].to_pylist() == [table["size"][row].as_py() for row in places.tolist()]


def test_over_the_budget_nothing_is_put_aside(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(columns=COLUMNS, validation={"quarantine": {"max_rows": 2}})

    with pytest.raises(QuarantineBudgetError, match=r"3 of 200 rows"):
        check_snapshot(config, _snapshot(config, _dirty(toy_table(200))))

    assert not (find_home().root / "quarantine").exists()


def test_checking_again_replaces_the_file_and_leaves_nothing_beside_it(
    config: PipelineConfig, toy_table: MakeTable
) -> None:
    snapshot = _snapshot(config, _dirty(toy_table(200)))
    first = check_snapshot(config, snapshot)
    assert first.quarantine is not None
    before = pq.read_table(first.quarantine)
    first.quarantine.write_bytes(b"half a file")

    second = check_snapshot(config, snapshot)

    assert second.quarantine == first.quarantine
    assert pq.read_table(first.quarantine).equals(before)
    assert list(first.quarantine.parent.iterdir()) == [first.quarantine]


def test_columns_called_as_the_added_ones_stay_as_they_are(
    config: PipelineConfig, toy_table: MakeTable
) -> None:
    table = _dirty(toy_table(200))
    for name in ("evergreen_row", "evergreen_rules", ".."):
        table = table.append_column(name, pa.array([f"mine {n}" for n in range(200)]))

    quarantine = check_snapshot(config, _snapshot(config, table)).quarantine

    assert quarantine is not None
    aside = pq.read_table(quarantine)
    assert aside["evergreen_row"].to_pylist() == [f"mine {n}" for n in (7, 50, 199)]
    assert aside["evergreen_row_"].to_pylist() == [8, 51, 200]


def test_another_contract_has_a_file_of_its_own(
    config: PipelineConfig, table_config: MakeConfig, toy_table: MakeTable
) -> None:
    snapshot = _snapshot(config, _dirty(toy_table(200)))
    other = table_config(columns={"color": COLUMNS["color"]}, validation=BUDGET)

    files = [check_snapshot(each, snapshot).quarantine for each in (config, other)]

    assert [pq.read_metadata(file).num_rows for file in files if file] == [3, 2]


@pytest.mark.parametrize("n_rows", [0, 1])
def test_a_snapshot_of_hardly_any_rows_is_refused_with_their_number(
    config: PipelineConfig, toy_table: MakeTable, n_rows: int
) -> None:
    snapshot = _snapshot(config, toy_table(20).slice(0, n_rows))

    with pytest.raises(SourceError, match=f"toy.csv has {n_rows} rows?, fewer than"):
        check_snapshot(config, snapshot)

    assert snapshot.read().num_rows == n_rows
