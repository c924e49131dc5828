"""A typed value has one text, whatever Arrow type and source it comes from; text is itself."""

# ruff: noqa: DTZ001 - naive times are what the columns hold

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib.config.columns import CategoryColumn, Column, HashColumn
from pipeline_lib.config.data import DataSettings
from pipeline_lib.config.sources import ParquetFile, SqlQuery
from pipeline_lib.config.validation import ValidationSettings
from pipeline_lib.data.contract.declared import conform
from pipeline_lib.data.sources.sql import as_text
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.data.values.written import TYPED_TEXT, text_of
from pipeline_lib.errors import ContractError
from tests.unit.data.in_memory import check_rows, read_source
from tests.unit.data.sources.queries import NIGHT

WORDS = CategoryColumn(nullable=True)
Route = Callable[[pa.Array, Path], pa.Table]


def _table(values: pa.Array, _: Path) -> pa.Table:
    return pa.table({"x": values})


def _builtin(values: pa.Array, _: Path) -> pa.Table:
    return RowStream.of(pa.table({"x": values}), source="x").read()


def _dictionary(values: pa.Array, _: Path) -> pa.Table:
    indices = pa.array(range(len(values)), pa.int32())
    return pa.table({"x": pa.DictionaryArray.from_arrays(indices, values)})


def _run_ends(values: pa.Array, _: Path) -> pa.Table:
    return pa.table({"x": pc.run_end_encode(values)})


def _parquet(values: pa.Array, folder: Path) -> pa.Table:
    pq.write_table(pa.table({"x": values}), folder / "x.parquet")
    return read_source(ParquetFile(path="x.parquet"), root=folder)


def _query(values: pa.Array, _: Path) -> pa.Table:
    words = pa.array([as_text(value, "x") for value in values.to_pylist()], pa.string())
    field = pa.field("x", pa.string(), metadata=TYPED_TEXT)
    return pa.Table.from_arrays([words], schema=pa.schema([field]))


def _frame(values: pa.Array, _: Path) -> pa.Table:
    return pa.Table.from_pandas(pa.table({"x": values}).to_pandas(), preserve_index=False)


def _objects(values: pa.Array, _: Path) -> pa.Table:
    frame = pd.DataFrame({"x": pd.Series(values.to_pylist(), dtype=object)})
    return pa.Table.from_pandas(frame, preserve_index=False)


def _categories(values: pa.Array, _: Path) -> pa.Table:
    frame = pd.DataFrame({"x": pd.Categorical(values.to_pylist())})
    return pa.Table.from_pandas(frame, preserve_index=False)


ROUTES = {
    "table": _table,
    "built-in": _builtin,
    "dictionary": _dictionary,
    "run ends": _run_ends,
    "parquet": _parquet,
    "query": _query,
    "frame": _frame,
    "objects": _objects,
    "categories": _categories,
}
SMALL = st.integers(0, 100)
MOMENTS = st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0)
)
TYPES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.bool_(), st.booleans()),
    *[(kind, SMALL) for kind in (pa.int8(), pa.uint16(), pa.int32(), pa.uint64())],
    (pa.int64(), st.integers(1 - 2**53, 2**53 - 1)),  # with a null pandas has floats
    *[(kind, SMALL.map(float)) for kind in (pa.float16(), pa.float32(), pa.float64())],
    *[
        (kind, SMALL.map(lambda n: Decimal(n).quantize(Decimal("1.00"))))
        for kind in (pa.decimal32(9, 2), pa.decimal64(12, 2), pa.decimal128(12, 2))
    ],
    (pa.decimal256(40, 0), st.integers(-(10**39), 10**39).map(Decimal)),
    *[(kind, st.dates(date(1700, 1, 1))) for kind in (pa.date32(), pa.date64())],
    *[(pa.timestamp(unit), MOMENTS) for unit in ("s", "ms", "us", "ns")],
    (pa.timestamp("ms", "Europe/Berlin"), MOMENTS.map(lambda m: m.replace(tzinfo=UTC))),
]


def _expected(value: object) -> str | None:
    """Return what the documentation says of a value, by other means than the code."""
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case int() | float() | Decimal():
            return str(int(value))
        case date():
            return value.isoformat()
        case _:
            raise AssertionError(value)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("kind", "values"), TYPES, ids=[str(kind) for kind, _ in TYPES])
def test_a_typed_value_is_written_the_same_from_every_source(
    route: str, kind: pa.DataType, values: st.SearchStrategy[Any], tmp_path: Path
) -> None:
    if route in ("dictionary", "run ends") and kind == pa.float16():
        pytest.skip("Arrow has no such column")

    @settings(max_examples=10)
    @given(st.lists(st.none() | values, min_size=1, max_size=5).filter(any))
    def check(drawn: list[Any]) -> None:
        table = ROUTES[route](pa.array(drawn, kind), tmp_path)

        read = conform(table, {"x": WORDS}, source="x")["x"].to_pylist()

        assert read == [_expected(value) for value in drawn]

    check()


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
@pytest.mark.parametrize("encoded", [False, True])
@given(drawn=st.lists(st.sampled_from(["007", "True", "1.0", "+1", " a", "", "2024-01-05 00:00"])))
def test_text_is_itself_however_it_is_stored(
    kind: pa.DataType, encoded: bool, drawn: list[str]
) -> None:
    values = pa.array(drawn, kind)
    if encoded:
        indices = pa.array(range(len(drawn)), pa.int32())
        values = pa.DictionaryArray.from_arrays(indices, values)
    known = {"x": KnownWords(pa.array(["true", "1", "7", "2024-01-05"]))}

    read = conform(pa.table({"x": values}), {"x": WORDS}, source="x", known=known)["x"]

    assert read.to_pylist() == drawn


@given(
    st.one_of(
        st.booleans(),
        st.integers(-(2**53) + 1, 2**53 - 1),
        st.integers(-(2**53) + 1, 2**53 - 1).map(float),
        st.dates(),
        MOMENTS,
        MOMENTS.map(lambda moment: moment.replace(tzinfo=timezone(timedelta(hours=-5)))),
        st.uuids(),
    )
)
def test_a_value_alone_is_written_as_in_a_column(value: object) -> None:
    column = conform(pa.table({"x": pa.array([value])}), {"x": WORDS}, source="x")["x"]

    assert text_of(value) == column[0].as_py()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.bool_(True), "true"),
        (np.int8(7), "7"),
        (np.float32(2.0), "2"),
        (np.float32("nan"), None),
        (-0.0, "0"),
        (Decimal("-0.00"), "0"),
        (Decimal("2.50"), "2.50"),
        (Decimal("1E+28"), "1" + 28 * "0"),  # the arithmetic of `decimal` ends at 28 digits
        (Decimal(10**39 + 1), str(10**39 + 1)),
        (Decimal(f"{10**39 + 1}.00"), str(10**39 + 1)),
        (Decimal(f"{10**39 + 1}.5"), f"{10**39 + 1}.5"),
        (Decimal("1E+999999999"), "1E+999999999"),
        (Decimal("1E-999999999"), "1E-999999999"),
        (Decimal("sNaN"), None),
        (np.str_("007"), "007"),
        (np.datetime64("2024-01-05T00:00:00.000000001"), "2024-01-05T00:00:00"),
        (pd.Timestamp("2024-01-05", tz="Europe/Berlin"), "2024-01-04T23:00:00+00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
    ids=repr,
)
def test_values_of_numpy_and_pandas_are_written_as_pythons(value: object, text: str | None) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(
    "value",
    [b"a", [1], 10**5000, timedelta(1), np.timedelta64(1, "ns"), 1j],
    ids=lambda v: repr(v) if not isinstance(v, int) else "10**5000",
)
def test_what_has_no_one_text_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        text_of(value)


@pytest.mark.parametrize("column", [WORDS, HashColumn()])
def test_what_a_database_holds_as_numbers_is_written_as_from_a_file(
    column: Column, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "x.db")) as base:
        base.executescript(
            "CREATE TABLE t (whole REAL, broken REAL, word TEXT);"
            "INSERT INTO t VALUES (2.0, 0.5, '2.0'), (-0.0, 1.0, '007');"
        )
    source = SqlQuery(url="sqlite:///x.db", query="SELECT * FROM t")
    table = read_source(source, root=tmp_path, run_date=NIGHT)

    read = conform(table, dict.fromkeys(table.column_names, column), source="x")

    assert read.to_pydict() == {
        "whole": ["2", "0"],
        "broken": ["0.5", "1"],
        "word": ["2.0", "007"],
    }


@pytest.mark.parametrize(
    ("typed", "known", "read"),
    [
        (pa.array([True, False]), ["True", "False"], ["True", "False"]),
        (pa.array([True, False]), ["TRUE", "no"], ["TRUE", "false"]),
        (pa.array([True]), ["True", "TRUE"], ["true"]),
        (pa.array([True]), ["True", "true"], ["true"]),
        (pa.array([True, False]), ["1", "0", "yes", "t"], ["true", "false"]),
        (pa.array([1, 0]), ["True", "False", "true"], ["1", "0"]),
        (pa.array([1, 7, 10]), ["1.0", "007", "1e1"], ["1.0", "007", "1e1"]),
        (pa.array([1.0, None]), ["+1"], ["+1", None]),
        (pa.array([7]), ["07", "007"], ["7"]),
        (pa.array([7]), ["7", "007"], ["7"]),
        (pa.array([0.0]), ["-0"], ["-0"]),
        (pa.array([1]), ["1,0", "1 0", "one", "1e999999999", "0x1", "1e-1"], ["1"]),
        (pa.array([Decimal("3.00")]), ["3.000"], ["3.000"]),
        (pa.array([date(2024, 1, 5)]), ["2024-01-05 00:00:00"], ["2024-01-05 00:00:00"]),
        (pa.array([date(2024, 1, 5)]), ["2024-01-05T00:00:00Z"], ["2024-01-05"]),
        (pa.array([date(2024, 1, 5)]), ["05.01.2024", "20240105"], ["2024-01-05"]),
        (pa.array([datetime(2024, 1, 5)]), ["2024-01-05"], ["2024-01-05"]),
        (pa.array([datetime(2024, 1, 5, 3)]), ["2024-01-05"], ["2024-01-05T03:00:00"]),
        (pa.array([datetime(2024, 1, 5, 3)]), ["2024-01-05 03:00"], ["2024-01-05 03:00"]),
        (
            pa.array([datetime(2024, 1, 5, 3)], pa.timestamp("us", "UTC")),
            ["2024-01-05 04:00:00+01:00", "2024-01-05 03:00"],
            ["2024-01-05 04:00:00+01:00"],
        ),
        (pa.array([True, 1, 2.0, date(2024, 1, 5)][:1]), [], ["true"]),
    ],
    ids=str,
)
def test_a_typed_value_takes_the_only_other_spelling_that_is_known(
    typed: pa.Array, known: list[str], read: list[str | None]
) -> None:
    words = {"x": KnownWords(pa.array(known, pa.string()))}

    values = conform(pa.table({"x": typed}), {"x": WORDS}, source="x", known=words)["x"]

    assert values.to_pylist() == read


def test_typed_values_are_held_against_the_words_that_are_allowed() -> None:
    allowed = CategoryColumn(allowed=("True", "False"))
    typed, text = (pa.table({"x": [value] * 20, "y": ["a", "b"] * 10}) for value in (True, "true"))
    data = DataSettings.model_validate(
        {"source": {"kind": "builtin", "table": "car_evaluation"}, "target": "y", "task": "binary"}
    )

    assert conform(typed, {"x": allowed}, source="x")["x"][0].as_py() == "True"
    with pytest.raises(ContractError, match="hold 'true'; allowed are 'True', 'False'"):
        check_rows(text, {"x": allowed}, data, ValidationSettings(), source="x")


@pytest.mark.parametrize("declared", [("False", "True"), ("false", "true"), None])
def test_booleans_are_the_classes_that_are_declared(declared: tuple[str, ...] | None) -> None:
    data = DataSettings.model_validate(
        {
            "source": {"kind": "builtin", "table": "car_evaluation"},
            "target": "y",
            "task": "binary",
            "classes": declared,
            "key": ["id"],
        }
    )
    table = pa.table({"id": [1.0, 2.0] * 5 + [3.0], "y": [True, False] * 5 + [True]})
    loose = ValidationSettings.model_validate(
        {"unique_key": "warn", "min_rows": 3, "min_rows_per_class": 3}
    )

    rows = check_rows(table, {}, data, loose, source="x")

    assert set(rows["y"].to_pylist()) == set(declared or ("false", "true"))
    assert set(rows["id"].to_pylist()) == {"1", "2", "3"}
