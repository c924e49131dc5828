"""The validation metric of rows that have weights: torchmetrics' metrics know none.

Like the final metrics it is over the classes that the rows hold.
"""

from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from pipeline_lib.config.metrics import Metric

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def weighted_metric(metric: Metric, scores: Floats, y: Floats, weight: Floats) -> float:
    """Return a metric, in the unit of the scores; it is defined on these rows.

    Args:
        metric: which one; `log_loss` is the loss itself.
        scores: as `Model.scores` has them, ``(n_rows, n_classes)`` or ``(n_rows, 1)``.
        y: class numbers or numbers, ``(n_rows,)``.
        weight: above 0, ``(n_rows,)``.
    """
    from sklearn import metrics as sk

    match metric:
        case "rmse":
            return float(sk.root_mean_squared_error(y, scores[:, 0], sample_weight=weight))
        case "mae":
            return float(sk.mean_absolute_error(y, scores[:, 0], sample_weight=weight))
        case "r2":
            return float(sk.r2_score(y, scores[:, 0], sample_weight=weight))
        case _:
            return _of_classes(metric, scores, y.astype(np.int64), weight)


def _of_classes(metric: Metric, scores: Floats, y: Ints, weight: Floats) -> float:
    from sklearn import metrics as sk

    held, predicted = np.unique(y), scores.argmax(axis=1)
    of_classes: dict[str, Any] = {"labels": held, "average": "macro", "zero_division": 0}
    of_classes["sample_weight"] = weight
    match metric:
        case "accuracy":
            return float(np.average(predicted == y, weights=weight))
        case "balanced_accuracy":
            return float(sk.recall_score(y, predicted, **of_classes))
        case "macro_f1":
            return float(sk.f1_score(y, predicted, **of_classes))
        case "brier":
            return _brier(scores, y, weight)
        case "roc_auc" | "average_precision":
            score = sk.roc_auc_score if metric == "roc_auc" else sk.average_precision_score
            positives = [1] if scores.shape[1] == 2 else held.tolist()
            values = [score(y == c, scores[:, c], sample_weight=weight) for c in positives]
            return float(np.mean(values))
        case "log_loss" | "rmse" | "mae" | "r2":
            raise AssertionError(f"{metric} is no metric of classes that is computed here")
        case _:
            assert_never(metric)


def _brier(probs: Floats, y: Ints, weight: Floats) -> float:
    """Return the Brier score; see `metrics.BrierScore`."""
    own = probs[np.arange(len(y)), y]
    if probs.shape[1] == 2:
        return float(np.average((1 - own) ** 2, weights=weight))
    squares = (probs[:, np.unique(y)] ** 2).sum(axis=1) - 2 * own + 1
    return float(np.average(squares, weights=weight))
