"""Tables loaded several times over: what stops, what is kept, and what is only said."""

from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import CheckedRows, check_snapshot
from pipeline_lib.data.contract.quarantine import ContractReport
from pipeline_lib.data.contract.repeats import RowCounts, hash_rows
from pipeline_lib.data.snapshots import snapshot as snapshot_module
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.data.splits.split_rows import split_checked
from pipeline_lib.errors import ContractError, QuarantineBudgetError
from pipeline_lib.home import find_home
from tests.unit.data.contract.contracts import ALL, report_of

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


def _config(table_config: MakeConfig, duplicates: str, **validation: Any) -> PipelineConfig:
    return table_config(validation={"duplicates": duplicates, **validation})


def _appended(table: pa.Table, copies: int) -> pa.Table:
    return pa.concat_tables([table] * copies)


def _adjacent(table: pa.Table, copies: int) -> pa.Table:
    return table.take(np.repeat(np.arange(table.num_rows), copies))


def _shuffled(table: pa.Table, copies: int) -> pa.Table:
    rows = np.tile(np.arange(table.num_rows), copies)
    return table.take(np.random.default_rng(3).permutation(rows))


@pytest.mark.parametrize("lay", [_appended, _adjacent, _shuffled])
@pytest.mark.parametrize("copies", [2, 3, 5])
@pytest.mark.parametrize("n_rows", [7, 10**6])
def test_a_table_that_was_loaded_several_times_stops_the_night(
    table_config: MakeConfig, toy_table: MakeTable, lay: Any, copies: int, n_rows: int
) -> None:
    table = lay(toy_table(400), copies)

    with pytest.raises(ContractError) as raised:
        report_of(table_config(), table, n_rows)

    (violation,) = raised.value.violations
    assert violation.rule == "duplicates"
    assert violation.n_rows == 400 * (copies - 1)
    assert f"these rows are {copies} copies of the same 400" in str(raised.value)
    assert "validation.duplicates: drop" in str(raised.value)


def test_rows_that_had_repeats_before_they_were_loaded_twice_are_copies_too(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    once = _appended(toy_table(300), 2).slice(0, 400)

    with pytest.raises(
        ContractError,
        match="2 copies of the same 400: each of 300 different rows occurs a multiple of 2 times",
    ):
        report_of(table_config(), _appended(once, 2))


def test_what_an_export_adds_and_the_config_does_not_name_makes_no_row_another_one(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = _appended(toy_table(400), 2)
    indexed = table.append_column("Unnamed: 0", pa.array(range(800)))

    with pytest.raises(ContractError, match="2 copies"):
        report_of(table_config(), indexed)


def test_rows_of_one_value_written_in_two_ways_are_equal(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(400)
    whole = table.set_column(1, "size", pa.array([f"{i}" for i in range(400)]))
    point = table.set_column(1, "size", pa.array([f" {i}.0" for i in range(400)]))

    with pytest.raises(ContractError, match="2 copies"):
        report_of(table_config(), pa.concat_tables([whole, point]))


def test_rows_that_differ_in_the_target_alone_are_no_copies(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(400)
    other = table.set_column(2, "label", pa.array(["cold"] * 400))

    report = report_of(table_config(), pa.concat_tables([table, other]))

    assert report.repeats is not None
    assert (report.repeats.n_repeated, report.repeats.copies) == (0, 1)
    assert report.lines() == []


def test_other_repeats_are_a_note_with_their_share(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = pa.concat_tables([toy_table(300), toy_table(300).slice(0, 100)])

    report = report_of(table_config(), table)

    assert report.lines() == [
        "100 of 400 rows (25.0%) repeat an earlier row in every column that the config names"
    ]


def test_a_table_that_was_loaded_twice_and_grew_since_is_looked_at(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    fresh = toy_table(5, seed=9)

    (line,) = report_of(
        table_config(), pa.concat_tables([toy_table(400), toy_table(400), fresh])
    ).lines()

    assert line.startswith("400 of 805 rows (49.7%) repeat an earlier row")
    assert line.endswith("look whether a part of the table was loaded twice")


def test_few_different_rows_repeat_by_nature(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    report = report_of(table_config(), _appended(toy_table(99), 2))

    assert report.dropped_rows.tolist() == []
    assert report.lines()[0].startswith("99 of 198 rows (50.0%) repeat")


def test_copies_that_are_meant_are_said_and_used(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    report = report_of(_config(table_config, "warn"), _appended(toy_table(400), 2))

    assert report.n_used == 800
    assert report.lines()[0].startswith("duplicates: these rows are 2 copies of the same 400")


@pytest.mark.parametrize("lay", [_appended, _adjacent, _shuffled])
def test_of_copies_that_are_dropped_each_row_stays_as_often_as_the_table_had_it(
    table_config: MakeConfig, toy_table: MakeTable, lay: Any
) -> None:
    once = _appended(toy_table(300), 2).slice(0, 320)
    table = lay(once, 3)

    report = report_of(_config(table_config, "drop"), table, 50)

    kept = report.kept(table, 0)
    assert Counter(map(str, kept.to_pylist())) == Counter(map(str, once.to_pylist()))
    assert report.n_used == 320
    assert (report.n_quarantined, len(report.dropped_rows)) == (0, 640)
    assert "640 rows are dropped" in report.lines()[0]


def test_classes_are_counted_without_the_copies(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(400)
    labels = ["rare", "rare", *table["label"].to_pylist()[2:]]
    doubled = _appended(table.set_column(2, "label", pa.array(labels)), 2)

    with pytest.raises(ContractError, match="class 'rare' has 2 rows"):
        report_of(_config(table_config, "drop"), doubled)


def test_copies_of_rows_in_quarantine_are_not_dropped_as_well(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    sizes = [-1.0, *toy_table(400)["size"].to_pylist()[1:]]
    table = _appended(toy_table(400).set_column(1, "size", pa.array(sizes)), 2)
    config = table_config(
        columns={
            "color": {"kind": "category"},
            "size": {"kind": "number", "minimum": 0, "severity": "quarantine"},
        },
        validation={"duplicates": "drop"},
    )

    report = report_of(config, table)

    assert report.quarantined_rows.tolist() == [0, 400]
    assert report.dropped_rows.tolist() == list(range(401, 800))
    assert report.unused_rows.tolist() == [0, *range(400, 800)]


@pytest.mark.parametrize("severity", ["stop", "quarantine", "warn"])
def test_with_a_key_copies_are_repeated_keys(
    table_config: MakeConfig, toy_table: MakeTable, severity: str
) -> None:
    keyed = toy_table(400).append_column("id", pa.array(range(400)))
    config = table_config(data={"key": ["id"]}, validation={**ALL, "unique_key": severity})

    def held() -> ContractReport:
        return report_of(config, _appended(keyed, 2))

    if severity == "stop":
        with pytest.raises(ContractError, match=r"400 rows have a key that an earlier row has"):
            held()
    else:
        assert held().n_used == (400 if severity == "quarantine" else 800)


def test_rows_with_keys_of_their_own_are_different_ones(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = _appended(toy_table(400), 2).append_column("id", pa.array(range(800)))

    report = report_of(table_config(data={"key": ["id"]}), table)

    assert (report.n_used, report.repeats) == (800, None)


def test_a_quarantine_of_repeated_keys_keeps_its_budget(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    keyed = toy_table(400).append_column("id", pa.array(range(400)))
    config = table_config(data={"key": ["id"]}, validation={"unique_key": "quarantine"})

    with pytest.raises(QuarantineBudgetError):
        report_of(config, _appended(keyed, 2))


class TestSnapshot:
    @pytest.fixture(autouse=True)
    def small_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(snapshot_module, "_ROW_GROUP_ROWS", 64)
        monkeypatch.setattr(snapshot_module, "_BATCH_ROWS", 64)

    def _checked(
        self, config: PipelineConfig, table: pa.Table
    ) -> tuple[CheckedRows, pa.Table, list[int]]:
        shown, places = list[pa.Table](), list[int]()

        def show(batch: pa.Table, rows: npt.NDArray[np.int64]) -> None:
            shown.append(batch)
            places.extend(rows.tolist())

        snapshot = take_snapshot(
            find_home().dataset(config.name), RowStream.of(table, source="toy.csv")
        )
        return check_snapshot(config, snapshot, on_batch=show), pa.concat_tables(shown), places

    def test_who_looks_on_sees_one_copy(
        self, table_config: MakeConfig, toy_table: MakeTable
    ) -> None:
        table = toy_table(400)

        checked, shown, places = self._checked(_config(table_config, "drop"), _appended(table, 2))

        assert places == list(range(400))
        assert shown["size"].to_pylist() == table["size"].to_pylist()
        assert checked.n_rows == 400
        assert checked.quarantine is None

    def test_one_copy_is_split_as_the_table_alone_would_be(
        self, table_config: MakeConfig, toy_table: MakeTable
    ) -> None:
        config, table = _config(table_config, "drop"), toy_table(400)

        alone = split_checked(config, self._checked(config, table)[0])
        copied = split_checked(config, self._checked(config, _shuffled(table, 3))[0])

        assert copied.n_rows == alone.n_rows
        assert copied.n_unused == 0
        assert (copied.assignment() >= 0).sum() == 400
        for split in ("train", "val", "test"):
            rows = [sorted(each.read(split)["size"].to_pylist()) for each in (alone, copied)]
            assert rows[0] == rows[1]


_VALUES = {
    "w": st.sampled_from(
        ["a", "b", "", "0", "\0", "a\0", "12345678", "123456789", "1" * 16, "1" * 17, "é" * 9, None]
    ),
    "x": st.sampled_from([0.0, -0.0, 1.0, float("nan"), None]),
    "b": st.sampled_from([True, False, None]),
    "t": st.sampled_from([date(1970, 1, 1), date(2026, 1, 1), None]),
}
_SCHEMA = pa.schema(
    [("w", pa.string()), ("x", pa.float64()), ("b", pa.bool_()), ("t", pa.date32())]
)


def _plain(row: dict[str, Any]) -> str:
    x = row["x"]
    plain = {**row, "x": None if x is None or x != x else x + 0.0}  # noqa: PLR0124
    return str(sorted(plain.items()))


@given(st.lists(st.fixed_dictionaries(_VALUES), min_size=1), st.integers(1, 9))
def test_rows_are_counted_as_python_counts_them(rows: list[dict[str, Any]], cut: int) -> None:
    table = pa.Table.from_pylist(rows, schema=_SCHEMA)
    counts = RowCounts(table.column_names)

    for start in range(0, len(rows), cut):
        counts.add(table.slice(start, cut))
    found = counts.repeats()

    by_row = Counter(map(_plain, rows))
    assert (found.n_rows, found.n_distinct) == (len(rows), len(by_row))
    assert found.n_repeating == sum(n > 1 for n in by_row.values())
    assert found.copies == np.gcd.reduce(list(by_row.values()))


@pytest.mark.parametrize("word", ["", "a", "12345678", "123456789", "é" * 40, "1" * 1000])
def test_a_word_is_the_same_one_beside_any_others(word: str) -> None:
    alone = hash_rows(pa.table({"a": [word]}), ["a"])
    often = hash_rows(pa.table({"a": [word] * 100}), ["a"])
    rare = hash_rows(pa.table({"a": [f"{i}é" for i in range(50)] + [word]}).slice(50), ["a"])

    assert {*alone.tolist(), *often.tolist(), *rare.tolist()} == {int(alone[0])}


def test_the_same_values_in_other_columns_are_another_row() -> None:
    table = pa.table({"a": ["x", "y"], "b": ["y", "x"]})

    first, second = hash_rows(table, ["a", "b"]).tolist()

    assert first != second


@pytest.mark.timeout(600)  # 8 bytes of all rows at a time, it would be minutes
def test_texts_of_megabytes_are_distinguished_by_their_last_byte() -> None:
    long = "x" * 40_000_000
    words = ["a", f"{long}a", "b", f"{long}b", f"{long}a", "a", f"{long}aa"]

    bits = hash_rows(pa.table({"a": words}), ["a"]).tolist()

    assert (bits[0], bits[1]) == (bits[5], bits[4])
    assert len(set(bits)) == 5
