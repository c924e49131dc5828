"""Target statistics: scikit-learn's empirical Bayes means, and never of a row's own target."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.preprocessing import TargetEncoder

from pipeline_lib.models.target_statistics import (
    N_FOLDS,
    CrossFitted,
    StatisticsCounter,
    TargetStatistics,
    fold_of_rows,
)

CARDINALITIES = (40, 4, 9)


def _counted(
    x_cat: npt.NDArray[Any], outputs: npt.NDArray[Any], *, batch_rows: int = 1000
) -> tuple[StatisticsCounter, npt.NDArray[Any]]:
    folds = fold_of_rows(len(x_cat), seed=0)
    counter = StatisticsCounter(CARDINALITIES, outputs.shape[1])
    for start in range(0, len(x_cat), batch_rows):
        rows = slice(start, start + batch_rows)
        counter.add(x_cat[rows], outputs[rows], folds[rows])
    return counter, folds


@pytest.fixture
def x_cat() -> npt.NDArray[Any]:
    """Return codes of three columns; some codes have no row, and one has two values alone."""
    random = np.random.default_rng(0)
    columns = [
        random.zipf(1.5, 800) % 30 + 2,
        random.integers(2, 4, 800),
        random.integers(2, 8, 800),
    ]
    return np.stack(columns, axis=1).astype(np.int32)


@pytest.mark.parametrize("n_classes", [0, 3])
def test_statistics_are_those_of_scikit_learn(x_cat: npt.NDArray[Any], n_classes: int) -> None:
    random = np.random.default_rng(1)
    y = random.normal(x_cat[:, 0], 9.0) if not n_classes else (x_cat[:, 0] + x_cat[:, 2]) % 3
    outputs = y[:, None] if not n_classes else np.eye(3)[y]
    kind = "multiclass" if n_classes else "continuous"
    theirs = TargetEncoder(smooth="auto", target_type=kind).fit(x_cat[:, [0, 2]], y)

    statistics = _counted(x_cat, outputs)[0].statistics()

    assert statistics.columns == (0, 2)  # a column of two values has none
    expected = theirs.transform(x_cat[:, [0, 2]])
    np.testing.assert_allclose(statistics.features(x_cat), expected, rtol=1e-5, atol=1e-5)


def test_a_code_without_rows_has_the_mean_of_all(x_cat: npt.NDArray[Any]) -> None:
    y = np.random.default_rng(1).normal(size=(800, 1))

    statistics = _counted(x_cat, y)[0].statistics()

    unseen = np.zeros((1, 3), np.int32)
    np.testing.assert_allclose(statistics.features(unseen), y.mean(), atol=1e-6)


def test_a_rows_own_target_does_not_reach_it(x_cat: npt.NDArray[Any]) -> None:
    y = np.random.default_rng(1).normal(size=(800, 1))
    changed = y.copy()
    changed[17] += 1000.0

    before, folds = _counted(x_cat, y)
    after, _ = _counted(x_cat, changed)

    same = [CrossFitted.of(counter, folds).features(x_cat) for counter in (before, after)]
    mates = folds == folds[17]
    np.testing.assert_array_equal(same[0][mates], same[1][mates])
    assert (same[0][~mates] != same[1][~mates]).any()


def test_the_size_of_batches_changes_nothing_but_the_last_digits(x_cat: npt.NDArray[Any]) -> None:
    y = np.random.default_rng(1).normal(size=(800, 1))

    whole, parts = (_counted(x_cat, y, batch_rows=n)[0].statistics() for n in (800, 7))

    for one, other in zip(whole.means, parts.means, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_constant_target_is_its_own_statistic(x_cat: npt.NDArray[Any]) -> None:
    statistics = _counted(x_cat, np.full((800, 1), 3.0))[0].statistics()

    np.testing.assert_allclose(statistics.features(x_cat), 3.0)


@pytest.mark.parametrize("n_rows", [1, 4, 5, 1003])
def test_folds_are_of_one_size_and_follow_from_the_seed(n_rows: int) -> None:
    folds = fold_of_rows(n_rows, seed=3)

    counts = np.bincount(folds, minlength=N_FOLDS)
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(folds, fold_of_rows(n_rows, seed=3))


@pytest.mark.parametrize(
    "arrays",
    [
        {"0": np.zeros((39, 1), np.float32)},
        {"0": np.zeros((40, 1), np.float64)},
        {"7": np.zeros((40, 1), np.float32)},
        {"-1": np.zeros((9, 1), np.float32)},
        {"x": np.zeros((40, 1), np.float32)},
    ],
)
def test_statistics_of_other_columns_are_not_read(arrays: dict[str, npt.NDArray[Any]]) -> None:
    with pytest.raises(ValueError, match=r"column|invalid literal"):
        TargetStatistics.read(arrays, CARDINALITIES)
