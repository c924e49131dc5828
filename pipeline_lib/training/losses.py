"""The task decides the loss, and how logits become probabilities."""

from typing import assert_never

import torch
from torch import Tensor, nn

from pipeline_lib.config import Task


def build_loss(task: Task) -> nn.Module:
    """Return the mean loss of a batch: BCE with logits, cross entropy, or MSE.

    Shape:
        logits ``(n_rows, d_out)``; y ``(n_rows,)``: class numbers (int64), 0/1, or floats.
    """
    match task:
        case "binary":
            return _OnSingleLogit(nn.BCEWithLogitsLoss())
        case "multiclass":
            return nn.CrossEntropyLoss()
        case "regression":
            return _OnSingleLogit(nn.MSELoss())
        case _:
            assert_never(task)


def probabilities(logits: Tensor) -> Tensor:
    """Return class probabilities, shape ``(n_rows, n_classes)``; one logit means two classes."""
    if logits.shape[1] == 1:
        positive = torch.sigmoid(logits)
        return torch.cat([1 - positive, positive], dim=1)
    return torch.softmax(logits, dim=1)


class _OnSingleLogit(nn.Module):
    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, logits: Tensor, y: Tensor) -> Tensor:
        return self.loss(logits[:, 0], y.to(logits.dtype))
