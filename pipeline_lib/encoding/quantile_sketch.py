"""Quantiles of training rows that come in batches, in bounded memory.

All numbers are kept up to a million; beyond that those whose position has a hash below a bound,
which is halved whenever the sample is full. The sample then holds half a million to a million
numbers drawn without regard to their value, so a quantile's rank is off by a standard error of at
most 0.07 % of the rows; minimum and maximum are exact. The same numbers in the same order give the
same sample, wherever batches end.
"""

import numpy as np
import numpy.typing as npt

from pipeline_lib.data.hashing import Hashes, splitmix64

Floats = npt.NDArray[np.float64]

MAX_EXACT = 1_000_000


class QuantileSketch:
    """Takes numbers in, gives quantiles out; holds at most twice `max_exact` numbers."""

    def __init__(self, max_exact: int = MAX_EXACT) -> None:
        self._max_exact = max_exact
        self._n = self._n_kept = self._n_halvings = 0
        self._kept: list[Floats] = []
        self._minimum, self._maximum = np.inf, -np.inf

    @property
    def n(self) -> int:
        """The count of all numbers taken in."""
        return self._n

    def add(self, numbers: Floats) -> None:
        """Take numbers in, without NaN."""
        for first in range(0, len(numbers), self._max_exact):
            self._add(numbers[first : first + self._max_exact])

    def _add(self, numbers: Floats) -> None:
        self._minimum = min(self._minimum, float(numbers.min()))
        self._maximum = max(self._maximum, float(numbers.max()))
        first, self._n = self._n, self._n + len(numbers)
        mine = numbers
        if self._n_halvings:
            mine = numbers[_hashes(first, self._n) <= self._bound]
        # A copy: a batch that is gone does not stay in memory for the few numbers kept of it.
        self._kept.append(mine.copy())
        self._n_kept += len(mine)
        while self._n_kept > self._max_exact:
            self._halve()

    @property
    def _bound(self) -> np.uint64:
        return np.uint64(2 ** (64 - self._n_halvings) - 1)

    def _halve(self) -> None:
        """Drop every second number; which ones are kept follows from positions alone."""
        kept, old_bound = np.concatenate(self._kept), self._bound
        self._n_halvings += 1
        stays: list[npt.NDArray[np.bool_]] = []
        for first in range(0, self._n, self._max_exact):
            hashes = _hashes(first, min(first + self._max_exact, self._n))
            stays.append(hashes[hashes <= old_bound] <= self._bound)
        self._kept = [kept[np.concatenate(stays)]]
        self._n_kept = len(self._kept[0])

    def quantiles(self, shares: npt.NDArray[np.float64]) -> Floats:
        """Return the numbers below which the shares of all lie, between two numbers linearly.

        Args:
            shares: in 0…1; there must be numbers.
        """
        ordered = np.sort(np.concatenate(self._kept))
        self._kept = [ordered]
        at = shares * (len(ordered) - 1)
        # What rounding alone keeps off a number is that number: it may be one of many equal ones.
        at = np.where(np.abs(at - np.rint(at)) < 1e-6, np.rint(at), at)
        below = at.astype(np.int64)
        low, high = ordered[below], ordered[np.minimum(below + 1, len(ordered) - 1)]
        weight = at - below
        quantiles = np.where(low == high, low, low * (1 - weight) + high * weight)
        quantiles[shares == 0] = self._minimum
        quantiles[shares == 1] = self._maximum
        # Rounding between two neighbors must not turn their order around.
        return np.maximum.accumulate(quantiles)


def _hashes(first: int, end: int) -> Hashes:
    return splitmix64(np.arange(first, end, dtype=np.uint64))
