"""How much rows hang together: what chance can do to a sample that is not of independent rows.

Source: von Neumann 1941, "Distribution of the ratio of the mean square successive difference to
the variance".
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline_lib.monitoring.counts import N_CLASSES, NO_CLASS, Floats, Ints

_BLOCK_ROWS = tuple(16 * 4**power for power in range(7))
_MIN_PAIRS = 5
_CLEARLY = 1.5


@dataclass(frozen=True)
class Noise:
    """How much more the counts of neighboring blocks differ than those of independent rows.

    `rows` and `nulls` are ratios of variances, for the values and for whether there is one; 1 or
    less where rows do not hang together at this length.
    """

    block_rows: int
    rows: float
    nulls: float


class BlockNoise:
    """Measures, at lengths of 16 to 65,536 rows, how much rows hang together.

    Neighboring blocks of each length are compared, pair after pair, in 12 classes
    of the column. Independent rows give counts that differ as a multinomial's do; hourly values,
    runs and clusters of rows give more. Nothing can be estimated for a sorted column, so it
    counts as 0: each class stands in one run, which says how the table was written, not how its
    rows came to be. (Two halves of alternating blocks would be more alike than
    independent samples as soon as rows hang together for longer than a block.)

    Takes 8 KB, however many rows there are.
    """

    def __init__(self) -> None:
        self._products = np.zeros((len(_BLOCK_ROWS), N_CLASSES, N_CLASSES))
        self._n_pairs = [0] * len(_BLOCK_ROWS)
        self._totals = np.zeros(N_CLASSES + 1, np.int64)
        self._waiting: Ints | None = None
        self._changes = _Changes()
        self._null_changes = _Changes()

    def add_page(self, classes: npt.NDArray[np.uint8]) -> None:
        """Count a page; all but the last one have `PAGE_ROWS` rows."""
        n_blocks = len(classes) // _BLOCK_ROWS[0]
        width = N_CLASSES + 1
        whole = classes[: n_blocks * _BLOCK_ROWS[0]].reshape(n_blocks, _BLOCK_ROWS[0])
        cells = whole + np.arange(n_blocks, dtype=np.int32)[:, None] * np.int32(width)
        flat = np.bincount(cells.ravel(), minlength=n_blocks * width)
        counts = flat.reshape(n_blocks, width)[:, :N_CLASSES]
        self._totals += np.bincount(classes, minlength=width)
        is_null = classes == NO_CLASS
        self._null_changes.add(is_null)
        self._changes.add(classes[~is_null] if is_null.any() else classes)
        for scale in range(len(_BLOCK_ROWS) - 1):
            self._add_pairs(scale, counts)
            n_wider = len(counts) // 4
            counts = counts[: 4 * n_wider].reshape(n_wider, 4, N_CLASSES).sum(axis=1)
        if len(counts) and self._waiting is not None:
            self._add_pairs(len(_BLOCK_ROWS) - 1, np.concatenate([self._waiting, counts]))
            self._waiting = None
        elif len(counts):
            self._waiting = counts

    def _add_pairs(self, scale: int, counts: Ints) -> None:
        n_pairs = len(counts) // 2
        pairs = counts[: 2 * n_pairs].reshape(n_pairs, 2, N_CLASSES)
        apart = (pairs[:, 0] - pairs[:, 1]).astype(np.float64)
        self._products[scale] += apart.T @ apart
        self._n_pairs[scale] += n_pairs

    def measured(self) -> tuple[Noise, ...]:
        """Return what each length with at least 5 pairs of blocks shows."""
        n_valid, n_rows = int(self._totals[:N_CLASSES].sum()), int(self._totals.sum())
        if not n_valid:
            return ()
        held = self._totals[:N_CLASSES] > 0
        share = self._totals[:N_CLASSES][held] / n_valid
        valid = n_valid / n_rows
        sorted_rows = self._changes.n < len(share)
        sorted_nulls = self._null_changes.n < 2
        found: list[Noise] = []
        for rows, n_pairs, products in zip(_BLOCK_ROWS, self._n_pairs, self._products, strict=True):
            if n_pairs < _MIN_PAIRS:
                continue
            per_pair = 2.0 * rows * n_pairs
            inner = products[np.ix_(held, held)]
            ratio, nulls = 0.0, 0.0
            if not sorted_rows:
                ratio = _of_rows(inner / (per_pair * valid), share, n_pairs)
            if not sorted_nulls:
                nulls = _certain(inner.sum() / (per_pair * valid * (1 - valid)), n_pairs)
            found.append(Noise(rows, ratio, nulls))
        return tuple(found)


class _Changes:
    """Counts how often a value differs from the one before."""

    def __init__(self) -> None:
        self.n = 0
        self._last: int | None = None

    def add(self, values: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> None:
        if not len(values):
            return
        self.n += int(np.count_nonzero(values[1:] != values[:-1]))
        self.n += self._last is not None and self._last != int(values[0])
        self._last = int(values[-1])


def _of_rows(products: Floats, share: Floats, n_pairs: int) -> float:
    """Return the ratio for the contrast of classes that varies most, weighed by its variance.

    With M the covariance of neighbors' differences in units of a multinomial's, tr(M²) / tr(M)
    is 1 for independent rows and near the greatest eigenvalue where one slow contrast rules; of
    tr(M²) the part that few pairs alone give is taken off.
    """
    center = np.eye(len(share)) - np.outer(np.ones(len(share)), share)
    scale = 1 / np.sqrt(share)
    spread = scale[:, None] * (center.T @ products @ center) * scale
    trace = float(np.trace(spread))
    if trace <= 0:
        return 0.0
    average = trace / (len(share) - 1)
    greatest = (float(np.sum(spread * spread)) - trace**2 / n_pairs) / trace
    return _certain(max(average, greatest), n_pairs * (len(share) - 1))


def _certain(ratio: float, freedom: int) -> float:
    """Return a ratio of variances, one standard error nearer to 1, or farther if it clearly is.

    Independent rows must not lose power by a chance excess; rows that do hang together do so in
    few contrasts, which are measured worse than `freedom` says.
    """
    error = np.sqrt(2 / freedom)
    shrunk = ratio * (1 - error)
    return round(float(max(0.0, shrunk if shrunk < _CLEARLY else ratio * (1 + error))), 4)
