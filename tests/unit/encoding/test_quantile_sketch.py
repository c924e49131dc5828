"""Quantiles from batches: exact while they fit, a fair sample beyond, the same for any batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.encoding.quantile_sketch import MAX_EXACT, QuantileSketch

SHARES = np.linspace(0.0, 1.0, 101)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50), st.integers(1, 50))
def test_quantiles_of_what_fits_are_those_of_numpy(values: list[float], size: int) -> None:
    sketch = QuantileSketch()
    for first in range(0, len(values), size):
        sketch.add(np.array(values[first : first + size]))

    quantiles = sketch.quantiles(SHARES)

    np.testing.assert_allclose(quantiles, np.quantile(values, SHARES), rtol=1e-12, atol=1e-6)
    assert (np.diff(quantiles) >= 0).all()


@pytest.mark.parametrize("n", [1000, 1001, 9_973])
def test_where_batches_end_does_not_count_in_a_sample(n: int) -> None:
    values = np.random.default_rng(0).normal(size=n)
    found: set[tuple[float, ...]] = set()

    for size in (n, 1000, 997, 13):
        sketch = QuantileSketch(max_exact=1000)
        for first in range(0, n, size):
            sketch.add(values[first : first + size])
        found.add(tuple(sketch.quantiles(SHARES)))

    assert len(found) == 1


@pytest.mark.parametrize("order", ["as they come", "sorted", "repeating"])
def test_ranks_of_a_sample_are_off_by_less_than_five_of_the_stated_errors(order: str) -> None:
    n, max_exact = 150_000, 10_000
    values = np.random.default_rng(2).permutation(n).astype(np.float64)
    if order == "sorted":
        values.sort()
    if order == "repeating":
        values = np.arange(n) % 1024 * (n / 1024)
    sketch = QuantileSketch(max_exact)

    for first in range(0, n, 4096):
        sketch.add(values[first : first + 4096])

    # As the module states it for a million: half a deviation of a share, by the smallest sample.
    error = 0.5 / (max_exact / 2) ** 0.5
    assert np.abs(sketch.quantiles(SHARES) / n - SHARES).max() < 5 * error
    assert error * (max_exact / MAX_EXACT) ** 0.5 == pytest.approx(0.0007, abs=0.00002)


def test_minimum_and_maximum_are_exact_in_a_sample() -> None:
    values = np.zeros(50_000)
    values[777], values[31_234] = -5.0, 9.0
    sketch = QuantileSketch(max_exact=1000)

    sketch.add(values)

    assert sketch.quantiles(np.array([0.0, 0.5, 1.0])).tolist() == [-5.0, 0.0, 9.0]
    assert sketch.n == 50_000
