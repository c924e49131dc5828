"""A word keeps its code, and every word has its own."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.encoding import MISSING, UNSEEN, Vocabulary
from pipeline_lib.errors import UnknownCategoryError

TRICKY = [
    "nan",
    "None",
    "null",
    "",
    " ",
    "a",
    "a ",
    " a",
    "A",
    "é",
    "e\u0301",
    "👍",
    "👍🏽",
    "0",
    "00",
]
words = st.text(max_size=6) | st.sampled_from(TRICKY)
columns = st.lists(st.none() | words, max_size=40)


def _column(values: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


def _fit(values: list[str | None], earlier: Vocabulary | None = None, **how: int) -> Vocabulary:
    return (earlier or Vocabulary("safety")).fit(_column(values), today="2026-01-01", **how)


def test_unseen_is_0_missing_is_1_and_categories_are_2_and_up_in_sorted_order() -> None:
    vocabulary = _fit(["med", "low", None, "high", "low"])

    codes = vocabulary.encode(_column(["high", "low", "med", None, "none"]))

    assert (UNSEEN, MISSING) == (0, 1)
    assert codes.tolist() == [2, 3, 4, 1, 0]
    assert codes.dtype == np.int32
    assert vocabulary.cardinality == 5
    assert (vocabulary.counts.tolist(), vocabulary.n_missing) == ([1, 2, 1], 1)


@given(columns)
def test_what_was_encoded_decodes_to_itself(values: list[str | None]) -> None:
    vocabulary = _fit(values)

    codes = vocabulary.encode(_column(values))

    assert vocabulary.decode(codes.tolist()) == values
    assert not (codes == UNSEEN).any()
    assert (codes < vocabulary.cardinality).all()


def test_words_that_look_alike_have_codes_of_their_own() -> None:
    vocabulary = _fit([*TRICKY, None])

    codes = vocabulary.encode(_column([*TRICKY, None])).tolist()

    assert len(set(codes)) == len(TRICKY) + 1
    assert codes[-1] == MISSING


@given(st.lists(columns, min_size=2, max_size=4))
def test_a_code_never_changes_its_meaning_on_later_nights(
    nights: list[list[str | None]],
) -> None:
    vocabulary = Vocabulary("safety")

    for night in nights:
        grown = _fit(night, vocabulary)
        before, now = vocabulary.categories.to_pylist(), grown.categories.to_pylist()
        assert now[: len(before)] == before
        assert len(set(now)) == len(now)
        assert set(now) >= {word for word in night if word is not None}
        vocabulary = grown


def test_new_categories_are_dated_and_old_ones_keep_their_date() -> None:
    first = Vocabulary("safety").fit(_column(["low"]), today="2026-01-01")

    second = first.fit(_column(["high", "high", "low"]), today="2026-01-02")

    assert second.categories.to_pylist() == ["low", "high"]
    assert second.first_seen.astype(str).tolist() == ["2026-01-01", "2026-01-02"]
    assert second.counts.tolist() == [1, 2]


def test_a_category_without_rows_tonight_keeps_its_code_and_counts_zero() -> None:
    first = _fit(["high", "low", None])

    second = _fit(["low", "low"], first)

    assert second.categories.to_pylist() == ["high", "low"]
    assert (second.counts.tolist(), second.n_missing) == ([0, 2], 0)


def test_a_category_below_min_count_gets_no_code_until_it_has_enough_rows() -> None:
    first = _fit(["low", "low", "rare"], min_count=2)
    second = _fit(["rare", "rare"], first, min_count=2)

    assert first.categories.to_pylist() == ["low"]
    assert first.encode(_column(["rare"])).tolist() == [UNSEEN]
    assert second.categories.to_pylist() == ["low", "rare"]


def test_a_category_that_falls_below_min_count_is_unseen_until_it_has_enough_rows_again() -> None:
    first = _fit(["low", "low"], min_count=2)

    second = _fit(["low", "high", "high"], first, min_count=2)
    third = _fit(["low", "low", "high", "high"], second, min_count=2)

    rows = _column(["low", "high"])
    assert first.encode(rows).tolist() == [2, UNSEEN]
    assert second.encode(rows).tolist() == [UNSEEN, 3]
    assert third.encode(rows).tolist() == [2, 3]


def test_an_unseen_category_is_reported_by_name_column_and_row_count() -> None:
    vocabulary = _fit(["high", "low", "med"])

    with pytest.raises(UnknownCategoryError) as raised:
        vocabulary.encode(_column(["none", "low", "none"]), on_unknown="error")

    assert str(raised.value) == (
        "column 'safety' has 1 category unseen in training: 'none' (2 rows). "
        "Known: 'high', 'low', 'med'. "
        "Fix the source, or set `on_unknown: bucket` for this column."
    )
    assert (raised.value.column, raised.value.unknown, raised.value.n_rows) == (
        "safety",
        ("none",),
        2,
    )
    assert raised.value.exit_code == 3


def test_ten_thousand_unseen_categories_make_a_message_of_five() -> None:
    vocabulary = _fit([f"known {i}" for i in range(10_000)])
    unseen = [f"new {i}" for i in range(10_000)]

    with pytest.raises(UnknownCategoryError) as raised:
        vocabulary.encode(_column([*unseen]), on_unknown="error")

    assert len(str(raised.value)) < 500
    assert "10000 categories unseen" in str(raised.value)
    assert len(raised.value.unknown) == 10_000


def test_a_null_is_no_unseen_category() -> None:
    vocabulary = _fit(["high"])

    codes = vocabulary.encode(_column([None, "high"]), on_unknown="error")

    assert codes.tolist() == [MISSING, 2]


@given(columns, st.data())
def test_codes_do_not_depend_on_chunks(values: list[str | None], data: st.DataObject) -> None:
    vocabulary = _fit(["a", "é", None, "nan"])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=5)))
    bounds = zip([0, *cuts], [*cuts, len(values)], strict=True)
    array = pa.array(values, pa.string())
    chunked = pa.chunked_array([array[start:stop] for start, stop in bounds])

    codes = vocabulary.encode(chunked)

    assert codes.tolist() == vocabulary.encode(_column(values)).tolist()


def test_a_vocabulary_of_nothing_encodes_everything_as_unseen_or_missing() -> None:
    vocabulary = _fit([])

    assert vocabulary.cardinality == 2
    assert vocabulary.encode(_column(["a", None])).tolist() == [UNSEEN, MISSING]
    assert vocabulary.encode(pa.chunked_array([], pa.string())).tolist() == []
