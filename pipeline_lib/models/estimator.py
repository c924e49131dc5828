"""Models that are fitted in one call: no epochs, no checkpoints, no first weights.

An interrupted fit starts over. What a fit gives is any `Model`: a torch module is not asked for.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.models.model import Dimensions, Kind, Model


class Batch(Protocol):
    """Encoded rows as tensors on a device: `x_cat`, `x_num`, and `y` of shape ``(n_rows,)``.

    `weight` is None where all rows count alike.
    """

    @property
    def x_cat(self) -> Tensor:
        """Codes, int32, shape ``(n_rows, n_category_columns)``."""
        ...

    @property
    def x_num(self) -> Tensor:
        """Scaled numbers, float32, shape ``(n_rows, n_numeric)``."""
        ...

    @property
    def y(self) -> Tensor:
        """Class numbers, or standardized numbers."""
        ...

    @property
    def weight(self) -> Tensor | None:
        """Weights above 0, float32, shape ``(n_rows,)``; of all training rows their mean is 1."""
        ...


class BatchSource(Protocol):
    """A split's rows, held in memory or streamed from the disk."""

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        ...

    @property
    def device(self) -> torch.device:
        """Where batches lie."""
        ...

    def in_order(self, batch_rows: int) -> Iterator[Batch]:
        """Yield all rows as they lie, at most `batch_rows` at a time."""
        ...


class SummedLoss(Protocol):
    """The loss of the config, with its class weights and smoothing."""

    def summed(self, logits: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the weighted sum over rows; logits ``(n_rows, d_out)``, others ``(n_rows,)``."""
        ...


@dataclass(frozen=True)
class FitInput:
    """What a fit is given; which of `training` it heeds is its settings' docstring's to say.

    Args:
        train: rows to learn from.
        val: rows to choose by, as for early stopping.
        dimensions: of both.
        loss: of the config.
        training: of the config.
        report: to be called now and then with passes over the rows that are done, and how many
            there are at most.
        class_weights: the loss's weight of each class, shape ``(n_classes,)``; None: all alike.
    """

    train: BatchSource
    val: BatchSource
    dimensions: Dimensions
    loss: SummedLoss
    training: TrainingSettings
    report: Callable[[int, int], None]
    class_weights: Tensor | None = None


@dataclass(frozen=True)
class EstimatorKind(Kind):
    """A kind of model that is fitted in one call."""

    @abstractmethod
    def fit(self, given: FitInput) -> Model:
        """Return a model of the training rows; the same rows and settings give the same one.

        Raises:
            TrainingError: there is none.
        """

    def refit(self, fitted: Model, given: FitInput) -> Model | None:
        """Return a model of more rows, with what `fitted` chose by its validation rows.

        Args:
            fitted: what `fit` returned for the training rows alone.
            given: `train` holds training and validation rows; `val` is not to be looked at.

        Returns:
            The model; None of a kind that is not fitted again.
        """
        del fitted, given
        return None
