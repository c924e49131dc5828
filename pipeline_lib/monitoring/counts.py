"""What the bounded summaries of a column stand on: pages of rows, and counts by key.

A column is summed up page by page (`word_sketch`, `number_sketch`, `block_noise`). Nothing there
draws at random, and every summary depends on the rows and their order alone, on no machine,
version or batch size. What the summaries say of drift is decided in `drift`.
"""

import numpy as np
import numpy.typing as npt

UInts = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PAGE_ROWS = 65_536
N_CLASSES = 12
NO_CLASS = N_CLASSES


class Counts:
    """Counts by key; keys sorted and different."""

    def __init__(self) -> None:
        self.keys: UInts = np.zeros(0, np.uint64)
        self.counts: Ints = np.zeros(0, np.int64)

    def add(self, keys: UInts, counts: Ints) -> None:
        """Add counts of keys, sorted and different."""
        place = np.searchsorted(self.keys, keys)
        known = self.find(keys, place)
        self.counts[place[known]] += counts[known]
        new = ~known
        if new.any():
            self.keys = np.insert(self.keys, place[new], keys[new])
            self.counts = np.insert(self.counts, place[new], counts[new])

    def find(self, keys: UInts, place: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
        """Return which keys are there, at the places where `searchsorted` wants them."""
        if not len(self.keys):
            return np.zeros(len(keys), np.bool_)
        return self.keys[np.minimum(place, len(self.keys) - 1)] == keys

    def of(self, keys: UInts) -> Ints:
        """Return the count of each key, 0 where it is not there."""
        place = np.searchsorted(self.keys, keys)
        counts = np.zeros(len(keys), np.int64)
        known = self.find(keys, place)
        counts[known] = self.counts[place[known]]
        return counts

    def keep(self, wanted: npt.NDArray[np.bool_]) -> None:
        """Forget all other keys."""
        self.keys, self.counts = self.keys[wanted], self.counts[wanted]


def grouped(keys: UInts, counts: Ints | None = None) -> tuple[UInts, Ints]:
    """Return the different ones of sorted keys, and how often each stands there."""
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    if counts is None:
        return keys[first], np.diff(first, append=len(keys)).astype(np.int64)
    return keys[first], np.add.reduceat(counts, first)
