"""A bounded summary of a column of numbers: exact counts on intervals that any two can share.

Source: Shrivastava et al. 2004, "Medians and beyond: new aggregation techniques for sensor
networks" (halved intervals; here their counts are exact and do not depend on the order of rows).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline_lib.monitoring.counts import N_CLASSES, NO_CLASS, Counts, Floats, UInts, grouped

_MAX_CELLS = 16_384
_MAX_LEAVES = 512
_LEAF_SHARE = 1 / 200
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True)
class Leaves:
    """Exact counts on intervals that two profiles can share, however they were made.

    An interval holds every double whose sort key (its bits, turned so that they sort as the
    numbers do) begins with `prefixes[i]` and has `shifts[i]` more bits: any two intervals are
    apart, or one holds the other. Intervals without rows are left out; the others stand in
    ascending order, none with more than a 200th of the rows, if its numbers can be distinguished.
    """

    prefixes: tuple[int, ...]
    shifts: tuple[int, ...]
    counts: tuple[int, ...]

    def bounds(self) -> tuple[UInts, UInts]:
        """Return the first and the last key of each interval."""
        shifts = np.array(self.shifts, np.uint64)
        low = np.array(self.prefixes, np.uint64) << shifts
        return low, low + ((np.uint64(1) << shifts) - np.uint64(1))


def keys_of(numbers: Floats) -> UInts:
    """Return sort keys: they are in the order of the finite numbers, and differ for any two."""
    bits = (numbers + 0.0).view(np.uint64)  # -0.0 becomes 0.0
    return np.where(bits >= _SIGN, ~bits, bits | _SIGN)


def numbers_of(keys: UInts) -> Floats:
    """Return the numbers of sort keys."""
    return np.where(keys >= _SIGN, keys ^ _SIGN, ~keys).view(np.float64)


class NumberCounter:
    """Counts numbers exactly in at most 16,384 cells (16 bytes each), and keeps their moments.

    All numbers whose sort keys agree but for the last few bits share a cell; how many bits is the
    least that keeps to the bound, so it depends on which numbers there are and not on their
    order. Normal numbers end in cells about 0.4 % of their size wide.
    """

    def __init__(self) -> None:
        self._cells = Counts()
        self._shift = 0
        self._edges: Floats | None = None
        self.n_rows = 0
        self.minimum, self.maximum = np.inf, -np.inf
        self._mean, self._squares = 0.0, 0.0

    def add_page(self, numbers: Floats, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
        """Count a page of numbers.

        Returns:
            A class per row for `BlockNoise`, `NO_CLASS` where it is not valid; shape
            ``(n_rows,)``.
        """
        classes = np.full(len(numbers), NO_CLASS, np.uint8)
        held = numbers if valid.all() else numbers[valid]
        if not len(held):
            return classes
        self._add_moments(held)
        keys = keys_of(held) >> np.uint64(self._shift)
        keys.sort()
        self._cells.add(*grouped(keys))
        while len(self._cells.keys) > _MAX_CELLS:
            self._shift += 1
            self._cells.keys, self._cells.counts = grouped(
                self._cells.keys >> np.uint64(1), self._cells.counts
            )
        if self._edges is None:
            ranks = np.arange(1, N_CLASSES) * len(held) // N_CLASSES
            self._edges = np.unique(numbers_of(keys_of(np.partition(held, ranks)[ranks])))
        own = np.zeros(len(held), np.uint8)
        for edge in self._edges.tolist():
            own += held >= edge
        classes[valid] = own
        return classes

    def _add_moments(self, held: Floats) -> None:
        # Chan, Golub & LeVeque 1979: two groups' moments make the moments of both.
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(held.mean())
            squares = float(np.square(held - mean).sum())
            total = self.n_rows + len(held)
            delta = mean - self._mean
            self._mean += delta * len(held) / total
            self._squares += squares + delta * delta * self.n_rows * len(held) / total
        self.n_rows = total
        self.minimum = min(self.minimum, float(held.min()))
        self.maximum = max(self.maximum, float(held.max()))

    @property
    def mean(self) -> float | None:
        """The mean; None without rows, or where the sum leaves the range of a double."""
        return self._mean if self.n_rows and np.isfinite(self._mean) else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the rows; None as `mean`."""
        square = self._squares / max(self.n_rows, 1)
        return float(np.sqrt(square)) if self.n_rows and np.isfinite(square) else None

    def quantiles(self, shares: Sequence[float]) -> tuple[float, ...]:
        """Return the numbers below which these shares of the rows lie, to a cell's width."""
        if not self.n_rows:
            return ()
        ends = np.cumsum(self._cells.counts)
        ranks = np.clip(np.ceil(np.array(shares) * self.n_rows), 1, self.n_rows)
        cell = np.searchsorted(ends, ranks)
        low = self._cells.keys[cell] << np.uint64(self._shift)
        inside = (ranks - (ends - self._cells.counts)[cell]) / (self._cells.counts[cell] + 1)
        width = float((1 << self._shift) - 1)
        values = numbers_of(low + (inside * width).astype(np.uint64))
        # A cell of many rows holds one number most likely, and one with few digits: the end of the
        # cell that is nearer to zero.
        heavy = self._cells.counts[cell] > _LEAF_SHARE * self.n_rows
        end = np.where(low >= _SIGN, low, low + np.uint64((1 << self._shift) - 1))
        values = np.where(heavy, numbers_of(end), values)
        values = np.clip(values, self.minimum, self.maximum)
        values[np.array(shares) == 0], values[np.array(shares) == 1] = self.minimum, self.maximum
        return tuple(values.tolist())

    def leaves(self) -> Leaves:
        """Return the cells, gathered into at most 512 intervals."""
        share = _LEAF_SHARE
        while len((leaves := self._gathered(share)).counts) > _MAX_LEAVES:
            share *= 2
        return leaves

    def _gathered(self, share: float) -> Leaves:
        keys, counts = self._cells.keys, self._cells.counts
        shifts = np.full(len(keys), self._shift, np.int64)
        growing = np.arange(len(keys))  # cells whose interval may still grow
        upto = np.concatenate([[0], np.cumsum(counts)])
        for wider in range(1, 64 - self._shift):
            if not len(growing):
                break
            parents = keys[growing] >> np.uint64(wider)
            first = np.flatnonzero(np.concatenate([[True], parents[1:] != parents[:-1]]))
            low = parents[first] << np.uint64(wider)
            begin = np.searchsorted(keys, low)
            end = np.searchsorted(keys, low + np.uint64((1 << wider) - 1), side="right")
            light = upto[end] - upto[begin] <= share * self.n_rows
            growing = growing[np.repeat(light, np.diff(first, append=len(growing)))]
            shifts[growing] = self._shift + wider
        prefixes = keys >> (shifts - self._shift).astype(np.uint64)
        new = np.ones(len(keys), np.bool_)
        new[1:] = (prefixes[1:] != prefixes[:-1]) | (shifts[1:] != shifts[:-1])
        first = np.flatnonzero(new)
        total = np.add.reduceat(counts, first) if len(first) else counts
        return Leaves(
            tuple(prefixes[first].tolist()), tuple(shifts[first].tolist()), tuple(total.tolist())
        )
