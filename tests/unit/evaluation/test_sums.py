"""Metrics of weighted rows are those of rows that stand there so many times."""

import numpy as np
import pytest

from pipeline_lib.config.metrics import METRICS, Metric
from pipeline_lib.evaluation.answers import Answers, Truth
from pipeline_lib.evaluation.rankings import MAX_EXACT_POSITIVES, MAX_RANKED
from pipeline_lib.evaluation.sums import sums_of
from tests.unit.evaluation.models import by_scikit_learn, classified, numbers, taken

N_CLASSES = {"binary": 2, "multiclass": 5, "regression": 0}


@pytest.mark.parametrize(
    ("metric", "n_classes"),
    [(metric, N_CLASSES[task]) for task, metrics in METRICS.items() for metric in metrics],
)
def test_a_metric_of_weighted_rows_is_scikit_learns_of_repeated_rows(
    metric: Metric, n_classes: int
) -> None:
    made = classified(60, n_classes, seed=1) if n_classes else numbers(60, seed=1)
    truth, answers, _ = made
    random = np.random.default_rng(0)
    sums = sums_of(metric, truth, answers)

    for _ in range(8):
        weights = random.poisson(1.0, 60)
        value = sums.metric(sums.of(weights.astype(np.float64))[:, None])[0]

        rows = np.repeat(np.arange(60), weights)
        assert value == pytest.approx(by_scikit_learn(metric, *taken(truth, answers, rows)))


@pytest.mark.parametrize("metric", ["macro_f1", "balanced_accuracy"])
def test_a_class_without_weight_is_left_out(metric: Metric) -> None:
    truth, answers, _ = classified(60, 5, seed=2)
    without = (truth.y != 3).astype(np.float64)

    sums = sums_of(metric, truth, answers)

    rows = np.flatnonzero(without)
    expected = by_scikit_learn(metric, *taken(truth, answers, rows))
    assert sums.metric(sums.of(without)[:, None])[0] == pytest.approx(expected)


@pytest.mark.parametrize(("metric", "n_classes"), [("roc_auc", 2), ("roc_auc", 4)])
def test_placements_give_the_ranking_metric_itself_and_nearly_that_of_a_resample(
    metric: Metric, n_classes: int
) -> None:
    n_rows = MAX_RANKED + 1
    truth, answers, _ = classified(n_rows, n_classes, seed=1)
    weights = np.random.default_rng(0).poisson(1.0, n_rows)

    sums = sums_of(metric, truth, answers)
    whole, some = (
        sums.metric(sums.of(w.astype(np.float64))[:, None])[0] for w in (np.ones(n_rows), weights)
    )

    rows = np.repeat(np.arange(n_rows), weights)
    resample = by_scikit_learn(metric, *taken(truth, answers, rows))
    assert whole == pytest.approx(by_scikit_learn(metric, truth, answers), abs=1e-12)
    assert abs(resample - whole) > 1e-4, "the resample shows nothing"
    assert some == pytest.approx(resample, abs=0.05 * abs(resample - whole) + 2e-5)


def test_sums_over_units_are_those_of_their_rows() -> None:
    truth, answers, _ = classified(60, 3, seed=1)
    unit = np.arange(60) % 7
    weights = np.random.default_rng(0).poisson(1.0, 7).astype(np.float64)
    sums = sums_of("macro_f1", truth, answers)

    of_units = sums.in_units(unit, 7).of(weights)

    np.testing.assert_array_equal(of_units, sums.of(weights[unit]))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_average_precision_of_many_rows_is_exact_and_its_resamples_nearly(n_classes: int) -> None:
    n_rows = MAX_RANKED + 1
    truth, answers, _ = classified(n_rows, n_classes, seed=1)
    random = np.random.default_rng(0)

    sums = sums_of("average_precision", truth, answers)

    whole = sums.metric(sums.of(np.ones(n_rows))[:, None])[0]
    exact = by_scikit_learn("average_precision", truth, answers)
    assert sums.n_sums == 3 * len(truth.positives)
    assert whole == pytest.approx(exact, abs=1e-12)
    pairs: list[tuple[float, float]] = []
    for _ in range(20):
        weights = random.poisson(1.0, n_rows)
        rows = np.repeat(np.arange(n_rows), weights)
        resample = by_scikit_learn("average_precision", *taken(truth, answers, rows))
        pairs.append((sums.metric(sums.of(weights.astype(np.float64))[:, None])[0], resample))
    found, expected = np.array(pairs).T
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.1 * expected.std()


def test_average_precision_of_a_class_with_few_rows_is_exact_among_many_rows() -> None:
    n_rows, n_positive = 2 * MAX_RANKED, MAX_EXACT_POSITIVES
    random = np.random.default_rng(0)
    y = (np.arange(n_rows) < n_positive).astype(np.int64)
    scores = np.round(1 / (1 + np.exp(-random.normal(2 * y, 1))), 2)  # with many ties
    truth = Truth(y, ("a", "b"))
    answers = Answers(y, np.stack([1 - scores, scores], axis=1), (1,))

    sums = sums_of("average_precision", truth, answers)

    for _ in range(5):
        weights = random.poisson(1.0, n_rows)
        rows = np.repeat(np.arange(n_rows), weights)
        expected = by_scikit_learn("average_precision", *taken(truth, answers, rows))
        value = sums.metric(sums.of(weights.astype(np.float64))[:, None])[0]
        assert value == pytest.approx(expected, abs=1e-12)


def test_a_resample_without_a_positive_row_has_no_average_precision() -> None:
    truth, answers, _ = classified(60, 2, seed=1)

    sums = sums_of("average_precision", truth, answers)

    for kept in (0, 1):
        weights = (truth.y == kept).astype(np.float64)
        assert np.isnan(sums.metric(sums.of(weights)[:, None])[0])
