"""The weights of test rows: read with the rows, kept with the predictions, and what they come to.

A row of weight 0 is predicted like any other, and left out before anything is scored.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.config.data import DataSettings
from pipeline_lib.data.contract.declared import conform, weight_column
from pipeline_lib.evaluation.answers import Floats, effective_rows
from pipeline_lib.serving import Predictions
from pipeline_lib.wording import rows_that

# The column of the kept test predictions.
WEIGHT = "weight"


@dataclass(frozen=True)
class CountedRows:
    """True values of the rows that count, and their weights; None where all count alike."""

    actual: pa.ChunkedArray
    weight: Floats | None
    kept: pa.ChunkedArray | None = None

    @classmethod
    def of(cls, actual: pa.ChunkedArray, weight: Floats | None) -> "CountedRows":
        """Return the rows whose weight is above 0; all where there are no weights."""
        if weight is None:
            return cls(actual, None)
        counts = weight > 0
        kept = pa.chunked_array([pa.array(counts)])
        return cls(actual.filter(kept), weight[counts], kept)

    def of_predictions(self, predictions: Predictions) -> Predictions:
        """Return what was predicted for the same rows."""
        if self.kept is None:
            return predictions
        counts = self.kept.to_numpy()
        values, unseen = predictions.values[counts], predictions.unseen[counts]
        return replace(predictions, values=values, unseen=unseen)


def read_weights(data: DataSettings, rows: pa.Table) -> Floats | None:
    """Return the weights of raw rows, shape ``(n_rows,)``; None without a column of weights."""
    if data.weight is None:
        return None
    return conform(rows, weight_column(data), source="the test rows")[data.weight].to_numpy()


def kept_weights(path: Path) -> Floats | None:
    """Return the weights that were kept with test predictions; None where there were none."""
    if WEIGHT not in pq.read_schema(path).names:
        return None
    return pq.read_table(path, columns=[WEIGHT])[WEIGHT].to_numpy()


def weights_note(column: str, weight: Floats) -> str:
    """Return how test rows are weighted, for the page and the log.

    >>> import numpy as np
    >>> weights_note("w", np.array([2.0, 1.0, 1.0, 0.0]))
    'metrics are weighted by w: 3 test rows count as 2.7 of one weight; 1 row has the weight 0'
    """
    n_none = int((weight == 0).sum())
    counted = f"{len(weight) - n_none:,} test rows count as {effective_rows(weight):,.1f}"
    none = f"; {rows_that(n_none, 'have the weight 0')}" if n_none else ""
    return f"metrics are weighted by {column}: {counted} of one weight{none}"
