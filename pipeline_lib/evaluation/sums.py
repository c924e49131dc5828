"""Each metric as a function of sums over rows; see `weighted`. Imports nothing heavy."""

from collections.abc import Callable, Sequence
from typing import assert_never

import numpy as np
import numpy.typing as npt

from pipeline_lib.config.metrics import Metric
from pipeline_lib.evaluation.answers import Answers, Floats, Truth, row_briers, row_losses
from pipeline_lib.evaluation.rankings import (
    MAX_RANKED,
    placement_sums,
    precision_sums,
    ranked_sums,
)
from pipeline_lib.evaluation.weighted import Sums, shares


def sums_of(metric: Metric, truth: Truth, answers: Answers) -> Sums:
    """Return a metric of a model's answers as sums; weights of the truth's rows are in them."""
    sums = _sums_of(metric, truth, answers)
    return sums if truth.weight is None else sums.times(truth.weight)


def _sums_of(metric: Metric, truth: Truth, answers: Answers) -> Sums:  # noqa: C901 - a case each
    match metric:
        case "accuracy":
            return _means([answers.predicted == truth.y], lambda sums: sums[0] / sums[1])
        case "log_loss":
            return _means([row_losses(truth, answers)], lambda sums: sums[0] / sums[1])
        case "macro_f1":
            return _macro_f1(truth, answers)
        case "balanced_accuracy":
            return _balanced_accuracy(truth, answers)
        case "brier":
            return _means([row_briers(truth, answers)], lambda sums: sums[0] / sums[1])
        case "average_precision":
            return precision_sums(truth, answers)
        case "roc_auc":
            is_small = truth.n_rows * len(answers.ranked) <= MAX_RANKED
            return (ranked_sums if is_small else placement_sums)(truth, answers)
        case "rmse":
            squares = (answers.predicted - truth.y) ** 2
            return _means([squares], lambda sums: np.sqrt(sums[0] / sums[1]))
        case "mae":
            errors = np.abs(answers.predicted - truth.y)
            return _means([errors], lambda sums: sums[0] / sums[1])
        case "r2":
            centered = truth.y - truth.y.mean()
            squares = (answers.predicted - truth.y) ** 2
            return _means([squares, centered, centered**2], _r2)
        case _:
            assert_never(metric)


def _means(columns: Sequence[npt.NDArray[np.generic]], metric: Callable[[Floats], Floats]) -> Sums:
    """Return sums of columns ``(n_rows,)``; the number of rows is the last one."""
    values = [*(column.astype(np.float64) for column in columns), np.ones(len(columns[0]))]
    n_rows, n_sums = len(values[0]), len(values)
    return Sums(
        np.repeat(np.arange(n_sums), n_rows),
        np.tile(np.arange(n_rows), n_sums),
        np.concatenate(values),
        n_sums,
        metric,
    )


def _r2(sums: Floats) -> Floats:
    errors, y, squares, n_rows = sums
    spread = squares - y**2 / n_rows
    # Rows of one value have a spread of rounding errors alone.
    return 1 - shares(errors, np.where(spread > 1e-12 * squares, spread, 0.0))


def _macro_f1(truth: Truth, answers: Answers) -> Sums:
    """Return macro_f1 as sums: of each class the actual, the hit and the predicted rows."""
    n_classes, y = len(truth.classes), truth.y.astype(np.int32)
    predicted = answers.predicted.astype(np.int32)
    hits = np.flatnonzero(predicted == y).astype(np.int32)
    known = np.flatnonzero(predicted >= 0).astype(np.int32)
    index = np.concatenate([y, n_classes + y[hits], 2 * n_classes + predicted[known]])
    row = np.concatenate([np.arange(len(y), dtype=np.int32), hits, known])

    def metric(sums: Floats) -> Floats:
        return mean_f1(*sums.reshape(3, n_classes, -1))

    ones = np.broadcast_to(np.float64(1.0), index.shape)
    return Sums(index, row, ones, 3 * n_classes, metric)


def _balanced_accuracy(truth: Truth, answers: Answers) -> Sums:
    n_classes, y = len(truth.classes), truth.y.astype(np.int32)
    hits = np.flatnonzero(answers.predicted == truth.y).astype(np.int32)
    index = np.concatenate([y, n_classes + y[hits]])
    row = np.concatenate([np.arange(len(y), dtype=np.int32), hits])

    def metric(sums: Floats) -> Floats:
        actual, hit = sums.reshape(2, n_classes, -1)
        held = actual > 0
        recall = np.where(held, hit / np.maximum(actual, 1e-300), 0.0)
        return shares(recall.sum(axis=0), held.sum(axis=0))

    return Sums(index, row, np.broadcast_to(np.float64(1.0), index.shape), 2 * n_classes, metric)


def mean_f1(actual: Floats, hit: Floats, said: Floats) -> Floats:
    """Return the mean F1 of classes with a row; numbers of rows are ``(n_classes, n)``."""
    held = actual > 0
    f1 = np.where(held, 2 * hit / np.maximum(actual + said, 1e-300), 0.0)
    return shares(f1.sum(axis=0), held.sum(axis=0))
