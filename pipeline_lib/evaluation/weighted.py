"""A metric as a function of sums over weighted rows, so that thousands of resamples are cheap.

A resample is a weight per row; a metric of it needs the weighted sums alone. Imports nothing heavy.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline_lib.evaluation.answers import Floats, Ints

_BLOCK = 262_144


@dataclass(frozen=True)
class Sums:
    """A metric of weighted rows.

    Entry i adds ``value[i] * weight[row[i]]`` to the sum with number ``index[i]``; `metric` turns
    sums of shape ``(n_sums, n)`` into n values, NaN where it is undefined.
    """

    index: Ints | npt.NDArray[np.int32]
    row: Ints | npt.NDArray[np.int32]
    value: Floats
    n_sums: int
    metric: Callable[[Floats], Floats]

    def of(self, weights: Floats) -> Floats:
        """Return the sums for a weight per row, shape ``(n_sums,)``."""
        added: Floats = self.value * weights[self.row]
        return np.bincount(self.index, added, self.n_sums).astype(np.float64, copy=False)

    def times(self, weight: Floats) -> "Sums":
        """Return the sums of rows that have weights of their own; a resample's multiply them."""
        return replace(self, value=self.value * weight[self.row])

    def in_units(self, unit: Ints, n_units: int) -> "Sums":
        """Return the same sums over units of rows that are drawn together.

        Args:
            unit: the unit of each row.
            n_units: how many there are.
        """
        cells = np.zeros(self.n_sums * n_units)
        for start in range(0, len(self.index), _BLOCK):  # no copy of all entries at once
            part = slice(start, start + _BLOCK)
            places = self.index[part].astype(np.int64) * n_units + unit[self.row[part]]
            cells += np.bincount(places, self.value[part], len(cells))
        filled = np.flatnonzero(cells)
        return replace(self, index=filled // n_units, row=filled % n_units, value=cells[filled])


def shares(part: Floats, whole: npt.NDArray[np.generic]) -> Floats:
    """Return part / whole, NaN where the whole is 0."""
    divisor = whole.astype(np.float64)
    return np.divide(part, divisor, out=np.full(len(part), np.nan), where=divisor > 0)
