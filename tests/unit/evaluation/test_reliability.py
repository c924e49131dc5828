"""Reliability figures, against scikit-learn's calibration curve and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from pipeline_lib.evaluation.reliability import reliability


def _drawn(n_rows: int, *, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of two classes, and classes that have them raised to a power."""
    random = np.random.default_rng(0)
    positive = random.random(n_rows)
    y = (random.random(n_rows) < positive**power).astype(np.int64)
    return np.stack([1 - positive, positive], axis=1), y


def test_bins_of_two_classes_are_those_of_scikit_learn() -> None:
    probs, y = _drawn(5_000)

    found = reliability(probs, y)

    actual, said = calibration_curve(y, probs[:, 1], n_bins=10, strategy="quantile")
    assert [each.said for each in found.bins] == pytest.approx(said)
    assert [each.found for each in found.bins] == pytest.approx(actual)
    assert sum(each.n_rows for each in found.bins) == 5_000


def test_probabilities_that_are_right_have_almost_no_error_and_too_sure_ones_have_some() -> None:
    assert reliability(*_drawn(20_000)).error < 0.02
    assert reliability(*_drawn(20_000, power=3.0)).error > 0.2


def test_of_several_classes_the_predicted_one_counts() -> None:
    probs = np.array([[0.8, 0.1, 0.1]] * 30 + [[0.1, 0.6, 0.3]] * 30)
    y = np.array([0] * 24 + [1] * 6 + [1] * 15 + [2] * 15)

    found = reliability(probs, y)

    assert [(each.said, each.found) for each in found.bins] == [
        (pytest.approx(0.6), pytest.approx(0.5)),
        (pytest.approx(0.8), pytest.approx(0.8)),
    ]
    assert found.error == pytest.approx(0.05)


@pytest.mark.parametrize("n_rows", [1, 2, 19, 20, 39, 40])
def test_few_rows_are_few_bins(n_rows: int) -> None:
    probs, y = _drawn(n_rows)

    assert len(reliability(probs, y).bins) == max(1, n_rows // 20)


@given(copies=st.lists(st.integers(1, 4), min_size=60, max_size=60))
def test_a_weight_of_several_counts_as_several_rows_within_a_bin(copies: list[int]) -> None:
    probs = np.tile([[0.3, 0.7]], (60, 1))
    y = (np.arange(60) % 3 > 0).astype(np.int64)

    weighted = reliability(probs, y, np.array(copies, float)).bins
    repeated = reliability(probs.repeat(copies, axis=0), y.repeat(copies)).bins

    assert len(weighted) == len(repeated) == 1
    assert weighted[0].found == pytest.approx(repeated[0].found)


@given(st.integers(1, 500), st.integers(2, 5), st.integers(0, 9))
def test_every_row_is_in_one_bin_and_the_error_is_a_share(n: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    probs = random.dirichlet(np.ones(k) / 4, n).round(1)
    y = random.integers(0, k, n)

    found = reliability(probs, y)

    assert sum(each.n_rows for each in found.bins) == n
    assert sum(each.share for each in found.bins) == pytest.approx(1)
    assert 0 <= found.error <= 1 + 1e-9
