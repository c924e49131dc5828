"""The task decides the loss, and how logits become probabilities."""

from collections.abc import Sequence
from typing import Literal, assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.config.data import Task
from pipeline_lib.config.pipeline import refuse_unknown_classes as _refuse_unknown_classes
from pipeline_lib.config.training import CrossEntropy, Huber, LossSettings, SquaredError
from pipeline_lib.errors import TrainingError

Reduction = Literal["none", "sum"]


class TaskLoss(nn.Module):
    """The mean loss of rows, and its two parts: a sum over rows and what it is divided by.

    Of rows with weights it is the weighted mean; the weights of classes multiply those of rows. The
    parts let a batch be computed in pieces whose gradients add up to the whole batch's.
    Two classes with one logit have the loss of two logits, weights and smoothing included.

    Shape:
        logits ``(n_rows, d_out)``; y ``(n_rows,)``: class numbers, 0/1, or floats; weight
        ``(n_rows,)``, None where all rows count alike.
    """

    def __init__(
        self, task: Task, settings: LossSettings | None = None, weights: Tensor | None = None
    ) -> None:
        super().__init__()
        self._task = task
        default = SquaredError() if task == "regression" else CrossEntropy()
        self._settings = settings or default
        self.weights: Tensor | None
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the mean loss."""
        return self.summed(logits, y, weight) / self.mass(y, weight)

    def mass(self, y: Tensor, weight: Tensor | None = None) -> Tensor | int:
        """Return the rows' number, or the sum of their weights and those of their classes."""
        if self.weights is None:
            return len(y) if weight is None else weight.sum()
        of_class = self.weights[y.long()]
        return of_class.sum() if weight is None else (of_class * weight).sum()

    def summed(self, logits: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the sum over rows of the weighted loss."""
        if weight is None:
            return self._losses(logits, y, "sum")
        return (self._losses(logits, y, "none") * weight.to(logits)).sum()

    def _losses(self, logits: Tensor, y: Tensor, reduction: Reduction) -> Tensor:
        match self._settings:
            case CrossEntropy(label_smoothing=smoothing):
                weights = None if self.weights is None else self.weights.to(logits)
                if self._task == "multiclass":
                    return functional.cross_entropy(
                        logits,
                        y,
                        weight=weights,
                        label_smoothing=smoothing,
                        reduction=reduction,
                    )
                numbers = y.to(logits.dtype)
                return _of_one_logit(logits[:, 0], numbers, smoothing, weights, reduction)
            case SquaredError():
                return functional.mse_loss(logits[:, 0], y.to(logits.dtype), reduction=reduction)
            case Huber(delta=delta):
                numbers = y.to(logits.dtype)
                return functional.huber_loss(
                    logits[:, 0], numbers, reduction=reduction, delta=delta
                )
            case _:
                assert_never(self._settings)


def _of_one_logit(
    logits: Tensor, y: Tensor, smoothing: float, weights: Tensor | None, reduction: Reduction
) -> Tensor:
    smooth = y * (1 - smoothing) + smoothing / 2 if smoothing else y
    if weights is None:
        return functional.binary_cross_entropy_with_logits(logits, smooth, reduction=reduction)
    negative, positive = weights
    losses = functional.binary_cross_entropy_with_logits(
        logits, smooth, reduction=reduction, pos_weight=positive / negative
    )
    return negative * losses


def build_loss(task: Task, settings: LossSettings | None = None) -> TaskLoss:
    """Return the mean loss of a batch: BCE with logits, cross entropy, MSE or Huber.

    Smoothing and weights of classes are left out: this is the loss of validation.
    """
    return TaskLoss(task, settings if isinstance(settings, Huber) else None)


def class_weights(
    settings: LossSettings | None, classes: Sequence[str], counts: Tensor
) -> Tensor | None:
    """Return a weight per class, shape ``(n_classes,)``, or None where all count alike.

    Args:
        settings: of the loss.
        classes: names, by number.
        counts: training rows of each class, or the sum of their weights.

    Raises:
        TrainingError: a weight is of a class that does not exist.
    """
    if not isinstance(settings, CrossEntropy) or settings.class_weights is None:
        return None
    if settings.class_weights == "balanced":
        held = torch.where(counts > 0, counts, 1)
        return (counts.sum() / (len(classes) * held.float())).float()
    try:
        _refuse_unknown_classes(settings.class_weights, classes)
    except ValueError as error:
        raise TrainingError(str(error)) from None
    return torch.tensor([settings.class_weights.get(name, 1.0) for name in classes])
