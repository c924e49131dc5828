"""The task decides the loss, and how logits become probabilities."""

from collections.abc import Sequence
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.config.data import Task
from pipeline_lib.config.pipeline import refuse_unknown_classes as _refuse_unknown_classes
from pipeline_lib.config.training import CrossEntropy, Huber, LossSettings, SquaredError
from pipeline_lib.errors import TrainingError


class TaskLoss(nn.Module):
    """The mean loss of rows, and its two parts: a sum over rows and what it is divided by.

    The parts let a batch be computed in pieces whose gradients add up to the whole batch's.
    Two classes with one logit have the loss of two logits, weights and smoothing included.

    Shape:
        logits ``(n_rows, d_out)``; y ``(n_rows,)``: class numbers, 0/1, or floats.
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

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the mean loss."""
        return self.summed(logits, y) / self.mass(y)

    def mass(self, y: Tensor) -> Tensor | int:
        """Return the rows' number, or the sum of the weights of their classes."""
        return len(y) if self.weights is None else self.weights[y.long()].sum()

    def summed(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the sum over rows of the weighted loss."""
        match self._settings:
            case CrossEntropy(label_smoothing=smoothing):
                weights = None if self.weights is None else self.weights.to(logits)
                if self._task == "multiclass":
                    return functional.cross_entropy(
                        logits,
                        y,
                        weight=weights,
                        label_smoothing=smoothing,
                        reduction="sum",
                    )
                return _of_one_logit(logits[:, 0], y.to(logits.dtype), smoothing, weights)
            case SquaredError():
                return functional.mse_loss(logits[:, 0], y.to(logits.dtype), reduction="sum")
            case Huber(delta=delta):
                numbers = y.to(logits.dtype)
                return functional.huber_loss(logits[:, 0], numbers, reduction="sum", delta=delta)
            case _:
                assert_never(self._settings)


def _of_one_logit(logits: Tensor, y: Tensor, smoothing: float, weights: Tensor | None) -> Tensor:
    smooth = y * (1 - smoothing) + smoothing / 2 if smoothing else y
    if weights is None:
        return functional.binary_cross_entropy_with_logits(logits, smooth, reduction="sum")
    negative, positive = weights
    losses = functional.binary_cross_entropy_with_logits(
        logits, smooth, reduction="sum", pos_weight=positive / negative
    )
    return negative * losses


def build_loss(task: Task, settings: LossSettings | None = None) -> TaskLoss:
    """Return the mean loss of a batch: BCE with logits, cross entropy, MSE or Huber.

    Smoothing and weights are left out: this is the loss of validation.
    """
    return TaskLoss(task, settings if isinstance(settings, Huber) else None)


def class_weights(
    settings: LossSettings | None, classes: Sequence[str], counts: Tensor
) -> Tensor | None:
    """Return a weight per class, shape ``(n_classes,)``, or None where all count alike.

    Args:
        settings: of the loss.
        classes: names, by number.
        counts: training rows of each class.

    Raises:
        TrainingError: a weight is of a class that does not exist.
    """
    if not isinstance(settings, CrossEntropy) or settings.class_weights is None:
        return None
    if settings.class_weights == "balanced":
        return counts.sum() / (len(classes) * counts.clamp(min=1).float())
    try:
        _refuse_unknown_classes(settings.class_weights, classes)
    except ValueError as error:
        raise TrainingError(str(error)) from None
    return torch.tensor([settings.class_weights.get(name, 1.0) for name in classes])
