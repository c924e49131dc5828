"""The weights of rows as losses want them: only their ratios count.

Those of the training rows have the mean 1, so a learning rate or a penalty means what it means
without weights. Rows of weight 0 are not encoded: they count nowhere, so nothing is learned of
them, not even a category or a mean.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

# A weight above 0 stays above 0 in float32, and a large one finite.
_LEAST, _MOST = float(np.finfo(np.float32).tiny), 1e30


@dataclass(frozen=True)
class RowWeights:
    """A column of weights, and the mean of those of the training rows that are above 0."""

    column: str
    mean: float

    @classmethod
    def fit(cls, column: str, train: pa.Table) -> "RowWeights":
        """Learn the mean from typed training rows; at least one weight is above 0."""
        fitter = WeightsFitter(column)
        fitter.add(train[column])
        return fitter.finish()

    def encode(self, values: pa.ChunkedArray) -> npt.NDArray[np.float32]:
        """Return weights in units of the mean, shape ``(n_rows,)``.

        Args:
            values: of type float64, none of them null, all of them above 0.
        """
        with np.errstate(over="ignore"):
            ratios = values.to_numpy() / self.mean
        return np.clip(ratios, _LEAST, _MOST).astype(np.float32)


class WeightsFitter:
    """Learns `RowWeights` from training rows, batch by batch; sums cannot overflow."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._mean, self._n_rows = 0.0, 0

    def add(self, values: pa.ChunkedArray) -> None:
        """Look at the weights of training rows; those of 0 do not count."""
        weights: npt.NDArray[np.float64] = values.to_numpy()
        weights = weights[weights > 0]
        if len(weights):
            largest = float(weights.max())
            mean = largest * float((weights / largest).mean())
            self._n_rows += len(weights)
            self._mean += (mean - self._mean) * (len(weights) / self._n_rows)

    def finish(self) -> RowWeights:
        """Return what was learned."""
        assert self._mean > 0, "a split without a weight above 0 is refused before"
        return RowWeights(self._column, self._mean)


def counting(rows: pa.Table, column: str | None) -> pa.Table:
    """Return the rows whose weight is above 0; all where there is no column of weights."""
    return rows if column is None else rows.filter(pc.greater(rows[column], 0.0))
