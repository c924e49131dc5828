"""What columns may be under the contract, and how rows put aside are written and reported."""

# ruff: noqa: DTZ001 - naive times are what the columns hold

import json
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.quarantine import quarantine_table
from pipeline_lib.errors import ContractError, MissingColumnError
from tests.unit.data.contract.contracts import (
    SEVERITIES,
    checker_of,
    report_of,
    severe,
    with_bad_sizes,
    with_column,
)

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


def test_columns_that_nobody_named_are_noted_and_their_order_does_not_count(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(50).append_column("note", pa.array(["?"] * 50))

    report = report_of(table_config(), table.select(["note", "label", "size", "color"]))

    assert report.extra_columns == ("note",)
    assert report.violations == ()


def test_columns_of_a_split_have_to_be_there(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    checker = checker_of(table_config(), required=["fold"])

    with pytest.raises(MissingColumnError, match="column 'fold': is missing; did you mean folds"):
        checker.check(toy_table(50).append_column("folds", pa.array([1] * 50)))


def test_a_column_that_stands_twice_is_refused(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    with pytest.raises(ContractError, match="column 'size': stands twice"):
        checker_of(table_config()).check(toy_table(50).append_column("size", pa.array([1] * 50)))


@pytest.mark.parametrize("severity", SEVERITIES)
def test_a_column_of_lists_stops_the_night_at_its_first_batch(
    table_config: MakeConfig, toy_table: MakeTable, severity: str
) -> None:
    checker = checker_of(table_config(**severe(severity)))

    with pytest.raises(ContractError, match=r"has the type list<.*which is not a number"):
        checker.check(with_column(toy_table(50), "size", [[1.0]] * 50))


def test_a_column_of_numbers_that_became_text_tonight_is_told(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = with_column(toy_table(50), "size", ["small"] * 50)

    with pytest.raises(
        ContractError, match="50 rows hold text that is not a number, such as 'small'"
    ):
        report_of(table_config(), table)


@pytest.mark.parametrize("kind", ["category", "hash", "number", "boolean", "datetime"])
def test_a_column_without_any_value_is_read_where_it_may_have_none(
    table_config: MakeConfig, toy_table: MakeTable, kind: str
) -> None:
    column = {"kind": kind, "nullable": True}
    config = table_config(columns={"color": {"kind": "category"}, "size": column})

    report = report_of(config, with_column(toy_table(50), "size", pa.nulls(50)))

    assert report.violations == ()


def test_a_constant_column_breaks_nothing(table_config: MakeConfig, toy_table: MakeTable) -> None:
    assert report_of(table_config(), with_column(toy_table(50), "size", [1] * 50)).violations == ()


def test_times_outside_their_bounds_are_told_and_a_last_day_counts_whole(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    seen = {"kind": "datetime", "earliest": "2024-01-01", "latest": "2024-01-31"}
    config = table_config(columns={"color": {"kind": "category"}, "seen": seen})
    times = ["2024-01-31T23:59:59"] * 48 + ["2024-02-01", "2023-12-31T23:59"]

    with pytest.raises(ContractError) as raised:
        report_of(config, toy_table(50).append_column("seen", pa.array(times)))

    assert "2 rows hold '2024-02-01 00:00:00.000000', '2023-12-31 23:59:00.000000'" in str(
        raised.value
    )
    assert "outside 2024-01-01 to 2024-01-31" in str(raised.value)


def test_the_time_of_rows_is_typed_and_every_row_has_one(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(data={"time": "day", "time_format": "%d.%m.%Y"})
    days = ["24.12.2024"] * 49

    typed = checker_of(config).check(toy_table(49).append_column("day", pa.array(days))).typed
    with pytest.raises(ContractError, match=r"'day': 1 row has no value.*`data.time`"):
        report_of(config, toy_table(50).append_column("day", pa.array([*days, None])))

    assert set(typed["day"].to_pylist()) == {datetime(2024, 12, 24)}


def test_text_that_does_not_fit_a_format_is_reported_with_the_setting_of_the_format(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(columns={"day": {"kind": "datetime", "format": "%d.%m.%Y"}})
    table = toy_table(50).append_column("day", pa.array(["2024-12-24"] * 50))

    with pytest.raises(ContractError) as raised:
        report_of(config, table)

    assert "50 rows hold text that is not a time in the format '%d.%m.%Y'" in str(raised.value)
    assert "change `columns.day.format`" in str(raised.value)


def test_a_report_is_json(table_config: MakeConfig, toy_table: MakeTable) -> None:
    config = table_config(**severe("quarantine"))

    told = report_of(config, with_bad_sizes(toy_table(50), "?")).to_json()

    assert json.loads(json.dumps(told)) == {
        "source": "toy.csv",
        "n_rows": 50,
        "n_quarantined": 1,
        "violations": [
            {
                "column": "size",
                "rule": "type",
                "n_rows": 1,
                "message": "1 row holds text that is not a number, such as '?'",
                "severity": "quarantine",
                "examples": ["'?'"],
            }
        ],
        "extra_columns": [],
    }


def test_rows_put_aside_are_written_as_they_came_with_where_and_why(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(**severe("quarantine", minimum=0))
    table = with_bad_sizes(toy_table(50), "?", "1", "-1", "?").append_column(
        "note", pa.array(["as it came"] * 50)
    )
    report = report_of(config, table, 2)

    aside = report.quarantined(table.slice(2, 10), 2)

    assert aside["size"].to_pylist() == ["-1", "?"]
    assert aside["note"].to_pylist() == ["as it came"] * 2
    assert aside["evergreen_row"].to_pylist() == [3, 4]
    assert aside["evergreen_rules"].to_pylist() == ["size: range", "size: type"]
    assert report.kept(table.slice(2, 10), 2).num_rows == 8


def test_names_that_the_source_has_already_get_an_underscore() -> None:
    raw = pa.table({"evergreen_row": ["mine"], "evergreen_rules": [1], "evergreen_rules_": [2]})

    aside = quarantine_table(raw, np.array([41]), [["a rule", "b rule"]])

    assert aside.to_pylist() == [
        {
            "evergreen_row": "mine",
            "evergreen_rules": 1,
            "evergreen_rules_": 2,
            "evergreen_row_": 42,
            "evergreen_rules__": "a rule; b rule",
        }
    ]
