"""Test metrics of rows with weights are scikit-learn's, and their resamples those of copies."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from pipeline_lib.config.data import Task
from pipeline_lib.config.metrics import METRICS, Metric
from pipeline_lib.encoding import ClassTarget, NumberTarget
from pipeline_lib.evaluation import chance_of_weighted
from pipeline_lib.evaluation.answers import Answers, Truth, effective_rows
from pipeline_lib.evaluation.chance import (
    shuffled_average_precision,
    shuffled_balanced_accuracy,
)
from pipeline_lib.evaluation.comparison import difference_to_chance, paired_difference
from pipeline_lib.evaluation.metrics import score_answers, truth_of
from pipeline_lib.evaluation.rankings import MAX_RANKED
from pipeline_lib.evaluation.sums import sums_of
from pipeline_lib.evaluation.tables import class_tables
from pipeline_lib.serving import Predictions
from tests.unit.evaluation.models import by_scikit_learn, classified, numbers, taken

N_CLASSES = {"binary": 2, "multiclass": 5, "regression": 0}
EVERY = [(metric, N_CLASSES[task]) for task, metrics in METRICS.items() for metric in metrics]


def _made(n_rows: int, n_classes: int, seed: int = 1) -> tuple[Truth, Answers, Answers]:
    return classified(n_rows, n_classes, seed) if n_classes else numbers(n_rows, seed)


def _weights(n_rows: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).gamma(0.5, 1.0, n_rows) + 1e-3


def _whole(metric: Metric, truth: Truth, answers: Answers) -> float:
    sums = sums_of(metric, truth, answers)
    return float(sums.metric(sums.of(np.ones(truth.n_rows))[:, None])[0])


def _by_scikit_learn(metric: Metric, truth: Truth, answers: Answers) -> float:
    """Return a metric as scikit-learn has it of weighted rows."""
    y, predicted, probs, weight = truth.y, answers.predicted, answers.probs, truth.weight
    macro: dict[str, Any] = {"labels": np.unique(y), "average": "macro", "sample_weight": weight}
    match metric:
        case "macro_f1":
            return float(sk.f1_score(y, predicted, **macro))
        case "balanced_accuracy":
            return float(sk.recall_score(y, predicted, **macro))
        case "accuracy":
            return float(sk.accuracy_score(y, predicted, sample_weight=weight))
        case "log_loss":
            return float(sk.log_loss(y, probs, sample_weight=weight))
        case "brier":
            labels = range(probs.shape[1])
            return float(
                sk.brier_score_loss(
                    y, probs, sample_weight=weight, labels=labels, scale_by_half="auto"
                )
            )
        case "roc_auc" | "average_precision":
            score = sk.roc_auc_score if metric == "roc_auc" else sk.average_precision_score
            values = [score(y == c, probs[:, c], sample_weight=weight) for c in answers.ranked]
            return float(np.mean(values))
        case "rmse":
            return float(sk.root_mean_squared_error(y, predicted, sample_weight=weight))
        case "mae":
            return float(sk.mean_absolute_error(y, predicted, sample_weight=weight))
        case "r2":
            return float(sk.r2_score(y, predicted, sample_weight=weight))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_scikit_learns_of_weighted_rows(task: Task, seed: int) -> None:
    truth, answers, _ = _made(80, N_CLASSES[task], seed)
    truth = replace(truth, weight=_weights(80, seed))

    scores = score_answers(truth, answers)

    assert set(scores) == set(METRICS[task])
    for metric, value in scores.items():
        assert value == pytest.approx(_by_scikit_learn(metric, truth, answers)), metric


@pytest.mark.parametrize(("metric", "n_classes"), EVERY)
@pytest.mark.parametrize("n_rows", [60, 5_000])
def test_the_metric_that_is_resampled_is_the_one_that_is_shown(
    metric: Metric, n_classes: int, n_rows: int
) -> None:
    truth, answers, _ = _made(n_rows, n_classes)
    truth = replace(truth, weight=_weights(n_rows))

    expected = _by_scikit_learn(metric, truth, answers)

    assert _whole(metric, truth, answers) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("metric", "n_classes"), EVERY)
@settings(max_examples=15)
@given(weights=st.lists(st.integers(1, 4), min_size=40, max_size=40))
def test_a_row_of_weight_k_is_k_rows_in_every_resample(
    metric: Metric, n_classes: int, weights: list[int]
) -> None:
    truth, answers, _ = _made(40, n_classes)
    copies = np.repeat(np.arange(40), weights)
    sums = sums_of(metric, replace(truth, weight=np.array(weights, float)), answers)
    drawn = np.random.default_rng(0).poisson(1.0, 40)
    drawn[:n_classes] = 1  # of each class there is one

    value = sums.metric(sums.of(drawn.astype(np.float64))[:, None])[0]

    rows = np.repeat(copies, drawn[copies])
    assert value == pytest.approx(by_scikit_learn(metric, *taken(truth, answers, rows)))


@pytest.mark.parametrize("metric", ["roc_auc", "average_precision"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_rankings_of_many_weighted_rows_are_nearly_those_of_a_resample(
    metric: Metric, n_classes: int
) -> None:
    n_rows = MAX_RANKED + 1
    truth, answers, _ = classified(n_rows, n_classes, seed=1)
    truth = replace(truth, weight=_weights(n_rows))
    random, sums = np.random.default_rng(0), sums_of(metric, truth, answers)
    exact = _by_scikit_learn(metric, truth, answers)

    assert _whole(metric, truth, answers) == pytest.approx(exact, abs=1e-12)
    pairs: list[tuple[float, float]] = []
    for _ in range(20):
        drawn = random.poisson(1.0, n_rows).astype(np.float64)
        held = drawn > 0
        some, parts = taken(truth, answers, np.flatnonzero(held))
        assert truth.weight is not None
        some = replace(some, weight=(truth.weight * drawn)[held])
        value = sums.metric(sums.of(drawn)[:, None])[0]
        pairs.append((value, _by_scikit_learn(metric, some, parts)))
    found, expected = np.array(pairs).T
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.15 * expected.std()


@pytest.mark.parametrize(("metric", "n_classes"), EVERY)
def test_weights_that_are_all_alike_change_no_comparison(metric: Metric, n_classes: int) -> None:
    truth, first, second = _made(300, n_classes)

    plain, alike = (
        paired_difference(metric, t, first, second, seed=0, n_resamples=200)
        for t in (truth, replace(truth, weight=np.full(300, 1.0)))
    )

    assert alike.gain == pytest.approx(plain.gain)
    assert alike.standard_error == pytest.approx(plain.standard_error)
    assert alike.lower == pytest.approx(plain.lower)


def test_the_standard_error_of_weighted_rows_is_that_of_as_many_effective_ones() -> None:
    truth, first, second = numbers(20_000, seed=0)
    weight = _weights(20_000)

    known = paired_difference("mae", replace(truth, weight=weight), first, second, seed=0)

    gains = np.abs(second.predicted - truth.y) - np.abs(first.predicted - truth.y)
    expected = gains.std() / np.sqrt(effective_rows(weight))
    assert known.standard_error == pytest.approx(expected, rel=0.1)


def test_effective_rows_are_those_of_one_weight_and_fewer_of_many() -> None:
    assert effective_rows(np.full(7, 1e300)) == pytest.approx(7)
    assert effective_rows(np.array([2.0, 1.0, 1.0])) == pytest.approx(16 / 6)
    assert effective_rows(np.array([1e308, 1e-308])) == pytest.approx(1)


@pytest.mark.parametrize(("n_classes", "rare"), [(2, False), (2, True), (4, False)])
@pytest.mark.parametrize("metric", ["balanced_accuracy", "average_precision", "roc_auc"])
@pytest.mark.parametrize("n_shuffled", [0, 20_000], ids=["by formulas", "row by row"])
def test_chance_has_the_spread_of_answers_that_are_shuffled_one_by_one(
    metric: Metric,
    n_classes: int,
    rare: bool,
    n_shuffled: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chance_of_weighted, "MAX_SHUFFLED", n_shuffled)
    truth, answers, _ = classified(600, n_classes, seed=0)
    if rare:  # four rows of the last class
        y = np.where(truth.y == n_classes - 1, 0, truth.y)
        y[:4] = n_classes - 1
        truth = Truth(y, truth.classes)
    truth = replace(truth, weight=np.random.default_rng(3).gamma(1.5, 1.0, 600))

    known = difference_to_chance(metric, truth, answers, seed=0, n_resamples=2000)

    random, shuffled = np.random.default_rng(1), []
    for _ in range(400):
        order = random.permutation(600)
        parts = Answers(answers.predicted[order], answers.probs[order], answers.ranked)
        shuffled.append(_by_scikit_learn(metric, truth, parts))
    spread = float(np.std(shuffled))
    assert known is not None
    value = known.gain + float(np.mean(shuffled))
    assert value == pytest.approx(_by_scikit_learn(metric, truth, answers), abs=0.25 * spread)
    assert known.standard_error == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize("n_positive", [300, 3000])
def test_of_many_rows_formulas_have_the_spread_of_shuffled_ones(
    n_positive: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_rows = 8000
    y = (np.arange(n_rows) < n_positive).astype(np.int64)
    truth = Truth(y, ("a", "b"), weight=_weights(n_rows))
    answers = Answers((np.arange(n_rows) % 3 == 0).astype(np.int64), np.empty((n_rows, 0)))

    def drawn() -> list[npt.NDArray[np.float64]]:
        random = np.random.default_rng(0)
        return [
            shuffled_average_precision(truth, random, 1000),
            shuffled_balanced_accuracy(truth, answers, random, 1000),
        ]

    shuffled = drawn()
    monkeypatch.setattr(chance_of_weighted, "MAX_SHUFFLED", 0)

    for formula, exact in zip(drawn(), shuffled, strict=True):
        assert formula.mean() == pytest.approx(exact.mean(), abs=0.2 * exact.std())
        assert formula.std() == pytest.approx(exact.std(), rel=0.2)


def test_the_table_of_classes_is_weighted_and_counts_rows() -> None:
    target = ClassTarget("label", ("a", "b", "c"))
    random = np.random.default_rng(0)
    y, probs = random.integers(0, 2, 50), random.dirichlet(np.ones(3), 50)
    weight = _weights(50)
    actual = pa.chunked_array([pa.array([target.classes[number] for number in y])])

    tables = class_tables(actual, Predictions(target, probs, np.zeros(50, np.int32)), weight)

    expected = sk.precision_recall_fscore_support(
        y, probs.argmax(axis=1), labels=[0, 1, 2], sample_weight=weight, zero_division=0
    )
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        np.testing.assert_allclose(tables.report[name], values)
    assert tables.report["n_rows"].tolist() == np.bincount(y, minlength=3).tolist()
    assert tables.confusion.sum() == 50


def test_the_truth_has_weights_of_mean_1_however_large_they_are() -> None:
    values = pa.chunked_array([pa.array([1.0, 2.0, 3.0])])

    truth = truth_of(values, NumberTarget("y", 0.0, 1.0), np.array([1e308, 1e308, 5e307]))

    assert truth.weight is not None
    np.testing.assert_allclose(truth.weight, np.array([2.0, 2.0, 1.0]) * 3 / 5)
