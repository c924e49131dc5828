"""Test metrics, on labels and probabilities as they leave the predictor.

All models are scored over one set of classes: those that the test rows hold. What a metric is
stands in `config/metrics.py`. Scikit-learn computes them, but for the two of rankings: one sort
gives both, in a sixth of its time.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import assert_never

import numpy as np
import pyarrow as pa
from sklearn import metrics as sk

from pipeline_lib.config.metrics import METRICS, Metric
from pipeline_lib.encoding import NumberTarget, Target
from pipeline_lib.evaluation.answers import Answers, Floats, Truth, row_briers, row_losses
from pipeline_lib.evaluation.comparison import Scores
from pipeline_lib.evaluation.rankings import Ranking
from pipeline_lib.serving import Predictions


def score(actual: pa.ChunkedArray, predictions: Predictions) -> Scores:
    """Return every metric that is defined for the task and these rows; see `score_answers`.

    Args:
        actual: the target's true values, typed as the contract says; length ``n_rows``.
        predictions: of the same rows; the model knows all of their classes.
    """
    truth = truth_of(actual, predictions.target)
    return score_answers(truth, answers_of(predictions, truth))


def truth_of(actual: pa.ChunkedArray, target: Target, weight: Floats | None = None) -> Truth:
    """Return the true values, and the classes that have a row, in the target's order.

    Args:
        actual: the target's true values.
        target: says how they are encoded.
        weight: of the rows, above 0, shape ``(n_rows,)``; only the ratios count.
    """
    if weight is not None:
        shares = weight / weight.max()
        weight = shares / shares.mean()
    if isinstance(target, NumberTarget):
        return Truth(actual.to_numpy().astype(np.float64), weight=weight)
    held, y = np.unique(target.encode(actual), return_inverse=True)
    names = tuple(target.classes[number] for number in held)
    return Truth(y.astype(np.int64), names, len(target.classes), weight)


def answers_of(predictions: Predictions, truth: Truth) -> Answers:
    """Return a model's answers over the truth's classes, whichever classes it knows."""
    target, values = predictions.target, predictions.values
    if isinstance(target, NumberTarget):
        return Answers(values, np.empty((len(values), 0)))
    positions = np.full(len(target.classes), -1)
    columns = [
        target.classes.index(name) if name in target.classes else None for name in truth.classes
    ]
    for position, column in enumerate(columns):
        if column is not None:
            positions[column] = position
    # Of two classes whose probabilities add up to 1 the second ranks as the first does.
    is_one = len(columns) == len(target.classes) == 2 and None not in columns
    ranked = (1,) if is_one else tuple(range(len(columns)))
    return Answers(positions[values.argmax(axis=1)], _columns(values, columns), ranked)


def _columns(values: Floats, columns: Sequence[int | None]) -> Floats:
    if list(columns) == list(range(values.shape[1])):
        return values
    chosen = np.zeros((len(values), len(columns)))
    for position, column in enumerate(columns):
        if column is not None:
            chosen[:, position] = values[:, column]
    return chosen


def score_answers(truth: Truth, answers: Answers) -> Scores:
    """Return every metric of the task that is defined for these rows; none is NaN or infinite.

    `roc_auc` and `average_precision` need two classes with a row, `r2` two values of the target.
    """
    parts = _Parts(truth, answers)
    with np.errstate(over="ignore", invalid="ignore"):
        scores: Scores = {metric: _value(metric, parts) for metric in METRICS[truth.task]}
    return {metric: value for metric, value in scores.items() if math.isfinite(value)}


class _Parts:
    """What several metrics of the same rows are made of, computed once."""

    def __init__(self, truth: Truth, answers: Answers) -> None:
        self.truth, self.answers = truth, answers

    @cached_property
    def by_class(self) -> tuple[Floats, Floats]:
        """Recall and F1 score of each class with a row, ``(n_classes,)``."""
        numbers = list(range(len(self.truth.classes)))
        # Annotated as text, documented as a number: precision of a class never predicted.
        _, recall, f1, _ = sk.precision_recall_fscore_support(
            self.truth.y,
            self.answers.predicted,
            labels=numbers,
            sample_weight=self.truth.weight,
            zero_division=0,  # pyright: ignore[reportArgumentType]
        )
        return np.asarray(recall, np.float64), np.asarray(f1, np.float64)

    @cached_property
    def by_ranking(self) -> dict[int, tuple[float, float]]:
        """ROC AUC and average precision of each class that is ranked against the rest."""
        found: dict[int, tuple[float, float]] = {}
        for number in {*self.answers.ranked, *self.truth.positives}:
            scores = self.answers.probs[:, number]
            ranking = Ranking.of(self.truth.y == number, scores, self.truth.weight)
            found[number] = (ranking.roc_auc, ranking.average_precision)
        return found


def _value(metric: Metric, parts: _Parts) -> float:  # noqa: C901 - a case each
    """Return a metric, NaN where it is undefined."""
    truth, answers, weight = parts.truth, parts.answers, parts.truth.weight
    if metric in ("roc_auc", "average_precision") and len(truth.classes) < 2:
        return math.nan
    match metric:
        case "accuracy":
            return float(np.average(answers.predicted == truth.y, weights=weight))
        case "balanced_accuracy":
            return float(parts.by_class[0].mean())
        case "macro_f1":
            return float(parts.by_class[1].mean())
        case "log_loss":
            return float(np.average(row_losses(truth, answers), weights=weight))
        case "brier":
            return float(np.average(row_briers(truth, answers), weights=weight))
        case "roc_auc":
            return float(np.mean([parts.by_ranking[number][0] for number in answers.ranked]))
        case "average_precision":
            return float(np.mean([parts.by_ranking[number][1] for number in truth.positives]))
        case "rmse":
            value = sk.root_mean_squared_error(truth.y, answers.predicted, sample_weight=weight)
            return float(value)
        case "mae":
            value = sk.mean_absolute_error(truth.y, answers.predicted, sample_weight=weight)
            return float(value)
        case "r2":
            return _r2(truth, answers)
        case _:
            assert_never(metric)


def _r2(truth: Truth, answers: Answers) -> float:
    if truth.y.min() == truth.y.max():
        return math.nan
    return float(sk.r2_score(truth.y, answers.predicted, sample_weight=truth.weight))


def all_finite(predictions: Predictions) -> bool:
    """Return whether every predicted value is a finite number."""
    return bool(np.isfinite(predictions.values).all())


def is_constant(predictions: Predictions) -> bool:
    """Return whether the predictions of all rows are equal."""
    values = predictions.values
    return len(values) > 1 and bool(np.all(values == values[:1]))
