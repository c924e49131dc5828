"""The validation metric of every epoch, by torchmetrics; of weighted rows see `weighted_metrics`.

Like the final metrics it is over the classes that the rows hold, and None where it is undefined.
"""

import math
import warnings
from collections.abc import Sequence
from typing import assert_never

import numpy as np
import torch
import torchmetrics
from torch import Tensor
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MulticlassF1Score,
    MulticlassRecall,
)

from pipeline_lib.config.metrics import METRIC_FACTS, Metric
from pipeline_lib.encoding.log_scale import LogScale
from pipeline_lib.models import probabilities
from pipeline_lib.training.batches import EVAL_BATCH_ROWS
from pipeline_lib.training.rows import Rows
from pipeline_lib.training.weighted_metrics import weighted_metric


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
        match metric:
            case "roc_auc" | "average_precision":
                n_held = int(self.held.sum())
                return f"they hold {n_held} of {len(self._counts)} classes" if n_held < 2 else ""
            case "r2":
                if self._least < self._most:
                    return ""
                rows = "they are 1 row" if self._n_rows == 1 else "all have the same value"
                return rows if self._n_rows else "there are none"
            case "accuracy" | "balanced_accuracy" | "macro_f1" | "log_loss" | "brier":
                return ""
            case "rmse" | "mae":
                return ""
            case _:
                assert_never(metric)


def why_undefined(metric: Metric, rows: Rows, *, n_classes: int) -> str:
    """Return why a metric will be undefined on rows whatever a model says; nothing if it will not.

    Args:
        metric: which one.
        rows: to validate on.
        n_classes: of a classification; 0 for a regression.
    """
    labels = Labels(n_classes)
    if labels.why_undefined(metric):  # undefined without a row: the rows decide
        for batch in rows.in_order(EVAL_BATCH_ROWS):
            labels.update(batch.y.cpu())
    return labels.why_undefined(metric)


class EpochMetric:
    """One metric over the batches of a validation pass, in the unit of the final one.

    Rows either all have a weight or none has; weighted ones, and those of a target on the log
    scale, are held until `compute`.

    Args:
        metric: which one.
        n_classes: of a classification; 0 for a regression.
        scale: the target's deviation, which turns standardized errors into its own unit.
        log: of a target on the log scale. Values are compared in their own unit, predictions with
            the factor of the same rows.
    """

    def __init__(
        self,
        metric: Metric,
        *,
        n_classes: int = 0,
        scale: float = 1.0,
        log: LogScale | None = None,
    ) -> None:
        self._metric: Metric = metric
        self._n_classes, self._scale, self._log = n_classes, scale, log
        # Weights are of all rows together, and so is the factor of the log scale.
        self._waiting: list[tuple[Tensor, Tensor, Tensor | None]] = []
        self._state = build_metric(metric, n_classes=n_classes)
        self._labels = Labels(n_classes)

    def update(self, logits: Tensor, y: Tensor, weight: Tensor | None = None) -> None:
        """Take a batch of logits ``(n_rows, d_out)``, targets and weights ``(n_rows,)``."""
        if self._state is not None:
            self.add(probabilities(logits) if self._n_classes else logits, y, weight)

    def add(self, scores: Tensor, y: Tensor, weight: Tensor | None = None) -> None:
        """Take scores, as `Model.scores` has them, and targets and weights ``(n_rows,)``."""
        if self._state is None:
            return
        scores, y = scores.cpu(), y.cpu()
        self._labels.update(y)
        if self._log is not None or weight is not None:
            self._waiting.append((scores, y, None if weight is None else weight.cpu()))
            return
        if self._n_classes == 0:
            self._state.update(scores[:, 0].float(), y)
            return
        self._state.update(scores[:, 1] if self._is_of_the_positive_class else scores, y.long())

    @property
    def _is_of_the_positive_class(self) -> bool:
        return self._n_classes == 2 and self._metric in ("roc_auc", "average_precision")

    def compute(self, val_loss: float) -> float | None:
        """Return the metric over all batches, None if it is undefined, and forget them."""
        if self._state is None:  # log_loss is the loss itself
            return val_loss
        labels, self._labels = self._labels, Labels(self._n_classes)
        value, waiting, self._waiting = math.nan, self._waiting, []
        if labels.why_undefined(self._metric):
            pass
        elif waiting:
            value = self._of_all(waiting)
        else:
            with warnings.catch_warnings():  # of classes without a row, which are left out
                warnings.simplefilter("ignore")
                found: Tensor = self._state.compute()
            value = float(found[labels.held].mean()) if found.ndim else float(found)
        self._state.reset()
        if not math.isfinite(value):
            return None
        return value * self._scale if METRIC_FACTS[self._metric].unit == "target" else value

    def _of_all(self, waiting: Sequence[tuple[Tensor, Tensor, Tensor | None]]) -> float:
        """Return the metric of rows that were held: weighted ones, or those of the log scale."""
        scores = torch.cat([part[0] for part in waiting]).double()
        y = torch.cat([part[1] for part in waiting]).double()
        weights = [part[2].double() for part in waiting if part[2] is not None]
        weight = torch.cat(weights).numpy() if weights else None
        if self._log is not None:
            # In deviations: squares of large values stay finite.
            outputs, encoded = scores[:, 0].numpy(), y.numpy()
            predicted = self._log.with_factor(outputs, encoded, weight).decode(outputs)
            scores = torch.from_numpy(predicted / self._scale)[:, None]
            y = torch.from_numpy(self._log.values(encoded) / self._scale)
        if weight is not None:
            plain = scores.numpy()
            is_finite = np.isfinite(plain).all()
            return (
                weighted_metric(self._metric, plain, y.numpy(), weight) if is_finite else math.nan
            )
        assert self._state is not None, "rows of a metric without a state are not held"
        self._state.update(scores[:, 0].float(), y.float())
        return float(self._state.compute())


class BrierScore(torchmetrics.Metric):
    """The Brier score, as scikit-learn scales it.

    Of two classes the mean squared error of the positive one's probability, 0 to 1; of more the
    mean sum of squared errors over the classes that have a row, 0 to 2. torchmetrics has none.

    Args:
        n_classes: of the probabilities.
    """

    squares: Tensor
    own: Tensor
    counts: Tensor

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.add_state("squares", torch.zeros(n_classes, dtype=torch.float64), "sum")
        self.add_state("own", torch.zeros((), dtype=torch.float64), "sum")
        self.add_state("counts", torch.zeros(n_classes, dtype=torch.int64), "sum")

    def update(self, probs: Tensor, y: Tensor) -> None:
        """Take probabilities ``(n_rows, n_classes)`` and class numbers ``(n_rows,)``."""
        self.squares += probs.square().sum(dim=0, dtype=torch.float64)
        self.own += probs.gather(1, y[:, None]).sum(dtype=torch.float64)
        self.counts += torch.bincount(y, minlength=len(self.counts))

    def compute(self) -> Tensor:
        """Return the score of all rows."""
        n_rows, is_binary = self.counts.sum(), len(self.counts) == 2
        held = torch.ones_like(self.counts, dtype=torch.bool) if is_binary else self.counts > 0
        total = self.squares[held].sum() + n_rows - 2 * self.own
        return total / n_rows / (2 if is_binary else 1)


def build_metric(  # noqa: C901 - a case each
    metric: Metric, *, n_classes: int
) -> torchmetrics.Metric | None:
    """Build torchmetrics' metric; None for `log_loss`, which the loss already is.

    `macro_f1`, `balanced_accuracy` and the rankings of several classes have a value per class.
    """
    match metric:
        case "accuracy":
            return MulticlassAccuracy(num_classes=n_classes, average="micro")
        case "balanced_accuracy":
            return MulticlassRecall(num_classes=n_classes, average="none")
        case "macro_f1":
            return MulticlassF1Score(num_classes=n_classes, average="none")
        case "brier":
            return BrierScore(n_classes)
        case "roc_auc":
            many = MulticlassAUROC(num_classes=n_classes, average="none")
            return BinaryAUROC() if n_classes == 2 else many
        case "average_precision":
            many = MulticlassAveragePrecision(num_classes=n_classes, average="none")
            return BinaryAveragePrecision() if n_classes == 2 else many
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
