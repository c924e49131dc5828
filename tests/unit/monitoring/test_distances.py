"""Distances and their chances are those of scipy and of plain counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline_lib.monitoring.distances import (
    Bins,
    NoiseFactors,
    distance,
    group_bins,
    number_bins,
    shares_tail,
)
from pipeline_lib.monitoring.number_sketch import NumberCounter, keys_of

NO_NOISE = NoiseFactors(1.0, 1.0)


def _leaves(numbers: np.ndarray):
    counter = NumberCounter()
    counter.add_page(numbers, np.ones(len(numbers), np.bool_))
    return counter.leaves()


def _word_bins(before: list[float], now: list[float]) -> Bins:
    none = np.zeros(0, np.uint64)
    labels = tuple(f"word {i}" for i in range(len(before)))
    return Bins(np.array(before), np.array(now), labels, none, none)


@given(st.integers(0, 30), st.integers(30, 300), st.integers(0, 30), st.integers(30, 300))
def test_the_chance_of_two_shares_is_not_far_below_fishers(
    before: int, n_before: int, now: int, n_now: int
) -> None:
    table = [[now, n_now - now], [before, n_before - before]]
    side = "greater" if now / n_now >= before / n_before else "less"
    exact = stats.fisher_exact(table, alternative=side).pvalue

    # Chances far below what any threshold asks for are not told apart.
    assert shares_tail(before, n_before, now, n_now) >= min(0.5 * exact, exact - 1e-12)


def test_the_test_of_words_is_pearsons() -> None:
    before, now = [500.0, 300.0, 200.0], [260.0, 120.0, 120.0]

    found = distance(_word_bins(before, now), NO_NOISE)

    expected = stats.chi2_contingency([before, now], correction=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.moved == pytest.approx(0.06)


def test_rows_that_hang_together_count_as_fewer() -> None:
    before, now = [500.0, 300.0, 200.0], [260.0, 120.0, 120.0]

    found = distance(_word_bins(before, now), NoiseFactors(10, 10))

    tenth = [[n / 10 for n in before], [n / 10 for n in now]]
    expected = stats.chi2_contingency(tenth, correction=False)
    # Groups have 10 expected rows or more, here as well.
    assert found.p_value == pytest.approx(expected.pvalue)


def test_the_noise_is_the_mean_distance_of_independent_samples() -> None:
    random = np.random.default_rng(0)
    share = np.array([0.4, 0.3, 0.2, 0.1])
    pairs = [(random.multinomial(1000, share), random.multinomial(400, share)) for _ in range(400)]

    found = [distance(_word_bins(list(a), list(b)), NO_NOISE) for a, b in pairs]

    assert np.mean([d.moved for d in found]) == pytest.approx(found[0].noise, rel=0.08)


@pytest.mark.parametrize("n_bins", [4, 10])
def test_the_effect_is_off_the_true_distance_by_half_of_the_noise_at_most(n_bins: int) -> None:
    # Given a drift of 15 % of rows, spread over few bins or over all
    random = np.random.default_rng(0)
    before = np.full(20, 0.05)
    now = before + np.array([1] * n_bins + [-1] * n_bins + [0] * 20)[:20] * 0.15 / n_bins
    bins = [
        _word_bins(list(random.multinomial(3000, before)), list(random.multinomial(3000, now)))
        for _ in range(200)
    ]

    found = [distance(pair, NO_NOISE) for pair in bins]

    effect, noise = (np.mean([getattr(d, name) for d in found]) for name in ("effect", "noise"))
    assert abs(effect - 0.15) < noise / 2


@given(st.integers(0, 2**32 - 1))
def test_common_intervals_count_both_samples_exactly(seed: int) -> None:
    random = np.random.default_rng(seed)
    before = np.round(random.normal(size=3000), int(random.integers(0, 5)))
    now = random.normal(random.normal(), 2, size=int(random.integers(1, 3000)))

    bins = number_bins(_leaves(before), _leaves(now))

    for sample, counts in ((before, bins.before), (now, bins.now)):
        keys = keys_of(sample)
        inside = [
            int(((keys >= low) & (keys <= high)).sum())
            for low, high in zip(bins.low, bins.high, strict=True)
        ]
        assert inside == counts.tolist()
        assert sum(inside) == len(sample)


def test_the_greatest_difference_is_near_that_of_kolmogorov_and_smirnov() -> None:
    random = np.random.default_rng(0)
    before, now = random.normal(size=20_000), random.normal(0.5, 1, size=10_000)
    bins = number_bins(_leaves(before), _leaves(now))

    gap = np.cumsum(bins.before) / len(before) - np.cumsum(bins.now) / len(now)

    assert np.abs(gap).max() == pytest.approx(stats.ks_2samp(before, now).statistic, abs=0.005)


@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=80).filter(any),
    st.floats(0, 0.5),
    st.booleans(),
)
def test_every_group_has_the_least_share_unless_there_is_but_one(
    counts: list[int], least: float, are_words: bool
) -> None:
    share = np.array(counts) / sum(counts)
    labels = tuple(map(str, counts)) if are_words else ()
    none = np.zeros(0, np.uint64)

    group = group_bins(share, least, Bins(share, share, labels, none, none))

    totals = np.bincount(group, share)
    assert len(totals) == 1 or totals.min() >= least - 1e-12
    assert set(group.tolist()) == set(range(len(totals)))
    if not are_words:
        assert (np.diff(group) >= 0).all()
