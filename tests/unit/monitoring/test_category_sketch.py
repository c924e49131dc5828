"""What a profile counts of words, and estimates beyond its bound."""

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.columns import (
    CategoryColumn,
)
from pipeline_lib.data.hashing import hash_text
from pipeline_lib.monitoring import category_sketch as word_sketch
from pipeline_lib.monitoring.category_sketch import WordCounter
from pipeline_lib.monitoring.counts import PAGE_ROWS
from pipeline_lib.monitoring.profile import (
    CategoryProfile,
    expected_unseen,
)
from tests.unit.monitoring.profiles import category_profile, column_profile, profiled


@given(st.lists(st.none() | st.text(max_size=3)))
def test_counts_of_words_are_those_of_a_counter(words: list[str | None]) -> None:
    profile = category_profile(words)

    counts = Counter(word for word in words if word is not None)
    assert profile.n_null == words.count(None)
    assert profile.cardinality == len(counts)
    assert profile.rare == tuple(list(counts.values()).count(n) for n in range(1, 11))
    assert sum(profile.buckets) == counts.total()
    assert sorted(w.n_rows for w in profile.top) == sorted(counts.values())[-50:]
    assert {w.word: w.n_rows for w in profile.top}.items() <= counts.items()


def test_the_top_words_are_the_most_frequent_of_all_pages_not_of_each() -> None:
    # Given a word that is never frequent in a page, and others that are in one page only
    n_pages = 4
    steady = ["steady"] * 60
    pages = [
        steady + [f"{page} {i % 500}" for i in range(PAGE_ROWS - 60)] for page in range(n_pages)
    ]

    profile = category_profile([word for page in pages for word in page])

    top = {w.word: w.n_rows for w in profile.top}
    assert top["steady"] == 240
    assert min(top.values()) >= 130


def test_words_alike_in_their_first_40_letters_are_counted_apart() -> None:
    long = "a" * 500

    profile = category_profile([long + "b", long + "c", long + "c", long])

    assert profile.cardinality == 3
    assert {w.word for w in profile.top} == {"a" * 40}
    assert [w.n_rows for w in profile.top] == [2, 1, 1]


@given(st.lists(st.text(max_size=300), unique=True))
def test_different_words_have_different_hashes_wherever_their_array_begins(
    words: list[str],
) -> None:
    whole = hash_text(pa.array(words, pa.string()))
    moved = hash_text(pa.array(["x", *words], pa.string()).slice(1))

    assert whole.tolist() == moved.tolist()
    assert len(set(whole.tolist())) == len(words)


def test_a_hash_is_the_same_in_another_process_with_another_hash_seed() -> None:
    code = (
        "import pyarrow as pa; from pipeline_lib.data.hashing import hash_text; "
        "print(hash_text(pa.array(['', 'a', 'ärger', 'x' * 999])).tolist())"
    )

    there = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=900
    )

    here = hash_text(pa.array(["", "a", "ärger", "x" * 999])).tolist()
    assert json.loads(there.stdout) == here


def test_buckets_are_filled_evenly_by_words_that_differ_in_one_digit() -> None:
    from scipy.stats import chisquare

    profile = category_profile([f"customer {i:07d}" for i in range(50_000)])

    assert chisquare(profile.buckets).pvalue > 0.001


def test_above_the_bound_the_number_of_words_is_a_near_estimate_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(word_sketch, "MAX_WORDS", 20_000)
    words = [f"word {i}" for i in range(200_000)] + ["often"] * 5000
    counter = WordCounter(None)

    array = pa.array(words)
    for start in range(0, len(array), PAGE_ROWS):
        counter.add_page(array.slice(start, PAGE_ROWS))

    assert counter.is_estimate
    assert abs(counter.cardinality - 200_001) < 0.05 * 200_001
    assert abs(counter.rare()[0] - 200_000) < 0.05 * 200_000
    assert (counter.top()[0].word, counter.top()[0].n_rows) == ("often", 5000)
    assert counter.buckets.sum() == len(words)


def test_rows_with_words_unknown_to_the_champion_are_counted_exactly() -> None:
    table = pa.table({"x": pa.array(["a", "new", None, "b", "new", "newer"])})

    profile = profiled(table, {"x": CategoryColumn()}, known={"x": pa.array(["a", "b", "c"])})

    column = profile.columns["x"]
    assert isinstance(column, CategoryProfile)
    assert column.unseen is not None
    assert (column.unseen.n_rows, column.unseen.examples) == (3, ("new", "newer"))


def test_nothing_known_makes_every_row_unseen() -> None:
    known = {"x": pa.array([], pa.string())}
    profile = profiled(pa.table({"x": ["a", "b"]}), {"x": CategoryColumn()}, known=known)

    column = profile.columns["x"]
    assert isinstance(column, CategoryProfile)
    assert column.unseen is not None
    assert column.unseen.n_rows == 2


def test_the_expected_share_of_unseen_words_is_the_one_that_comes() -> None:
    random = np.random.default_rng(3)
    weights = 1 / np.arange(1, 50_001) ** 1.1
    drawn = random.choice(50_000, 60_000, p=weights / weights.sum())
    first, then = drawn[:20_000], drawn[20_000:]

    expected = expected_unseen(category_profile(first.astype(str)))

    observed = float(np.mean(~np.isin(then, first)))
    assert abs(expected - observed) < 0.1 * observed


def test_words_left_out_of_the_vocabulary_for_being_rare_are_expected_to_come_again() -> None:
    # Given a vocabulary of the words with at least 3 rows
    random = np.random.default_rng(4)
    weights = 1 / np.arange(1, 50_001) ** 1.1
    drawn = random.choice(50_000, 60_000, p=weights / weights.sum())
    first, then = drawn[:20_000], drawn[20_000:]
    words, counts = np.unique(first, return_counts=True)
    kept = words[counts >= 3]

    table = pa.table({"x": pa.array(first.astype(str))})
    known = {"x": pa.array(kept.astype(str))}
    column = profiled(table, {"x": CategoryColumn()}, known=known).columns["x"]

    assert isinstance(column, CategoryProfile)
    observed = float(np.mean(~np.isin(then, kept)))
    assert abs(expected_unseen(column) - observed) < 0.1 * observed


def test_a_boolean_is_counted_as_its_two_words() -> None:
    profile = column_profile([True, False, None, True], "boolean")

    assert isinstance(profile, CategoryProfile)
    assert [(w.word, w.n_rows) for w in profile.top] == [("true", 2), ("false", 1)]
