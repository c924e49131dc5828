"""What a table's contract asks of a column of row weights."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline_lib.config import load_config
from pipeline_lib.data.contract.check_snapshot import contract_checker
from pipeline_lib.errors import ContractError, MissingColumnError
from tests.conftest import MakeConfig, MakeTable
from tests.unit.data.contract.contracts import ALL, report_of

WEIGHTED = {"weight": "w"}


def with_weights(table: pa.Table, *first: object, rest: object = 1.0) -> pa.Table:
    """Return a table with a column of weights as text, as a CSV has it."""
    values = [*first, *[rest] * (table.num_rows - len(first))]
    words = [None if value is None else str(value) for value in values]
    return table.append_column("w", pa.array(words, pa.string()))


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ([None], "1 row has no value; nothing says how much such a row counts; 0 leaves it out"),
        (["-1", "-0.5"], "2 rows hold -1.0, -0.5, less than 0"),
        (["heavy"], "1 row holds text that is not a number, such as 'heavy'"),
        (["inf"], "1 row holds inf, which is not finite"),
        (["nan"], "1 row has no value"),
    ],
)
@pytest.mark.parametrize("n_rows", [7, 1000])
def test_a_weight_that_cannot_be_used_ends_the_run_with_what_to_do(
    table_config: MakeConfig, toy_table: MakeTable, bad: list[Any], said: str, n_rows: int
) -> None:
    table = with_weights(toy_table(60), *bad)

    with pytest.raises(ContractError) as raised:
        report_of(table_config(data=WEIGHTED), table, n_rows)

    (message,) = map(str, raised.value.violations)
    assert message.startswith("column 'w': ")
    assert said in message
    assert message.endswith(
        "; a weight is a finite number of at least 0: correct it in the source, or let "
        "`data.severity` put such rows into quarantine"
    )


def test_a_setting_puts_rows_with_such_weights_into_quarantine(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = with_weights(toy_table(60), None, "-1", "heavy", "inf", "0", "2.5")
    config = table_config(data={**WEIGHTED, "severity": "quarantine"}, validation=ALL)

    report = report_of(config, table, 7)

    assert report.unused_rows.tolist() == [0, 1, 2, 3]


def test_weights_of_0_are_fine_as_long_as_one_row_counts(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config, table = table_config(data=WEIGHTED), toy_table(60)

    assert report_of(config, with_weights(table, *["0.1"] * 40, rest=0), 7).n_used == 60
    with pytest.raises(ContractError, match=r"column 'w': no row has a weight above 0"):
        report_of(config, with_weights(table, rest=0), 7)


def test_rows_in_quarantine_do_not_count(table_config: MakeConfig, toy_table: MakeTable) -> None:
    table = with_weights(toy_table(60), "1", rest=0)
    unlabeled = table.set_column(
        2, "label", pa.array([None, *table["label"].to_pylist()[1:]], pa.string())
    )
    config = table_config(data={**WEIGHTED, "severity": "quarantine"}, validation=ALL)

    with pytest.raises(ContractError, match="no row has a weight above 0"):
        report_of(config, unlabeled)


def test_classes_are_counted_from_rows_of_a_weight_above_0(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(60, task="binary")
    labels = ["odd", "odd", *table["label"].to_pylist()[2:]]
    table = table.set_column(2, "label", pa.array(labels))
    config = table_config(data={"task": "binary", **WEIGHTED})

    assert report_of(config, with_weights(table, "0", "0"), 7).n_used == 60
    with pytest.raises(ContractError, match="holds 3 classes"):
        report_of(config, with_weights(table, "0", "0.5"), 7)


@pytest.mark.parametrize("weight", ["0", "1"])
def test_a_repeated_key_takes_its_class_along_only_if_it_counted(
    table_config: MakeConfig, toy_table: MakeTable, weight: str
) -> None:
    table = toy_table(9).append_column("id", pa.array([*"abcdefgh", "a"]))
    labels = ["x", "x", "x", "y", "y", "y", "y", "y", "x"]
    table = table.set_column(2, "label", pa.array(labels))
    weights = ["1"] * 8 + [weight]
    config = table_config(
        data={"key": ["id"], **WEIGHTED},
        validation={**ALL, "unique_key": "quarantine", "min_rows": 5},
    )

    report = report_of(config, with_weights(table, *weights), 4)

    assert report.unused_rows.tolist() == [8]  # three rows of x are left, which is enough


def test_a_weight_that_is_not_there_is_reported_with_the_line_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(
        "name: shop\n"
        "data:\n"
        "  source: {kind: csv, path: shop.csv}\n"
        "  target: label\n"
        "  task: binary\n"
        "  weight: w\n"
        "columns: {size: {kind: number}}\n"
    )

    checker = contract_checker(load_config(path), source="shop.csv")
    with pytest.raises(MissingColumnError) as raised:
        checker.check(pa.table({"size": [1.0], "label": ["a"], "W": [1.0]}))

    assert "shop.yaml:6" in str(raised.value)
    assert "'w'" in str(raised.value)
