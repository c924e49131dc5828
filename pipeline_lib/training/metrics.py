"""The validation metric of every epoch, by torchmetrics.

Like the final metrics it is over the classes that the rows hold, and None where it is undefined.
"""

import math
import warnings
from typing import assert_never

import torch
import torchmetrics
from torch import Tensor
from torchmetrics.classification import (
    BinaryAUROC,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
)

from pipeline_lib.config import Metric
from pipeline_lib.models import probabilities
from pipeline_lib.training.batches import EVAL_BATCH_ROWS
from pipeline_lib.training.rows import Rows


class Labels:
    """What the targets of a pass over rows hold; decides whether a metric is defined.

    Args:
        n_classes: of a classification; 0 for a regression.
    """

    def __init__(self, n_classes: int) -> None:
        self._counts = torch.zeros(n_classes, dtype=torch.int64)
        self._n_rows, self._least, self._most = 0, math.inf, -math.inf

    def update(self, y: Tensor) -> None:
        """Take targets ``(n_rows,)``, on the CPU."""
        self._n_rows += len(y)
        if len(self._counts):
            self._counts += torch.bincount(y.long(), minlength=len(self._counts))
        elif len(y):
            self._least = min(self._least, float(y.min()))
            self._most = max(self._most, float(y.max()))

    @property
    def held(self) -> Tensor:
        """Whether a class has a row, shape ``(n_classes,)``."""
        return self._counts > 0

    def why_undefined(self, metric: Metric) -> str:
        """Return why a metric is undefined on these rows; nothing if it is defined."""
        if metric == "roc_auc" and int(self.held.sum()) < 2:
            return f"they hold {int(self.held.sum())} of {len(self._counts)} classes"
        if metric == "r2" and not self._least < self._most:
            rows = "they are 1 row" if self._n_rows == 1 else "all have the same value"
            return rows if self._n_rows else "there are none"
        return ""


def why_undefined(metric: Metric, rows: Rows, *, n_classes: int) -> str:
    """Return why a metric will be undefined on rows whatever a model says; nothing if it will not.

    Args:
        metric: which one.
        rows: to validate on.
        n_classes: of a classification; 0 for a regression.
    """
    labels = Labels(n_classes)
    if metric in ("roc_auc", "r2"):
        for batch in rows.in_order(EVAL_BATCH_ROWS):
            labels.update(batch.y.cpu())
    return labels.why_undefined(metric)


class EpochMetric:
    """One metric over the batches of a validation pass, in the unit of the final one.

    Args:
        metric: which one.
        n_classes: of a classification; 0 for a regression.
        scale: the target's deviation, which turns standardized errors into its own unit.
    """

    def __init__(self, metric: Metric, *, n_classes: int = 0, scale: float = 1.0) -> None:
        self._metric: Metric = metric
        self._n_classes, self._scale = n_classes, scale
        self._state = build_metric(metric, n_classes=n_classes)
        self._labels = Labels(n_classes)

    def update(self, logits: Tensor, y: Tensor) -> None:
        """Take a batch of logits ``(n_rows, d_out)`` and targets ``(n_rows,)``."""
        if self._state is not None:
            self.add(probabilities(logits) if self._n_classes else logits, y)

    def add(self, scores: Tensor, y: Tensor) -> None:
        """Take a batch of scores, as `Model.scores` has them, and targets ``(n_rows,)``."""
        if self._state is None:
            return
        scores, y = scores.cpu(), y.cpu()
        self._labels.update(y)
        if self._n_classes == 0:
            self._state.update(scores[:, 0].float(), y)
            return
        binary_ranking = self._metric == "roc_auc" and self._n_classes == 2
        self._state.update(scores[:, 1] if binary_ranking else scores, y.long())

    def compute(self, val_loss: float) -> float | None:
        """Return the metric over all batches, None if it is undefined, and forget them."""
        if self._state is None:  # log_loss is the loss itself
            return val_loss
        labels, self._labels = self._labels, Labels(self._n_classes)
        value = math.nan
        if not labels.why_undefined(self._metric):
            with warnings.catch_warnings():  # of classes without a row, which are left out
                warnings.simplefilter("ignore")
                found: Tensor = self._state.compute()
            value = float(found[labels.held].mean()) if found.ndim else float(found)
        self._state.reset()
        if not math.isfinite(value):
            return None
        return value * self._scale if self._metric in ("rmse", "mae") else value


def build_metric(metric: Metric, *, n_classes: int) -> torchmetrics.Metric | None:
    """Build torchmetrics' metric; None for `log_loss`, which the loss already is.

    `macro_f1` and the `roc_auc` of several classes have a value per class.
    """
    match metric:
        case "accuracy":
            return MulticlassAccuracy(num_classes=n_classes, average="micro")
        case "macro_f1":
            return MulticlassF1Score(num_classes=n_classes, average="none")
        case "roc_auc" if n_classes == 2:
            return BinaryAUROC()
        case "roc_auc":
            return MulticlassAUROC(num_classes=n_classes, average="none")
        case "log_loss":
            return None
        case "rmse":
            return torchmetrics.MeanSquaredError(squared=False)
        case "mae":
            return torchmetrics.MeanAbsoluteError()
        case "r2":
            return torchmetrics.R2Score()
        case _:
            assert_never(metric)
