"""Rows in memory mean the same in every form that people have them in."""

from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline_lib.data.sources.tabular import as_table, tabular
from pipeline_lib.errors import ContractError, UsageError

RECORDS = [
    {"n": 1, "flag": True, "day": date(2026, 5, 1), "word": "a"},
    {"n": None, "flag": None, "day": None},
    {"n": 2**53 + 1, "flag": False, "word": "b", "day": date(2026, 5, 2)},
]
COLUMNS = {
    "n": [1, None, 2**53 + 1],
    "flag": [True, None, False],
    "day": [date(2026, 5, 1), None, date(2026, 5, 2)],
    "word": ["a", None, "b"],
}


@pytest.mark.parametrize("rows", [RECORDS, tuple(RECORDS), COLUMNS], ids=["list", "tuple", "dict"])
def test_python_values_keep_their_types_beside_a_gap(rows: object) -> None:
    table = as_table(rows, source="the rows")  # pyright: ignore[reportArgumentType]

    assert table.to_pydict() == COLUMNS
    assert [str(kind) for kind in table.schema.types] == ["int64", "bool", "date32[day]", "string"]


def test_a_frame_and_a_table_come_back_as_they_are() -> None:
    frame, table = pd.DataFrame({"n": [1]}), pa.table({"n": [1]})

    assert tabular(frame) is frame
    assert tabular(table) is table
    assert as_table(table, source="the rows") is table


def test_a_frame_loses_its_index_and_keeps_its_columns_as_text() -> None:
    frame = pd.DataFrame({1: [5, 6], "b": ["x", None]}, index=[7, 9])

    assert as_table(frame, source="the rows").to_pydict() == {"1": [5, 6], "b": ["x", None]}


def test_a_dict_of_single_values_is_one_row() -> None:
    row = {"n": 3, "word": "abc", "x": np.float64(0.5), "gap": None}

    assert as_table(row, source="the rows").to_pylist() == [row]


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, 2]),
        pd.Series([1, 2], index=[4, 5]),
        pa.array([1, 2]),
        pa.chunked_array([[1], [2]]),
        range(1, 3),
        (1, 2),
    ],
    ids=lambda values: type(values).__name__,
)
def test_a_dict_may_hold_columns_of_any_kind(values: object) -> None:
    rows = {"n": values, "word": ["a", "b"]}

    assert as_table(rows, source="the rows").to_pydict() == {"n": [1, 2], "word": ["a", "b"]}


def test_no_rows_have_the_columns_that_are_asked_for() -> None:
    assert list(tabular([], columns=["a", "b"]).columns) == ["a", "b"]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (pd.Series([1]), "this is a Series: `series.to_frame()`"),
        (np.zeros((2, 2)), "`pd.DataFrame(array, columns=[…])`"),
        ("rows.csv", "str 'rows.csv': read it first"),
        ((row for row in RECORDS), "`list(rows)`"),
        (pa.table({"n": [1]}).schema, "of type Schema"),
        (None, "of type NoneType"),
        ([[1, 2]], "item 0 of this list is of type list"),
        ([{"n": 1}, ("n", 1)], "item 1 of this list is of type tuple"),
        ({"a": [1, 2], "b": 3}, "'b' has one value where others have lists"),
        ({"a": [1, 2], "b": [3]}, "different lengths: 'a' has 2, 'b' has 1"),
        ({"a": {1, 2}}, "column 'a' of this dict is a set; give a list"),
        ({"a": np.zeros((2, 2))}, "an array of 2 dimensions"),
    ],
)
def test_another_form_is_refused_with_those_that_are_read(rows: object, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        tabular(rows)  # pyright: ignore[reportArgumentType]

    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (pd.DataFrame({"a": [1, "x"]}), r"column 'a': holds values .* 1, 'x' \(int, str\)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "column 'a': stands twice"),
        ([], "there are no rows"),
        (pd.DataFrame(), "there are no rows"),
    ],
)
def test_a_table_that_cannot_be_is_a_broken_contract(rows: object, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        as_table(rows, source="the rows")  # pyright: ignore[reportArgumentType]
