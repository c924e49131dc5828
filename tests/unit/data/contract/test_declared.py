"""What a table must look like, and what is said when it does not."""

import decimal
from collections.abc import Callable, Mapping
from datetime import date, time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.columns import CategoryColumn, Column, NumberColumn
from pipeline_lib.data.contract.declared import conform, require_columns
from pipeline_lib.errors import ContractError, DataError, MissingColumnError, SourceError, Violation
from tests.unit.data.in_memory import check_rows

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]
WORDS = {"x": CategoryColumn(nullable=True)}
NUMBERS = {"x": NumberColumn(nullable=True)}


def _conform(values: pa.Array, columns: Mapping[str, Column]) -> pa.ChunkedArray:
    return conform(pa.table({"x": values}), columns, source="x.csv")["x"]


def _check(config: PipelineConfig, table: pa.Table) -> pa.Table:
    return check_rows(table, config.columns, config.data, config.validation, source="toy.csv")


def _violation(config: PipelineConfig, table: pa.Table) -> Violation:
    with pytest.raises(ContractError, match=r"contract broken by toy\.csv") as raised:
        _check(config, table)
    assert len(raised.value.violations) == 1
    return raised.value.violations[0]


def _with(
    table: pa.Table, name: str, values: list[Any], kind: pa.DataType | None = None
) -> pa.Table:
    position = table.column_names.index(name)
    return table.set_column(position, name, pa.array(values, kind))


def test_a_missing_column_is_told_with_the_nearest_one_blanks_included() -> None:
    table = pa.table({" income": ["a"], "age": [1]})

    with pytest.raises(MissingColumnError) as raised:
        require_columns(table, ["income", "age"], source="adult.csv")

    assert raised.value.columns == ("income",)
    assert "column 'income': is missing; did you mean ' income'?" in str(raised.value)
    assert raised.value.exit_code == 3


def test_a_missing_target_is_told_like_any_missing_column(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(data={"target": "income"})
    table = toy_table(50).rename_columns(["color", "size", " income"])

    with pytest.raises(MissingColumnError, match="column 'income': is missing; did you mean ' inc"):
        _check(config, table)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_row_without_a_label_stops_with_the_setting_that_puts_it_aside(
    table_config: MakeConfig, task: str
) -> None:
    config = table_config(data={"task": task}, columns={"size": {"kind": "number"}})
    labels = ["no", "yes"] if task == "binary" else ["1.5", "2.5"]
    table = pa.table({"size": range(60), "label": [None, *labels * 29, labels[0]]})

    found = _violation(config, table)

    assert (found.rule, found.n_rows) == ("nullable", 1)
    assert found.change == "`data.severity` can put them into quarantine"


def test_a_missing_key_column_is_told(table_config: MakeConfig, toy_table: MakeTable) -> None:
    config = table_config(data={"key": ["id"]})

    with pytest.raises(MissingColumnError, match="column 'id': is missing"):
        _check(config, toy_table(50))


def test_declared_columns_come_in_their_order_and_others_are_left_out() -> None:
    table = pa.table({"z": ["?"], "b": ["1"], "a": ["w"]})

    typed = conform(table, {"a": CategoryColumn(), "b": NumberColumn()}, source="x.csv")

    assert typed.column_names == ["a", "b"]
    assert typed.schema.types == [pa.string(), pa.float64()]
    assert typed.to_pylist() == [{"a": "w", "b": 1.0}]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pa.array(["2", None]), ["2", None]),
        (pa.array(["2", None], pa.large_string()), ["2", None]),
        (pa.array([2, None], pa.int64()), ["2", None]),
        (pa.array([2, None], pa.uint8()), ["2", None]),
        (pa.array([2.0, None, -3.0]), ["2", None, "-3"]),
        (pa.array([2.0, float("nan")]), ["2", None]),
        (pa.array([2.0, None], pa.float32()), ["2", None]),
        (pa.array([True, False, None]), ["true", "false", None]),
        (pa.array([None, None], pa.null()), [None, None]),
        (pa.array(["b", "a", None]).dictionary_encode(), ["b", "a", None]),
        (pa.array([7, None, 7]).dictionary_encode(), ["7", None, "7"]),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None])), ["a", None]),
        (pa.array([], pa.string()), []),
        (pa.array([float(2**53 - 1)]), ["9007199254740991"]),
        (pa.array(["08123", " a ", "", "nan"]), ["08123", " a ", "", "nan"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_category_is_text_whatever_type_it_comes_in(
    values: pa.Array, words: list[str | None]
) -> None:
    typed = _conform(values, WORDS)

    assert typed.type == pa.string()
    assert typed.to_pylist() == words


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (pa.array([1.0, 2.5, 2.5]), "2 rows hold numbers that are not whole, such as 2.5"),
        (pa.array([float("inf")]), "1 row holds numbers that are not whole, such as inf"),
        (pa.array([1e300]), "1 row holds numbers that are not whole"),
        (pa.array([time(1, 2)]), "has the type time64[us], which no category can have"),
        (pa.array([[1]]), "has the type list<item: int64>, which no category can have"),
        (pa.array([b"a"]), "has the type binary, which no category can have"),
    ],
)
def test_what_can_be_no_category_is_refused(values: pa.Array, told: str) -> None:
    with pytest.raises(ContractError) as raised:
        _conform(values, WORDS)

    assert raised.value.violations[0].rule == "type"
    assert told in raised.value.violations[0].message


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (pa.array(["1.5", " 2 ", None, "-1e3"]), [1.5, 2.0, None, -1000.0]),
        (pa.array(["1.5"], pa.large_string()), [1.5]),
        (pa.array([1, None]), [1.0, None]),
        (pa.array([1.5, float("nan"), None]), [1.5, None, None]),
        (pa.array([1.5], pa.float32()), [1.5]),
        (pa.array([True, False]), [1.0, 0.0]),
        (pa.array([decimal.Decimal("1.25")]), [1.25]),
        (pa.array([None], pa.null()), [None]),
        (pa.array([1.5, None, 1.5]).dictionary_encode(), [1.5, None, 1.5]),
        (pa.array([2**53]), [float(2**53)]),
        (pa.array([], pa.string()), []),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_number_is_a_float_whatever_type_it_comes_in(
    values: pa.Array, numbers: list[float | None]
) -> None:
    typed = _conform(values, NUMBERS)

    assert typed.type == pa.float64()
    assert typed.to_pylist() == numbers


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=20))
def test_a_float_written_as_text_is_the_same_float(values: list[float | None]) -> None:
    words = [None if value is None else repr(value) for value in values]

    typed = _conform(pa.array(words, pa.string()), NUMBERS)

    assert typed.to_pylist() == values


def test_text_that_is_no_number_is_told_with_count_and_examples() -> None:
    words = ["1", "two", None, "two", "3,5", ""]

    with pytest.raises(ContractError) as raised:
        _conform(pa.array(words), NUMBERS)

    violation = raised.value.violations[0]
    assert (violation.column, violation.rule, violation.n_rows) == ("x", "type", 4)
    assert "4 rows hold text that is not a number, such as 'two', '3,5', ''" in violation.message


def test_a_date_is_no_number() -> None:
    with pytest.raises(ContractError, match=r"has the type date32\[day\], which is not a number"):
        _conform(pa.array([date(2024, 1, 1)]), NUMBERS)


def test_all_columns_that_clash_are_told_at_once() -> None:
    table = pa.table({"a": [1.5], "b": ["word"]})

    with pytest.raises(ContractError) as raised:
        conform(table, {"a": CategoryColumn(), "b": NumberColumn()}, source="x.csv")

    assert [violation.column for violation in raised.value.violations] == ["a", "b"]


def test_a_column_that_stands_twice_in_an_arrow_table_is_told_by_name() -> None:
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["x", "x"])

    with pytest.raises(ContractError, match="column 'x'"):
        conform(table, WORDS, source="the rows")


def test_rows_that_keep_every_rule_come_back_typed(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(50)

    rows = _check(table_config(), table)

    assert rows.column_names == ["color", "size", "label"]
    assert rows.to_pydict() == table.to_pydict()


def test_key_columns_come_back_beside_the_features(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(50).append_column("id", pa.array(range(50)))

    rows = _check(table_config(data={"key": ["id", "color"]}), table)

    assert set(rows.column_names) == {"color", "size", "label", "id"}
    assert rows.schema.field("id").type == pa.string()


def test_too_few_rows_are_told_with_the_setting(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    with pytest.raises(SourceError, match=r"19 rows, fewer than `validation.min_rows` \(20\)"):
        _check(table_config(), toy_table(19))


def test_a_null_in_a_column_that_may_have_none_is_told_with_a_way_out(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(50)
    sizes = [None if i in {3, 7} else v for i, v in enumerate(table["size"].to_pylist())]

    violation = _violation(table_config(), _with(table, "size", sizes))

    assert (violation.column, violation.rule, violation.n_rows) == ("size", "nullable", 2)
    assert "nullable: true" in violation.message


def test_a_null_in_a_nullable_column_is_kept(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    columns = {"color": {"kind": "category", "nullable": True}, "size": {"kind": "number"}}
    table = toy_table(50)
    colors = [None, *table["color"].to_pylist()[1:]]

    rows = _check(table_config(columns=columns), _with(table, "color", colors))

    assert rows["color"].null_count == 1


@pytest.mark.parametrize("n_null", [1, 10])
def test_null_labels_are_counted_and_stop_the_night_they_are_no_class(
    table_config: MakeConfig, toy_table: MakeTable, n_null: int
) -> None:
    table = toy_table(50)
    labels = [None] * n_null + table["label"].to_pylist()[n_null:]

    violation = _violation(table_config(), _with(table, "label", labels))

    assert (violation.column, violation.rule, violation.n_rows) == ("label", "nullable", n_null)


def test_null_numbers_to_predict_stop_the_night(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(50, task="regression")
    labels = [None, float("nan"), *table["label"].to_pylist()[2:]]

    violation = _violation(table_config(data={"task": "regression"}), _with(table, "label", labels))

    assert (violation.rule, violation.n_rows) == ("nullable", 2)


def test_a_word_outside_the_allowed_ones_is_told_with_both(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    allowed = ["red", "green", "blue"]
    columns = {"color": {"kind": "category", "allowed": allowed}, "size": {"kind": "number"}}
    table = toy_table(50)
    n_teal = table["color"].to_pylist().count("teal")

    violation = _violation(table_config(columns=columns), table)

    assert (violation.rule, violation.n_rows) == ("allowed", n_teal)
    assert violation.message == (f"{n_teal} rows hold 'teal'; allowed are 'red', 'green', 'blue'")


def test_a_null_is_no_word_outside_the_allowed_ones(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    allowed = ["red", "green", "blue", "teal"]
    color = {"kind": "category", "nullable": True, "allowed": allowed}
    config = table_config(columns={"color": color, "size": {"kind": "number"}})
    table = toy_table(50)

    rows = _check(config, _with(table, "color", [None, *table["color"].to_pylist()[1:]]))

    assert rows.num_rows == 50


def test_a_number_outside_its_range_is_told_and_its_bounds_are_inside(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    columns = {"size": {"kind": "number", "minimum": 0, "maximum": 100}}
    config = table_config(columns=columns)
    table = toy_table(50)
    rest = table["size"].to_pylist()[4:]

    violation = _violation(config, _with(table, "size", [0.0, 100.0, -0.5, 100.5, *rest]))

    assert (violation.rule, violation.n_rows) == ("range", 2)
    assert "-0.5, 100.5, outside 0 to 100" in violation.message


@pytest.mark.parametrize("word", ["inf", "-inf", "nan"])
@pytest.mark.parametrize("as_text", [True, False])
def test_a_number_that_is_not_finite_stops_the_night(
    table_config: MakeConfig, toy_table: MakeTable, word: str, as_text: bool
) -> None:
    table = toy_table(50)
    values = [float(word), *table["size"].to_pylist()[1:]]
    given_values = [str(value) for value in values] if as_text else values

    violation = _violation(table_config(), _with(table, "size", given_values))

    assert violation.column == "size"
    assert violation.n_rows == 1


def test_a_class_with_one_row_is_told_with_the_setting(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(50)
    labels = ["rare", *table["label"].to_pylist()[1:]]

    violation = _violation(table_config(), _with(table, "label", labels))

    assert (violation.rule, violation.n_rows) == ("min_rows_per_class", 1)
    assert "class 'rare' has 1 row; at least 3" in violation.message
    assert "`validation.min_rows_per_class`" in violation.message


def test_one_class_only_is_nothing_to_learn(table_config: MakeConfig, toy_table: MakeTable) -> None:
    violation = _violation(table_config(), _with(toy_table(50), "label", ["same"] * 50))

    assert violation.rule == "classes"
    assert "one class only, 'same'" in violation.message


def test_three_classes_of_a_binary_task_are_told_with_the_setting(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    violation = _violation(table_config(data={"task": "binary"}), toy_table(50))

    assert "holds 3 classes" in violation.message
    assert "`data.task: multiclass`" in violation.message


def test_a_label_that_is_no_declared_class_is_told(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(data={"classes": ["hot", "large"]})

    violation = _violation(config, toy_table(50))

    assert violation.rule == "allowed"
    assert "'small'; allowed are 'hot', 'large'" in violation.message


@pytest.mark.parametrize("rule", ["allowed", "type of a number", "type of a category", "range"])
def test_ten_thousand_distinct_bad_values_make_a_message_of_five(
    table_config: MakeConfig, rule: str
) -> None:
    n_rows = 10_000
    columns: dict[str, dict[str, Any]] = {
        "allowed": {"x": {"kind": "category", "allowed": ["a"]}},
        "type of a number": {"x": {"kind": "number"}},
        "type of a category": {"x": {"kind": "category"}},
        "range": {"x": {"kind": "number", "maximum": -1}},
    }
    words = [f"word {i}" for i in range(n_rows)]
    numbers = [i + 0.5 for i in range(n_rows)]
    table = pa.table(
        {
            "x": words if rule in {"allowed", "type of a number"} else numbers,
            "label": ["a", "b"] * (n_rows // 2),
        }
    )

    with pytest.raises(DataError) as raised:
        _check(table_config(columns=columns[rule]), table)

    assert len(str(raised.value)) < 500
    assert "10,000 rows" in str(raised.value)
    assert "…" in str(raised.value)


def test_one_huge_bad_value_makes_no_huge_message(table_config: MakeConfig) -> None:
    table = pa.table({"x": ["y" * 1_000_000] * 50, "label": ["a", "b"] * 25})

    with pytest.raises(ContractError) as raised:
        _check(table_config(columns={"x": {"kind": "number"}}), table)

    assert len(str(raised.value)) < 5000
