"""Rows of a split: who is in which, and what is kept of those that judge."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import check_snapshot
from pipeline_lib.data.snapshots import snapshot as snapshot_module
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.data.splits.assign import SPLITS, UNUSED
from pipeline_lib.data.splits.split_rows import SplitRows, split_checked
from pipeline_lib.errors import ContractError
from pipeline_lib.home import find_home

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a snapshot of a few hundred rows come in many batches."""
    monkeypatch.setattr(snapshot_module, "_ROW_GROUP_ROWS", 32)
    monkeypatch.setattr(snapshot_module, "_BATCH_ROWS", 32)


def _split(config: PipelineConfig, table: pa.Table) -> SplitRows:
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream.of(table, source="toy.csv")
    )
    return split_checked(config, check_snapshot(config, snapshot))


def _with(table: pa.Table, **columns: list[Any]) -> pa.Table:
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    return table


def _dated(table: pa.Table) -> pa.Table:
    """Return a table with a row an hour, the newest last."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return _with(table, at=[start + timedelta(hours=hour) for hour in range(table.num_rows)])


@pytest.mark.parametrize(
    "split",
    [
        {"kind": "hash"},
        {"kind": "stratified"},
        {"kind": "group", "columns": ["owner"]},
        {"kind": "predefined", "column": "part"},
        {"kind": "time", "val_days": 2, "test_days": 2, "gap_days": 1},
    ],
    ids=lambda split: split["kind"],
)
def test_the_assignment_and_the_rows_agree_in_every_kind_of_split(
    table_config: MakeConfig, toy_table: MakeTable, split: dict[str, Any]
) -> None:
    data = {"time": "at"} if split["kind"] == "time" else {}
    config = table_config(split=split, data=data)
    parts = [["train", "val", "test", "nobody's"][n % 4] for n in range(300)]
    owners = [f"owner {n % 40}" for n in range(300)]
    table = _with(_dated(toy_table(300)), part=parts, owner=owners)

    rows = _split(config, table)

    assigned = rows.assignment()
    assert (assigned.shape, assigned.dtype) == ((300,), np.int8)
    for number, name in enumerate(SPLITS):
        mine = table.filter(pa.array(assigned == number))
        assert rows.read(name).equals(mine)
        assert rows.n_rows[name] == mine.num_rows
    assert rows.n_unused == int((assigned == UNUSED).sum())
    assert rows.n_unused + sum(rows.n_rows.values()) == 300


def test_rows_in_quarantine_are_in_no_split(table_config: MakeConfig, toy_table: MakeTable) -> None:
    config = table_config(
        columns={
            "color": {"kind": "category", "severity": "quarantine"},
            "size": {"kind": "number"},
        },
        validation={"quarantine": {"max_percent": 50.0}},
    )
    table = toy_table(300)
    bad = list(range(0, 300, 7))
    colors = [None if n in bad else word for n, word in enumerate(table["color"].to_pylist())]
    table = _with(table.set_column(0, "color", pa.array(colors)), number=list(range(300)))

    rows = _split(config, table)

    assert np.isin(bad, np.flatnonzero(rows.assignment() == UNUSED)).all()
    numbers = [n for name in SPLITS for n in rows.read(name)["number"].to_pylist()]
    assert sorted(numbers) == [n for n in range(300) if n not in bad]
    assert rows.n_unused == 0


def test_rows_that_quarantine_takes_leave_all_others_in_their_split(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    columns = {"color": {"kind": "category", "severity": "quarantine"}, "size": {"kind": "number"}}
    config = table_config(columns=columns, validation={"quarantine": {"max_percent": 50.0}})
    table = toy_table(300)
    colors: list[str | None] = table["color"].to_pylist()
    colors[10] = colors[11] = None

    before = _split(config, table).assignment()
    after = _split(config, table.set_column(0, "color", pa.array(colors))).assignment()

    others = np.delete(np.arange(300), [10, 11])
    assert after[others].tolist() == before[others].tolist()
    assert after[[10, 11]].tolist() == [UNUSED, UNUSED]


def test_test_rows_come_raw_with_all_columns(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(columns={"size": {"kind": "number"}})
    table = toy_table(200)
    table = table.set_column(1, "size", table["size"].cast(pa.string()))
    table = table.append_column("tags", pa.array([[n, n] for n in range(200)]))

    test = _split(config, table).read("test")

    assert test.schema == table.schema
    assert set(test["size"].to_pylist()) < set(table["size"].to_pylist())


@pytest.mark.parametrize(
    ("split", "column"),
    [
        ({"kind": "group", "columns": ["part"]}, "part"),
        ({"kind": "predefined", "column": "part"}, "part"),
    ],
)
def test_a_column_to_split_by_need_not_be_a_feature(
    table_config: MakeConfig, toy_table: MakeTable, split: dict[str, Any], column: str
) -> None:
    config = table_config(split=split)
    words = [["train", "val", "test"][n % 3] for n in range(300)]
    if split["kind"] == "group":
        words = [f"owner {n % 30}" for n in range(300)]

    rows = _split(config, _with(toy_table(300), part=words))

    of_split = [set(rows.read(name)[column].to_pylist()) for name in SPLITS]
    assert not of_split[0] & of_split[1]
    assert not of_split[0] & of_split[2]
    assert not of_split[1] & of_split[2]


@pytest.mark.parametrize(
    ("values", "told"),
    [([n + 0.5 for n in range(300)], "not whole, such as 0.5"), ([b"x"] * 300, "type binary")],
    ids=["floats", "bytes"],
)
def test_a_column_to_split_by_that_holds_no_words_is_refused_not_one_group(
    table_config: MakeConfig, toy_table: MakeTable, values: list[Any], told: str
) -> None:
    config = table_config(split={"kind": "group", "columns": ["part"]})

    with pytest.raises(ContractError, match=told):
        _split(config, _with(toy_table(300), part=values))


def test_rows_in_the_gaps_of_a_time_split_are_nobodys(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(
        data={"time": "at"}, split={"kind": "time", "val_days": 2, "test_days": 2, "gap_days": 1}
    )
    table = _dated(toy_table(24 * 10))

    rows = _split(config, table)

    of_split = {name: rows.read(name)["at"].to_pylist() for name in SPLITS}
    # The gap before val has a day of training rows, the one before test a day of val rows.
    assert min(of_split["test"]) - max(of_split["val"]) >= timedelta(days=1)
    assert min(of_split["val"]) - max(of_split["train"]) >= timedelta(days=1)
    assert 2 * 23 <= rows.n_unused <= 2 * 24
    unused = table.filter(pa.array(rows.assignment() == UNUSED))["at"].to_pylist()
    assert min(unused) > max(of_split["train"])
    assert max(unused) < min(of_split["test"])


@pytest.mark.parametrize(
    ("split", "one", "other"),
    [
        ({"kind": "time", "val_days": 2, "test_days": 2}, {"time": "at"}, {"time": "also_at"}),
        ({"kind": "stratified"}, {"target": "label"}, {"target": "other_label"}),
    ],
    ids=["time", "stratified"],
)
def test_a_split_by_another_column_is_another_split(
    table_config: MakeConfig,
    toy_table: MakeTable,
    split: dict[str, Any],
    one: dict[str, str],
    other: dict[str, str],
) -> None:
    table = _dated(toy_table(300))
    table = _with(
        table,
        also_at=table["at"].to_pylist()[::-1],
        other_label=[f"class {n % 3}" for n in range(300)],
    )

    rows = [_split(table_config(split=split, data=data), table) for data in (one, other)]

    assert rows[0].rule != rows[1].rule
    assert rows[0].assignment().tolist() != rows[1].assignment().tolist()


def test_warnings_are_told_again_when_nothing_is_written(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(300)
    labels = table["label"].to_pylist()
    for row in range(4):
        labels[row] = "rare"
    table = table.set_column(2, "label", pa.array(labels))
    config = table_config()

    first, second = _split(config, table), _split(config, table)

    assert any("'rare'" in warning for warning in first.warnings)
    assert second.warnings == first.warnings
    assert second.n_unused == first.n_unused


def test_a_target_with_other_classes_has_warnings_of_its_own(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    flags = ["rare" if n < 4 else "often" for n in range(300)]
    table = _with(toy_table(300), flag=flags)
    _split(table_config(), table)

    rows = _split(table_config(data={"target": "flag", "task": "binary"}), table)

    assert any("'rare'" in warning for warning in rows.warnings)


def test_the_file_of_test_rows_is_small_where_the_split_is(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    rows = _split(table_config(), toy_table(300))

    assert pq.read_metadata(rows.folder / "test.parquet").num_rows == rows.n_rows["test"]
    assert sorted(path.name for path in rows.folder.iterdir()) == [
        "assignment.parquet",
        "manifest.json",
        "test.parquet",
    ]
