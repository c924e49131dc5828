"""What becomes of categories over nights: frequent enough or rare, silent, back, one too many."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.columns import CategoryColumn, Column
from pipeline_lib.data.contract.declared import conform
from pipeline_lib.encoding import MISSING, N_RESERVED, UNSEEN, Vocabulary
from pipeline_lib.errors import UnknownCategoryError

ALIKE = [
    "nan",
    "NaN",
    "",
    "None",
    "null",
    "NULL",
    " ",
    "\t",
    "\u00a0",
    "é",
    "e\u0301",
    "👍",
    "👍🏽",
]
words = st.sampled_from(list("abcdefg")) | st.sampled_from(ALIKE)
columns = st.lists(st.none() | words, max_size=25)


@dataclass(frozen=True)
class Settings:
    """How a night is fitted."""

    min_count: int = 1
    max_size: int | None = None


nights = st.lists(
    st.tuples(columns, st.builds(Settings, st.integers(1, 4), st.none() | st.integers(1, 6))),
    min_size=1,
    max_size=5,
)


def _column(values: list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


def _fit(
    values: list[str | None], earlier: Vocabulary | None = None, *, day: int = 1, **how: int
) -> Vocabulary:
    vocabulary = earlier or Vocabulary("safety")
    return vocabulary.fit(_column(values), today=f"2026-01-{day:02}", **how)


def _lived(lived: list[tuple[list[str | None], Settings]]) -> list[Vocabulary]:
    vocabulary, all_nights = Vocabulary("safety"), list[Vocabulary]()
    for day, (values, how) in enumerate(lived, start=1):
        vocabulary = vocabulary.fit(
            _column(values),
            today=f"2026-01-{day:02}",
            min_count=how.min_count,
            max_size=how.max_size,
        )
        all_nights.append(vocabulary)
    return all_nights


@given(nights)
def test_a_vocabulary_only_grows_at_its_end(lived: list[tuple[list[str | None], Settings]]) -> None:
    known: list[str] = []

    for vocabulary in _lived(lived):
        now = vocabulary.categories.to_pylist()
        assert now[: len(known)] == known
        assert len(set(now)) == len(now)
        known = now


@given(nights)
def test_states_and_counts_are_those_of_the_last_nights_training_rows(
    lived: list[tuple[list[str | None], Settings]],
) -> None:
    vocabulary = _lived(lived)[-1]

    values, how = lived[-1]
    counts = Counter(values)
    known = vocabulary.categories.to_pylist()
    assert vocabulary.counts.tolist() == [counts[word] for word in known]
    assert vocabulary.n_missing == counts[None]
    assert vocabulary.states() == [
        "retired" if not counts[w] else "rare" if counts[w] < how.min_count else "active"
        for w in known
    ]


@given(nights)
def test_a_category_without_enough_rows_is_unseen_and_any_other_keeps_its_own_code(
    lived: list[tuple[list[str | None], Settings]],
) -> None:
    vocabulary = _lived(lived)[-1]
    asked: list[str | None] = [*vocabulary.categories.to_pylist(), "never there", None]

    codes = vocabulary.encode(_column(asked)).tolist()

    of_words = [
        UNSEEN if state == "rare" else position + N_RESERVED
        for position, state in enumerate(vocabulary.states())
    ]
    assert codes == [*of_words, UNSEEN, MISSING]


@given(nights)
def test_days_say_when_training_rows_first_and_last_held_a_category(
    lived: list[tuple[list[str | None], Settings]],
) -> None:
    all_nights = _lived(lived)

    last = all_nights[-1]
    for position, word in enumerate(last.categories.to_pylist()):
        coded = [len(night.categories) > position for night in all_nights].index(True)
        held = [day for day, (values, _) in enumerate(lived) if day >= coded and word in values]
        assert str(last.first_seen[position]) == f"2026-01-{coded + 1:02}"
        assert str(last.last_seen[position]) == f"2026-01-{held[-1] + 1:02}"


@given(nights, st.lists(st.text(max_size=2) | words, unique=True))
def test_the_codes_of_many_words_are_those_of_encoding_them(
    lived: list[tuple[list[str | None], Settings]], asked: list[str]
) -> None:
    vocabulary = _lived(lived)[-1]

    codes = vocabulary.codes_of(pa.array(asked, pa.string()))

    assert codes.dtype == np.int32
    assert codes.tolist() == vocabulary.encode(_column([*asked])).tolist()


@given(nights)
def test_every_code_is_decoded(lived: list[tuple[list[str | None], Settings]]) -> None:
    vocabulary = _lived(lived)[-1]

    decoded = vocabulary.decode(range(vocabulary.cardinality))

    assert decoded == [None, None, *vocabulary.categories.to_pylist()]


@given(st.lists(st.tuples(columns, st.integers(1, 6)), min_size=1, max_size=5))
def test_there_are_never_more_categories_than_max_size_or_than_there_were(
    lived: list[tuple[list[str | None], int]],
) -> None:
    vocabulary = Vocabulary("safety")

    for values, max_size in lived:
        before = len(vocabulary.categories)
        vocabulary = _fit(values, vocabulary, max_size=max_size)
        assert len(vocabulary.categories) <= max(before, max_size)


@given(columns, columns, st.integers(1, 8), st.integers(1, 3))
def test_the_most_frequent_words_get_the_room_that_is_left_ties_by_word(
    first: list[str | None], second: list[str | None], max_size: int, min_count: int
) -> None:
    earlier = _fit(first, max_size=3)
    known = earlier.categories.to_pylist()

    grown = _fit(second, earlier, max_size=max_size, min_count=min_count)

    counts = Counter(w for w in second if w is not None and w not in known)
    enough = [word for word, n in counts.items() if n >= min_count]
    # Arrow orders words by their bytes, as Python orders them by their UTF-8.
    by_rank = sorted(enough, key=lambda word: (-counts[word], word.encode()))
    chosen = by_rank[: max(0, max_size - len(known))]
    expected = [*known, *sorted(chosen, key=str.encode)]
    assert grown.categories.to_pylist() == expected


def test_a_word_beyond_max_size_is_unseen_until_there_is_room() -> None:
    rows: list[str | None] = ["a", "a", "b", "b", "c"]
    first = _fit(rows, max_size=2)
    second = _fit(rows, first, max_size=3)

    assert first.encode(_column(["c"])).tolist() == [UNSEEN]
    assert second.encode(_column(["a", "b", "c"])).tolist() == [2, 3, 4]


def test_a_retired_category_keeps_its_code_and_takes_up_its_old_place_when_it_is_back() -> None:
    first = _fit(["a", "b"], day=1)
    second = _fit(["b", "c"], first, day=2)
    third = _fit(["a", "c"], second, day=3)

    assert second.states() == ["retired", "active", "active"]
    assert second.encode(_column(["a"])).tolist() == [2]
    assert third.states() == ["active", "retired", "active"]
    assert third.first_seen.astype(str).tolist() == ["2026-01-01", "2026-01-01", "2026-01-02"]
    assert third.last_seen.astype(str).tolist() == ["2026-01-03", "2026-01-02", "2026-01-03"]


@given(st.lists(st.none() | words | st.text(max_size=4), max_size=30))
def test_what_looks_alike_is_told_apart_and_comes_back_as_it_was(values: list[str | None]) -> None:
    vocabulary = _fit([*values, *ALIKE])

    codes = vocabulary.encode(_column([*values, *ALIKE])).tolist()

    assert vocabulary.decode(codes) == [*values, *ALIKE]
    assert len(set(codes[len(values) :])) == len(ALIKE)


def test_a_frames_own_category_codes_mean_nothing() -> None:
    columns: dict[str, Column] = {"safety": CategoryColumn(nullable=True)}
    vocabulary = _fit(["high", "low", "med"])
    orders = [["low", "med", "high"], ["high", "low", "med"], ["unused", "med", "low", "high"]]

    encoded = [
        vocabulary.encode(
            conform(
                pa.Table.from_pandas(
                    pd.DataFrame(
                        {"safety": pd.Categorical(["med", None, "high"], categories=order)}
                    )
                ),
                columns,
                source="the frame",
            )["safety"]
        ).tolist()
        for order in orders
    ]

    assert encoded == [[4, MISSING, 2]] * 3


def test_a_retired_category_is_no_unknown_one_but_one_beyond_max_size_is() -> None:
    vocabulary = _fit(["b", "b", "c"], _fit(["a"]), max_size=2)

    assert vocabulary.encode(_column(["a"]), on_unknown="error").tolist() == [2]
    with pytest.raises(UnknownCategoryError, match=r"1 category unseen in training: 'c' \(3 rows"):
        vocabulary.encode(_column(["c", "a", "c", "c"]), on_unknown="error")


def test_a_vocabulary_of_nothing_but_nulls_has_the_reserved_codes_alone() -> None:
    vocabulary = _fit([None, None])

    assert (vocabulary.cardinality, vocabulary.n_missing, vocabulary.states()) == (2, 2, [])
    assert vocabulary.codes_of(pa.array(["a"])).tolist() == [UNSEEN]


def test_ten_thousand_rows_of_one_word_and_ten_thousand_words_are_counted_exactly() -> None:
    vocabulary = _fit(["often"] * 10_000 + [f"{i:05}" for i in range(10_000)])

    assert vocabulary.counts.tolist() == [*[1] * 10_000, 10_000]
    assert vocabulary.categories[-1].as_py() == "often"
