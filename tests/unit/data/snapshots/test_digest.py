"""What rows are known by: their content, and nothing of how it is stored."""

import itertools
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.data.snapshots import digest as content
from pipeline_lib.data.snapshots.digest import ContentDigest
from tests.unit.data.in_memory import content_digest

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


tables = st.lists(
    st.tuples(st.none() | st.text(max_size=3), st.none() | st.integers(-5, 5)), max_size=30
).map(
    lambda rows: pa.table(
        {
            "word": pa.array([word for word, _ in rows], pa.string()),
            "size": pa.array([size for _, size in rows], pa.int64()),
        }
    )
)
cuts = st.lists(st.integers(0, 30), max_size=6).map(sorted)


def _batches(table: pa.Table, cuts: list[int]) -> list[pa.Table]:
    bounds = [0, *(min(cut, table.num_rows) for cut in cuts), table.num_rows]
    return [table.slice(start, stop - start) for start, stop in itertools.pairwise(bounds)]


@pytest.mark.parametrize("block_rows", [1, 4, 7])
@given(tables, cuts, cuts)
def test_where_batches_end_does_not_count(
    block_rows: int, table: pa.Table, one: list[int], other: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "_BLOCK_ROWS", block_rows)
        digests: set[str] = set()
        for bounds in (one, other):
            digest = ContentDigest(table.schema)
            for batch in _batches(table, bounds):
                digest.add(batch)
            digests.add(digest.finish())

        assert digests == {content_digest(table)}


@pytest.mark.parametrize("block_rows", [1, 4, 7])
@given(tables, cuts, st.integers(0, 32))
def test_the_prefix_has_the_digest_of_its_rows_alone(
    block_rows: int, table: pa.Table, bounds: list[int], prefix_rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "_BLOCK_ROWS", block_rows)
        digest = ContentDigest(table.schema, prefix_rows=prefix_rows)
        for batch in _batches(table, bounds):
            digest.add(batch)
        whole = digest.finish()

        # No rows are the beginning of any table; more rows than there are, of none.
        is_there = 0 < prefix_rows <= table.num_rows
        assert digest.prefix == (content_digest(table.slice(0, prefix_rows)) if is_there else None)
        assert whole == content_digest(table)


@given(tables, tables)
def test_tables_with_one_digest_have_equal_rows(one: pa.Table, other: pa.Table) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "_BLOCK_ROWS", 4)

        assert (content_digest(one) == content_digest(other)) is one.equals(other)


def test_bytes_that_look_like_the_text_of_other_bytes_have_a_digest_of_their_own() -> None:
    odd, alike = pa.array([b"\xff"]), pa.array([rb"b'\xff'"])

    assert content_digest(pa.table({"x": odd})) != content_digest(pa.table({"x": alike}))


def test_a_table_without_rows_has_a_digest_that_its_columns_decide() -> None:
    empty = pa.table({"a": pa.array([], pa.string())})

    assert content_digest(empty) == content_digest(pa.table({"a": pa.array([], pa.string())}))
    assert content_digest(empty) != content_digest(pa.table({"b": pa.array([], pa.string())}))
    assert content_digest(empty) != content_digest(pa.table({"a": pa.array([], pa.int8())}))


def test_memory_for_the_digest_is_bounded_by_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_BLOCK_ROWS", 64)
    digest = ContentDigest(pa.schema([("x", pa.int64())]))

    before, most = pa.total_allocated_bytes(), 0
    for start in range(0, 20_000, 10):
        digest.add(pa.table({"x": pa.array(range(start, start + 10), pa.int64())}))
        most = max(most, pa.total_allocated_bytes() - before)

    # Each small array takes 64 bytes or 128; 20,000 numbers would take 160,000.
    assert most < 20_000
