"""A profile says what the rows are, whatever their number, their batches or their words."""

import itertools
import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.columns import (
    BooleanColumn,
    CategoryColumn,
    Column,
    DatetimeColumn,
    NumberColumn,
)
from pipeline_lib.data.hashing import hash_text
from pipeline_lib.errors import StorageError
from pipeline_lib.monitoring import category_sketch as word_sketch
from pipeline_lib.monitoring.category_sketch import WordCounter
from pipeline_lib.monitoring.counts import PAGE_ROWS
from pipeline_lib.monitoring.design_effect import BlockNoise
from pipeline_lib.monitoring.number_sketch import NumberCounter, keys_of, numbers_of
from pipeline_lib.monitoring.profile import (
    QUANTILES,
    CategoryProfile,
    ColumnProfile,
    NumberProfile,
    Profile,
    Profiler,
    expected_unseen,
)

KINDS: dict[str, tuple[Column, pa.DataType]] = {
    "category": (CategoryColumn(), pa.string()),
    "number": (NumberColumn(), pa.float64()),
    "boolean": (BooleanColumn(), pa.bool_()),
    "datetime": (DatetimeColumn(), pa.timestamp("us")),
}


def _profile(
    table: pa.Table,
    columns: dict[str, Column],
    *,
    borders: Sequence[int] = (),
    time: str | None = None,
    known: dict[str, pa.Array] | None = None,
) -> Profile:
    table = table.append_column("the target", pa.array([0.0] * len(table), pa.float64()))
    profiler = Profiler(columns, target="the target", task="regression", time=time, known=known)
    edges = [0, *sorted(borders), len(table)]
    for start, end in itertools.pairwise(edges):
        profiler.add(table.slice(start, end - start))
    return profiler.finish()


def _of(values: Sequence[object] | np.ndarray, kind: str = "category") -> ColumnProfile:
    column, arrow_type = KINDS[kind]
    return _profile(pa.table({"x": pa.array(values, arrow_type)}), {"x": column}).columns["x"]


def _words(values: Sequence[object] | np.ndarray) -> CategoryProfile:
    profile = _of(values)
    assert isinstance(profile, CategoryProfile)
    return profile


def _numbers(values: Sequence[object] | np.ndarray) -> NumberProfile:
    profile = _of(values, "number")
    assert isinstance(profile, NumberProfile)
    return profile


# Words


@given(st.lists(st.none() | st.text(max_size=3)))
def test_counts_of_words_are_those_of_a_counter(words: list[str | None]) -> None:
    profile = _words(words)

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

    profile = _words([word for page in pages for word in page])

    top = {w.word: w.n_rows for w in profile.top}
    assert top["steady"] == 240
    assert min(top.values()) >= 130


def test_words_alike_in_their_first_40_letters_are_counted_apart() -> None:
    long = "a" * 500

    profile = _words([long + "b", long + "c", long + "c", long])

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

    profile = _words([f"customer {i:07d}" for i in range(50_000)])

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

    profile = _profile(table, {"x": CategoryColumn()}, known={"x": pa.array(["a", "b", "c"])})

    column = profile.columns["x"]
    assert isinstance(column, CategoryProfile)
    assert column.unseen is not None
    assert (column.unseen.n_rows, column.unseen.examples) == (3, ("new", "newer"))


def test_nothing_known_makes_every_row_unseen() -> None:
    known = {"x": pa.array([], pa.string())}
    profile = _profile(pa.table({"x": ["a", "b"]}), {"x": CategoryColumn()}, known=known)

    column = profile.columns["x"]
    assert isinstance(column, CategoryProfile)
    assert column.unseen is not None
    assert column.unseen.n_rows == 2


def test_the_expected_share_of_unseen_words_is_the_one_that_comes() -> None:
    random = np.random.default_rng(3)
    weights = 1 / np.arange(1, 50_001) ** 1.1
    drawn = random.choice(50_000, 60_000, p=weights / weights.sum())
    first, then = drawn[:20_000], drawn[20_000:]

    expected = expected_unseen(_words(first.astype(str)))

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
    column = _profile(table, {"x": CategoryColumn()}, known=known).columns["x"]

    assert isinstance(column, CategoryProfile)
    observed = float(np.mean(~np.isin(then, kept)))
    assert abs(expected_unseen(column) - observed) < 0.1 * observed


def test_a_boolean_is_counted_as_its_two_words() -> None:
    profile = _of([True, False, None, True], "boolean")

    assert isinstance(profile, CategoryProfile)
    assert [(w.word, w.n_rows) for w in profile.top] == [("true", 2), ("false", 1)]


# Numbers


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1))
def test_leaves_count_exactly_what_lies_in_them(numbers: list[float]) -> None:
    counter = NumberCounter()
    held = np.array(numbers)
    counter.add_page(held, np.ones(len(held), np.bool_))

    leaves = counter.leaves()

    low, high = leaves.bounds()
    inside = [
        int(np.sum((held >= a) & (held <= b)))
        for a, b in zip(numbers_of(low), numbers_of(high), strict=True)
    ]
    assert inside == list(leaves.counts)
    assert sum(inside) == len(numbers)


@given(st.lists(st.floats(allow_nan=False), min_size=2))
def test_sort_keys_are_in_the_order_of_the_numbers_and_lead_back(numbers: list[float]) -> None:
    held = np.array(numbers)

    keys = keys_of(held)

    assert (numbers_of(keys) == held).all()
    assert (held[np.argsort(keys)] == np.sort(held)).all()


@pytest.mark.parametrize(
    "draw",
    [
        lambda r: r.normal(size=200_000),
        lambda r: 1e6 + 1e-3 * r.normal(size=200_000),
        lambda r: r.standard_cauchy(200_000),
        lambda r: np.where(r.random(200_000) < 0.7, 0.0, r.gamma(0.3, size=200_000)),
        lambda r: np.round(10 * r.normal(size=200_000)),
    ],
    ids=["normal", "far from zero", "heavy tails", "many zeros", "whole numbers"],
)
def test_quantiles_and_moments_are_near_those_of_numpy(draw) -> None:
    numbers = draw(np.random.default_rng(0))

    profile = _numbers(numbers)

    ranks = [float(np.mean(numbers <= q)) for q in profile.quantiles]
    below = [float(np.mean(numbers < q)) for q in profile.quantiles]
    for share, low, high in zip(QUANTILES, below, ranks, strict=True):
        assert low - 0.002 <= share <= high + 0.002
    assert (profile.minimum, profile.maximum) == (numbers.min(), numbers.max())
    assert math.isclose(profile.mean or 0, numbers.mean(), rel_tol=1e-9, abs_tol=1e-9)
    assert math.isclose(profile.deviation or 0, numbers.std(), rel_tol=1e-6)
    assert max(profile.leaves.counts) <= max(0.005 * 200_000, Counter(numbers).most_common(1)[0][1])


def test_the_order_of_rows_changes_no_leaf() -> None:
    numbers = np.random.default_rng(0).normal(size=150_000)

    assert _numbers(numbers).leaves == _numbers(np.sort(numbers)[::-1]).leaves


def test_nan_and_infinities_count_as_nulls() -> None:
    profile = _numbers([1.0, math.nan, math.inf, None, 2.0])

    assert (profile.n_rows, profile.n_null, profile.mean) == (5, 3, 1.5)


def test_numbers_whose_sum_no_double_holds_have_no_mean_but_a_profile() -> None:
    profile = _numbers([1.7e308, 1.7e308, 1.7e308])

    assert profile.mean is None
    assert profile.maximum == 1.7e308


def test_times_are_numbers_and_the_newest_is_told() -> None:
    times = [datetime.fromisoformat("2024-05-01T12:00"), None, datetime.fromisoformat("2024-05-03")]
    table = pa.table({"x": pa.array(times, pa.timestamp("us"))})

    profile = _profile(table, {"x": DatetimeColumn()}, time="x")

    column = profile.columns["x"]
    assert profile.newest == datetime.fromisoformat("2024-05-03")
    assert (column.kind, column.n_null) == ("datetime", 1)


def test_a_time_that_python_cannot_hold_is_no_error() -> None:
    times = pa.array([2**62], pa.int64()).cast(pa.timestamp("us"))

    profile = _profile(pa.table({"x": times}), {"x": DatetimeColumn()}, time="x")

    assert profile.newest == datetime.fromisoformat("9999-12-31T23:59:59.999999")


# Noise


def _noise(classes: np.ndarray) -> list[float]:
    noise = BlockNoise()
    for start in range(0, len(classes), PAGE_ROWS):
        noise.add_page(classes[start : start + PAGE_ROWS].astype(np.uint8))
    return [found.rows for found in noise.measured()]


@pytest.mark.parametrize("n_classes", [2, 3, 12])
def test_independent_rows_show_no_more_noise_than_a_multinomial(n_classes: int) -> None:
    random = np.random.default_rng(0)

    worst = [max(_noise(random.integers(0, n_classes, 5000))) for _ in range(100)]

    assert np.mean(worst) < 1.2
    assert np.quantile(worst, 0.95) < 1.6


def test_an_autoregression_shows_the_noise_that_its_theory_gives() -> None:
    from scipy.signal import lfilter

    # Given: the variance of a mean of AR(1) is (1 + rho) / (1 - rho) times that of as many
    # independent values
    random = np.random.default_rng(0)
    values = lfilter([1.0], [1.0, -0.95], random.normal(size=200_000))

    worst = max(_noise(values > 0))

    # The sign's correlations are arcsine ones (2 / pi asin rho^k), whose sum is known.
    lags = 0.95 ** np.arange(1, 2000)
    theory = 1 + 2 * (2 / np.pi * np.arcsin(lags)).sum()
    assert 0.7 * theory < worst < 1.6 * theory


@pytest.mark.parametrize("step", [1, -1])
def test_a_sorted_column_shows_no_noise(step: int) -> None:
    classes = np.sort(np.random.default_rng(0).integers(0, 12, 100_000))

    assert set(_noise(classes[::step])) == {0.0}


def test_runs_of_a_hundred_rows_show_the_noise_of_a_hundredth_of_the_rows() -> None:
    runs = np.repeat(np.random.default_rng(0).integers(0, 12, 5000), 100)

    assert max(_noise(runs)) == pytest.approx(100, rel=0.3)


# The whole


@given(st.lists(st.integers(0, 3000), max_size=5), st.integers(0, 2**32 - 1))
def test_batch_borders_change_nothing(borders: list[int], seed: int) -> None:
    from pipeline_lib.monitoring import profile as module

    # Given pages of 1,000 rows, so that a few rows fill several
    random = np.random.default_rng(seed)
    n_rows = 3000
    table = pa.table(
        {
            "word": pa.array(random.integers(0, 2000, n_rows).astype(str)),
            "number": pa.array(random.normal(size=n_rows), mask=random.random(n_rows) < 0.1),
            "flag": random.random(n_rows) < 0.5,
        }
    )
    columns = {"word": CategoryColumn(), "number": NumberColumn(), "flag": BooleanColumn()}
    known = {"word": pa.array(["1", "2"])}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAGE_ROWS", 1000)
        at_once = _profile(table, columns, known=known)
        in_parts = _profile(table, columns, borders=borders, known=known)

    assert in_parts == at_once


@given(
    st.dictionaries(
        st.text(max_size=5) | st.sampled_from(["..", "a|b", "accuracy", "\n"]),
        st.sampled_from(sorted(KINDS)),
        max_size=4,
    ),
    st.integers(0, 30),
)
def test_json_leads_back_to_the_same_profile(kinds: dict[str, str], n_rows: int) -> None:
    random = np.random.default_rng(n_rows)
    numbers = [None if random.random() < 0.2 else i for i in random.integers(-9, 9, n_rows)]
    values = {
        "category": [None if n is None else f"w{n}" for n in numbers],
        "number": [None if n is None else n / 3 for n in numbers],
        "boolean": [None if n is None else bool(n > 0) for n in numbers],
        "datetime": [
            None if n is None else datetime.fromisoformat(f"2020-01-{10 + n:02}") for n in numbers
        ],
    }
    table = pa.table(
        [pa.array(values[kind], KINDS[kind][1]) for kind in kinds.values()], names=list(kinds)
    )
    if not kinds:
        table = pa.table({"other": pa.nulls(n_rows)})

    profile = _profile(table, {name: KINDS[kind][0] for name, kind in kinds.items()})

    text = json.dumps(profile.to_json(), allow_nan=False)
    assert Profile.from_json(json.loads(text)) == profile
    assert Profile.from_json(json.loads(text)).digest == profile.digest


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: p.pop("n_rows"), "n_rows"),
        (lambda p: p.update(version=2), "version 2"),
        (lambda p: p.update(more=1), "more"),
        (lambda p: p["columns"]["x"].update(n_null=7), "do not add up"),
        (lambda p: p["columns"]["x"]["buckets"].pop(), "256"),
        (lambda p: p["columns"]["y"]["leaves"]["shifts"].append(1), "different lengths"),
        (lambda p: p["columns"]["y"]["leaves"].update(prefixes=[5, 4]), "out of order"),
        (lambda p: p["columns"]["y"].update(mean=math.nan), "mean"),
    ],
)
def test_a_damaged_profile_is_refused_with_its_reason(damage, said: str) -> None:
    table = pa.table({"x": ["a", "b"], "y": [1.0, 2.0]})
    tree = _profile(table, {"x": CategoryColumn(), "y": NumberColumn()}).to_json()
    damage(tree)

    with pytest.raises(StorageError, match=said):
        Profile.from_json(tree)


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_what_is_no_profile_at_all_is_refused(value) -> None:
    with pytest.raises(StorageError, match="version None"):
        Profile.from_json(value)


def test_300_000_long_words_and_numbers_stay_below_20_kilobytes_each() -> None:
    numbers = np.random.default_rng(0).standard_cauchy(300_000)
    table = pa.table({"x": [f"{'😀' * 60}{i}" for i in range(300_000)], "y": numbers})

    profile = _profile(table, {"x": CategoryColumn(), "y": NumberColumn()})

    columns = profile.to_json()["columns"]
    assert all(len(json.dumps(columns[name])) < 30_000 for name in ("x", "y"))
    assert all(len(json.dumps(columns[n], ensure_ascii=False).encode()) < 20_000 for n in "xy")


def test_no_rows_make_an_empty_profile() -> None:
    table = pa.table({"x": pa.array([], pa.string()), "y": pa.array([], pa.float64())})

    profile = _profile(table, {"x": CategoryColumn(), "y": NumberColumn()})

    assert profile.n_rows == 0
    assert Profile.from_json(profile.to_json()) == profile
