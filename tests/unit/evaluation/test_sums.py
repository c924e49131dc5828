"""Metrics of weighted rows are those of rows that stand there so many times."""

import numpy as np
import pytest

from pipeline_lib.config import Metric
from pipeline_lib.evaluation import sums as sums_module
from pipeline_lib.evaluation.sums import sums_of
from tests.unit.evaluation.models import by_scikit_learn, classified, numbers, taken

CLASSED: list[Metric] = ["macro_f1", "accuracy", "log_loss", "roc_auc"]
ERRORS: list[Metric] = ["rmse", "mae", "r2"]


@pytest.mark.parametrize(
    ("metric", "n_classes"),
    [*((metric, n) for metric in CLASSED for n in (2, 5)), *((metric, 0) for metric in ERRORS)],
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


def test_a_class_without_weight_is_left_out_of_macro_f1() -> None:
    truth, answers, _ = classified(60, 5, seed=2)
    without = (truth.y != 3).astype(np.float64)

    sums = sums_of("macro_f1", truth, answers)

    rows = np.flatnonzero(without)
    expected = by_scikit_learn("macro_f1", *taken(truth, answers, rows))
    assert sums.metric(sums.of(without)[:, None])[0] == pytest.approx(expected)


@pytest.mark.parametrize(("metric", "n_classes"), [("roc_auc", 2), ("roc_auc", 4)])
def test_placements_give_the_ranking_metric_itself_and_nearly_that_of_a_resample(
    metric: Metric, n_classes: int
) -> None:
    n_rows = sums_module.MAX_RANKED + 1
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
