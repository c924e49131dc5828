"""How much rows hang together: chance of a sample that is not of independent rows."""

import numpy as np
import pytest

from pipeline_lib.monitoring.counts import PAGE_ROWS
from pipeline_lib.monitoring.design_effect import BlockNoise


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
