"""What the target is like where a category stands: its mean, shrunk towards that of all rows.

A training row's own target must not reach it through its category, or a model trusts the column
more than new rows bear out: training rows are given the statistics of the other folds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

# Below this many codes, reserved ones included, a column is no better for its statistics.
_LEAST_CODES = 5
# A class is a float per row and column.
MAX_CLASSES = 10
N_FOLDS = 5


@dataclass(frozen=True)
class TargetStatistics:
    """The shrunk mean of the target for each code of some columns, `n_outputs` numbers each.

    Attributes:
        columns: positions in `x_cat`.
        means: for each of them float32 of shape ``(cardinality, n_outputs)``.

    Source: Micci-Barreca 2001, "A preprocessing scheme for high-cardinality categorical
    attributes", with the empirical Bayes weight of scikit-learn's TargetEncoder.
    """

    columns: tuple[int, ...]
    means: tuple[npt.NDArray[np.float32], ...]

    @property
    def width(self) -> int:
        """The number of columns that `features` returns."""
        return sum(means.shape[1] for means in self.means)

    def features(self, x_cat: npt.NDArray[np.int32], start: int = 0) -> npt.NDArray[np.float32]:
        """Return the statistics of rows' codes, shape ``(n_rows, width)``; see `Features`."""
        del start
        found = [
            means[x_cat[:, column]] for column, means in zip(self.columns, self.means, strict=True)
        ]
        return np.concatenate(found, axis=1) if found else np.empty((len(x_cat), 0), np.float32)

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return what `read` needs, by name."""
        return {str(c): m for c, m in zip(self.columns, self.means, strict=True)}

    @classmethod
    def read(
        cls, arrays: Mapping[str, npt.NDArray[np.float32]], cardinalities: Sequence[int]
    ) -> "TargetStatistics":
        """Return the statistics that `arrays` gave.

        Raises:
            ValueError: they are not of columns with these cardinalities.
        """
        columns = tuple(sorted(int(name) for name in arrays))
        means = tuple(arrays[str(column)] for column in columns)
        for column, mean in zip(columns, means, strict=True):
            if not 0 <= column < len(cardinalities) or mean.ndim != 2:
                raise ValueError(f"there is no column {column} with statistics")
            if len(mean) != cardinalities[column] or mean.dtype != np.float32:
                raise ValueError(f"the statistics of column {column} have another shape or type")
        return cls(columns, means)


@dataclass(frozen=True)
class CrossFitted:
    """The statistics that training rows see: those of the rows of other folds.

    Attributes:
        folds: of each training row, shape ``(n_rows,)``.
        of_others: for each fold the statistics of all other folds.
    """

    folds: npt.NDArray[np.int64]
    of_others: tuple[TargetStatistics, ...]

    @property
    def width(self) -> int:
        """The number of columns that `features` returns."""
        return self.of_others[0].width

    @classmethod
    def of(cls, counter: "StatisticsCounter", folds: npt.NDArray[np.int64]) -> "CrossFitted":
        """Return what a counter that has seen all rows gives."""
        return cls(folds, tuple(counter.statistics(without=fold) for fold in range(N_FOLDS)))

    def features(self, x_cat: npt.NDArray[np.int32], start: int = 0) -> npt.NDArray[np.float32]:
        """Return the statistics of training rows from `start` on, shape ``(n_rows, width)``."""
        own = self.folds[start : start + len(x_cat)]
        found = np.empty((len(x_cat), self.width), np.float32)
        for fold, statistics in enumerate(self.of_others):
            found[own == fold] = statistics.features(x_cat[own == fold])
        return found


def columns_with_statistics(cardinalities: Sequence[int]) -> tuple[int, ...]:
    """Return the positions of the columns that have more than two values."""
    return tuple(i for i, n in enumerate(cardinalities) if n >= _LEAST_CODES)


@dataclass
class StatisticsCounter:
    """Counts training rows in batches; then gives the statistics of all folds, or of all but one.

    Args:
        cardinalities: of all columns of `x_cat`.
        n_outputs: 1 for a number or two classes, else the number of classes.
    """

    cardinalities: Sequence[int]
    n_outputs: int
    _counts: list[npt.NDArray[np.float64]] = field(init=False)
    _sums: list[npt.NDArray[np.float64]] = field(init=False)
    _squares: list[npt.NDArray[np.float64]] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with no rows."""
        self.columns = columns_with_statistics(self.cardinalities)
        sizes = [self.cardinalities[column] for column in self.columns]
        self._counts = [np.zeros((N_FOLDS, n)) for n in sizes]
        self._sums = [np.zeros((N_FOLDS, n, self.n_outputs)) for n in sizes]
        self._squares = [np.zeros((N_FOLDS, n, self.n_outputs)) for n in sizes]

    def add(
        self,
        x_cat: npt.NDArray[np.int32],
        outputs: npt.NDArray[np.float64],
        folds: npt.NDArray[np.int64],
        weights: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Count rows, or add up their weights.

        Args:
            x_cat: their codes.
            outputs: their targets, shape ``(n_rows, n_outputs)``.
            folds: the fold of each row, shape ``(n_rows,)``.
            weights: of the rows, with the mean 1 over all of them; None: all 1.
        """
        of_rows = 1.0 if weights is None else weights
        for number, column in enumerate(self.columns):
            n = self.cardinalities[column]
            cells = folds * n + x_cat[:, column]
            self._counts[number] += _binned(cells, weights, n)
            for output in range(self.n_outputs):
                values = outputs[:, output]
                self._sums[number][:, :, output] += _binned(cells, values * of_rows, n)
                self._squares[number][:, :, output] += _binned(cells, values**2 * of_rows, n)

    def statistics(self, *, without: int | None = None) -> TargetStatistics:
        """Return the statistics of all rows, or of those outside a fold."""
        kept = [fold for fold in range(N_FOLDS) if fold != without]
        means = tuple(
            _shrunk(
                self._counts[number][kept].sum(axis=0),
                self._sums[number][kept].sum(axis=0),
                self._squares[number][kept].sum(axis=0),
            ).astype(np.float32)
            for number in range(len(self.columns))
        )
        return TargetStatistics(self.columns, means)


def fold_of_rows(n_rows: int, *, seed: int) -> npt.NDArray[np.int64]:
    """Return a fold for each row, drawn so that folds have the same size; shape ``(n_rows,)``."""
    folds = np.arange(n_rows, dtype=np.int64) % N_FOLDS
    np.random.default_rng(seed).shuffle(folds)
    return folds


def _binned(
    cells: npt.NDArray[np.int64], weights: npt.NDArray[np.float64] | None, n: int
) -> npt.NDArray[np.float64]:
    binned = np.bincount(cells, weights, minlength=N_FOLDS * n)
    return binned.astype(np.float64).reshape(N_FOLDS, n)


def _shrunk(
    counts: npt.NDArray[np.float64],
    sums: npt.NDArray[np.float64],
    squares: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the empirical Bayes means, shape ``(n_codes, n_outputs)``.

    A code's own mean has the weight n·t / (n·t + s), t the variance of the target over all rows
    and s that over the code's n rows; a code without rows has the mean of all.
    """
    n, n_rows = counts[:, None], counts.sum() or 1.0
    prior = sums.sum(axis=0) / n_rows
    spread = np.maximum(squares.sum(axis=0) / n_rows - prior**2, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = sums / n
        within = np.maximum(squares / n - own**2, 0.0)
        weight = n * spread / (n * spread + within)
    # A constant target leaves 0 / 0.
    weight = np.where(np.isfinite(weight), weight, 0.0)
    return np.where(n > 0, weight * np.nan_to_num(own) + (1 - weight) * prior, prior)
