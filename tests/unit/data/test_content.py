"""What rows are known by: their content, and nothing of how it is stored."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.data.content import content_digest

words = st.lists(st.none() | st.text(max_size=5), min_size=1, max_size=12)


def _one_column(values: list[Any], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"x": pa.array(values, kind)})


@given(words, st.data())
def test_the_digest_does_not_depend_on_chunks_slices_or_dictionaries(
    values: list[str | None], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(values)))
    whole = pa.array(values, pa.string())
    padded = pa.array(["before", None, *values, "after"], pa.string())
    ways = [
        pa.chunked_array([whole[:cut], whole[cut:]]),
        pa.chunked_array([padded[2:-1]]),
        pa.chunked_array([whole.dictionary_encode()]),
        pa.chunked_array([whole[:cut].dictionary_encode(), whole[cut:].dictionary_encode()]),
        pa.chunked_array([whole.cast(pa.large_string())]),
        pa.chunked_array([], pa.string()) if not values else pa.chunked_array([whole]),
    ]

    digests = {content_digest(pa.table({"x": way})) for way in ways}

    assert digests == {content_digest(pa.table({"x": whole}))}


@given(words, words)
def test_two_columns_have_one_digest_only_if_they_are_equal(
    one: list[str | None], other: list[str | None]
) -> None:
    assume(one != other)

    a = content_digest(_one_column(one, pa.string()))

    assert a != content_digest(_one_column(other, pa.string()))


@given(
    st.lists(st.none() | st.integers(-128, 127), min_size=1, max_size=20),
    st.integers(-128, 127),
)
def test_what_stands_behind_a_null_does_not_count(values: list[int | None], behind: int) -> None:
    table = _one_column(values, pa.int8())
    array = table["x"].chunk(0)
    data = bytes((behind if v is None else v) & 0xFF for v in values)
    dirty = pa.Array.from_buffers(
        pa.int8(), len(values), [array.buffers()[0], pa.py_buffer(data)], array.null_count
    )

    assert dirty.to_pylist() == values
    assert content_digest(pa.table({"x": dirty})) == content_digest(table)


def test_text_behind_a_null_does_not_count() -> None:
    clean = pa.array(["a", None, "c"])
    offsets = pa.py_buffer(bytes(bytearray().join(n.to_bytes(4, "little") for n in (0, 1, 5, 6))))
    dirty = pa.Array.from_buffers(
        pa.string(), 3, [clean.buffers()[0], offsets, pa.py_buffer(b"axxxxc")], 1
    )

    assert dirty.to_pylist() == ["a", None, "c"]
    assert content_digest(pa.table({"x": dirty})) == content_digest(pa.table({"x": clean}))


@pytest.mark.parametrize(
    "other",
    [
        pa.table({"a": ["x", "y"], "b": [1, 3]}),
        pa.table({"a": ["x", None], "b": [1, 2]}),
        pa.table({"a": ["x", "y"], "b": [2, 1]}),
        pa.table({"a": ["y", "x"], "b": [2, 1]}),
        pa.table({"b": [1, 2], "a": ["x", "y"]}),
        pa.table({"a": ["x", "y"], "c": [1, 2]}),
        pa.table({"a": ["x", "y"], "b": pa.array([1, 2], pa.int32())}),
        pa.table({"a": ["x", "y"], "b": ["1", "2"]}),
        pa.table({"a": ["x", "y"], "b": [1.0, 2.0]}),
        pa.table({"a": ["x", "y", "x"], "b": [1, 2, 1]}),
        pa.table({"a": ["xy", ""], "b": [1, 2]}),
        pa.table({"a": ["x", "y"]}),
    ],
    ids=[
        "value",
        "null",
        "values swapped",
        "rows swapped",
        "columns swapped",
        "name",
        "narrower type",
        "text for numbers",
        "floats for integers",
        "one more row",
        "letters in another row",
        "one column less",
    ],
)
def test_any_change_of_content_changes_the_digest(other: pa.Table) -> None:
    table = pa.table({"a": ["x", "y"], "b": [1, 2]})

    assert content_digest(other) != content_digest(table)


@pytest.mark.parametrize("row", [0, 65_535, 65_536, 99_999])
def test_one_value_among_a_hundred_thousand_changes_the_digest(row: int) -> None:
    values = [str(i % 7) for i in range(100_000)]
    before = content_digest(_one_column(values))
    values[row] = "other"

    assert content_digest(_one_column(values)) != before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([True]), pa.array([False])),
        (pa.array([Decimal("1.25")]), pa.array([Decimal("1.35")])),
        (pa.array([1], pa.timestamp("us", "UTC")), pa.array([2], pa.timestamp("us", "UTC"))),
        (pa.array([1], pa.date32()), pa.array([2], pa.date32())),
        (pa.array([1], pa.time64("us")), pa.array([2], pa.time64("us"))),
        (pa.array([1], pa.duration("s")), pa.array([2], pa.duration("s"))),
        (pa.array([b"\xff"]), pa.array([b"\xfe"])),
        (pa.array([[1.0]]), pa.array([[2.0]])),
        (pa.array([{"a": 1}]), pa.array([{"a": 2}])),
        (pa.array([None], pa.null()), pa.array([None], pa.string())),
        (pa.array([1.5], pa.float16()), pa.array([2.5], pa.float16())),
    ],
    ids=lambda array: str(array.type),
)
def test_a_column_of_any_arrow_type_has_a_digest_that_its_values_decide(
    one: pa.Array, other: pa.Array
) -> None:
    digest = content_digest(pa.table({"x": one}))

    assert digest == content_digest(pa.table({"x": pa.chunked_array([one])}))
    assert digest != content_digest(pa.table({"x": other}))


def test_the_index_that_pandas_hangs_on_a_table_does_not_count() -> None:
    table = car_evaluation()

    from_pandas = pa.Table.from_pandas(table.to_pandas())

    assert content_digest(from_pandas) == content_digest(table)
