"""Encoded rows as LightGBM reads them: in batches, so that its bins alone are in memory."""

from collections.abc import Iterator
from typing import Protocol

import lightgbm
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline_lib.config.training import CrossEntropy
from pipeline_lib.models.estimator import BatchSource, FitInput
from pipeline_lib.models.model import Dimensions

BATCH_ROWS = 65_536


class Features(Protocol):
    """What trees see of rows beside codes and numbers."""

    @property
    def width(self) -> int:
        """The number of columns."""
        ...

    def features(self, x_cat: npt.NDArray[np.int32], start: int = 0) -> npt.NDArray[np.float32]:
        """Return them, shape ``(n_rows, width)``; `start` is the first row's number."""
        ...


class BoostingRows(lightgbm.Sequence):
    """A split's rows: codes, numbers, and more features, shape ``(n_rows, width)`` float64.

    LightGBM asks for rows in ascending order, twice: some for the borders of its bins, then all.

    Args:
        rows: of the split.
        dimensions: of it.
        more: features beside codes and numbers.
    """

    batch_size = BATCH_ROWS

    def __init__(self, rows: BatchSource, dimensions: Dimensions, more: Features) -> None:
        self._rows, self._dimensions, self._more = rows, dimensions, more
        self._restart()

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._rows.n_rows

    def __getitem__(self, index: int | slice | list[int]) -> npt.NDArray[np.float64]:
        """Return a row, or rows `start` to `stop`."""
        if isinstance(index, slice):
            return self._between(index.start, index.stop)
        assert not isinstance(index, list), "rows are never asked for by a list"
        return self._between(int(index), int(index) + 1)[0]

    def dataset(
        self,
        params: dict[str, object],
        given: FitInput,
        *,
        reference: lightgbm.Dataset | None = None,
    ) -> lightgbm.Dataset:
        """Return the rows with their targets, in bins.

        Args:
            params: of LightGBM.
            given: has the weights of classes, which only training rows have; the weights of rows
                multiply them, in validation rows too.
            reference: training rows, whose bins validation rows have.
        """
        batches = [(batch.y.cpu(), batch.weight) for batch in self._rows.in_order(BATCH_ROWS)]
        y = torch.cat([part for part, _ in batches])
        weights = [weight.cpu().double() for _, weight in batches if weight is not None]
        of_rows = torch.cat(weights).numpy() if weights else None
        n_codes = len(self._dimensions.cardinalities)
        width = n_codes + self._dimensions.n_numeric + self._more.width
        made = lightgbm.Dataset(
            self,
            label=y.double().numpy(),
            weight=_weights(y, given, of_rows, is_train=reference is None),
            reference=reference,
            feature_name=[f"f{number}" for number in range(width)],
            categorical_feature=list(range(n_codes)),
            params=params,
        )
        return made.construct()

    def _between(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        if start < self._start:
            self._restart()
        parts: list[npt.NDArray[np.float64]] = []
        while start < stop:
            while start >= self._start + len(self._held):
                self._start += len(self._held)
                self._held = next(self._batches)
            part = self._held[start - self._start : stop - self._start]
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _restart(self) -> None:
        self._start, self._held = 0, np.empty((0, 0))
        self._batches = self._inputs()

    def _inputs(self) -> Iterator[npt.NDArray[np.float64]]:
        start = 0
        for batch in self._rows.in_order(BATCH_ROWS):
            x_cat, x_num = batch.x_cat.cpu().numpy(), batch.x_num.cpu().numpy()
            more = self._more.features(x_cat, start)
            yield np.concatenate([x_cat, x_num, more], axis=1, dtype=np.float64)
            start += len(x_cat)


def outputs_of(y: Tensor, dimensions: Dimensions) -> npt.NDArray[np.float64]:
    """Return what statistics are of: numbers, or 0 and 1, for each class of more than two."""
    values = y.cpu().numpy()
    if dimensions.n_classes > 2:
        return np.eye(dimensions.n_classes)[values.astype(np.int64)]
    return values.astype(np.float64)[:, None]


def _weights(
    y: Tensor, given: FitInput, of_rows: npt.NDArray[np.float64] | None, *, is_train: bool
) -> npt.NDArray[np.float64] | None:
    """Return the weight of each row in the loss, times its class's; None where no split has any.

    A split that is made by reference to a weighted one has weights of 0 unless it is given its own
    (LightGBM 4.7, with rows in batches), and weights of 1 it takes for none.
    """
    has_classes = isinstance(given.training.loss, CrossEntropy)
    of_class = given.class_weights if has_classes else None
    if of_class is None and of_rows is None:
        return None
    weights = np.ones(len(y)) if of_rows is None else of_rows
    if is_train:
        return weights if of_class is None else weights * of_class.cpu().double()[y.long()].numpy()
    return np.full(len(y), 2.0) if (weights == weights[0]).all() else weights
