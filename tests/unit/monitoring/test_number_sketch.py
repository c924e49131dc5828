"""What a profile counts of numbers and times: exact on leaves that any two profiles share."""

import math
from collections import Counter
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.columns import (
    DatetimeColumn,
)
from pipeline_lib.monitoring.number_sketch import NumberCounter, keys_of, numbers_of
from pipeline_lib.monitoring.profile import (
    QUANTILES,
)
from tests.unit.monitoring.profiles import number_profile, profiled


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

    profile = number_profile(numbers)

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

    assert number_profile(numbers).leaves == number_profile(np.sort(numbers)[::-1]).leaves


def test_nan_and_infinities_count_as_nulls() -> None:
    profile = number_profile([1.0, math.nan, math.inf, None, 2.0])

    assert (profile.n_rows, profile.n_null, profile.mean) == (5, 3, 1.5)


def test_numbers_whose_sum_no_double_holds_have_no_mean_but_a_profile() -> None:
    profile = number_profile([1.7e308, 1.7e308, 1.7e308])

    assert profile.mean is None
    assert profile.maximum == 1.7e308


def test_times_are_numbers_and_the_newest_is_told() -> None:
    times = [datetime.fromisoformat("2024-05-01T12:00"), None, datetime.fromisoformat("2024-05-03")]
    table = pa.table({"x": pa.array(times, pa.timestamp("us"))})

    profile = profiled(table, {"x": DatetimeColumn()}, time="x")

    column = profile.columns["x"]
    assert profile.newest == datetime.fromisoformat("2024-05-03")
    assert (column.kind, column.n_null) == ("datetime", 1)


def test_a_time_that_python_cannot_hold_is_no_error() -> None:
    times = pa.array([2**62], pa.int64()).cast(pa.timestamp("us"))

    profile = profiled(pa.table({"x": times}), {"x": DatetimeColumn()}, time="x")

    assert profile.newest == datetime.fromisoformat("9999-12-31T23:59:59.999999")
