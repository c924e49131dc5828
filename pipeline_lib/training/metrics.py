"""The validation metric of every epoch, by torchmetrics."""

from typing import assert_never

import torchmetrics
from torch import Tensor
from torchmetrics.classification import (
    BinaryAUROC,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassF1Score,
)

from pipeline_lib.config import Metric
from pipeline_lib.training.losses import probabilities


class EpochMetric:
    """One metric over the batches of a validation pass, in the unit of the final one.

    Args:
        metric: which one.
        n_classes: of a classification; 0 for a regression.
        scale: the target's deviation, which turns standardized errors into its own unit.
    """

    def __init__(self, metric: Metric, *, n_classes: int = 0, scale: float = 1.0) -> None:
        self._metric, self._n_classes, self._scale = metric, n_classes, scale
        self._state = build_metric(metric, n_classes=n_classes)

    def update(self, logits: Tensor, y: Tensor) -> None:
        """Take a batch of logits ``(n_rows, d_out)`` and targets ``(n_rows,)``."""
        if self._state is None:
            return
        if self._n_classes == 0:
            self._state.update(logits[:, 0].cpu(), y.cpu())
            return
        probs = probabilities(logits).cpu()
        binary_ranking = self._metric == "roc_auc" and self._n_classes == 2
        self._state.update(probs[:, 1] if binary_ranking else probs, y.long().cpu())

    def compute(self, val_loss: float) -> float:
        """Return the metric over all batches and forget them."""
        if self._state is None:  # log_loss is the loss itself
            return val_loss
        value = float(self._state.compute())
        self._state.reset()
        return value * self._scale if self._metric in ("rmse", "mae") else value


def build_metric(metric: Metric, *, n_classes: int) -> torchmetrics.Metric | None:
    """Build torchmetrics' metric; None for `log_loss`, which the loss already is."""
    match metric:
        case "accuracy":
            return MulticlassAccuracy(num_classes=n_classes, average="micro")
        case "macro_f1":
            return MulticlassF1Score(num_classes=n_classes, average="macro")
        case "roc_auc":
            return BinaryAUROC() if n_classes == 2 else MulticlassAUROC(num_classes=n_classes)
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
