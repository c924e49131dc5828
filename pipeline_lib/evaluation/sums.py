"""Each metric as a function of sums over rows, so that thousands of resamples of them are cheap.

A resample is a weight per row; a metric of it needs the weighted sums alone. Imports nothing heavy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import assert_never

import numpy as np
import numpy.typing as npt

from pipeline_lib.config import Metric

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# No probability is closer to 0 or 1, so that no loss is infinite; scikit-learn's bound.
_EPSILON = float(np.finfo(np.float64).eps)
# With more rows times classes the ranking metric is a sum of placements; see `_placements`.
MAX_RANKED = 10_000
_BLOCK = 262_144


@dataclass(frozen=True)
class Truth:
    """The true values of test rows.

    Shape:
        y: positions in `classes`, or the numbers of a regression, ``(n_rows,)``; classes: those
        that have a row, by name; none for a regression.
    """

    y: Ints | Floats
    classes: tuple[str, ...] = ()

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.y)


@dataclass(frozen=True)
class Answers:
    """What a model says of the rows of a `Truth`.

    Shape:
        predicted: positions in the truth's classes, −1 for a class without a row, or numbers,
        ``(n_rows,)``; probs: ``(n_rows, n_classes)`` of the truth's classes, 0 where the model does
        not know one; ranked: the classes whose ranking counts.
    """

    predicted: Ints | Floats
    probs: Floats
    ranked: tuple[int, ...] = ()


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


def row_losses(truth: Truth, answers: Answers) -> Floats:
    """Return the log loss of each row, natural logarithm."""
    probs = answers.probs[np.arange(truth.n_rows), truth.y.astype(np.int64)]
    return -np.log(np.clip(probs, _EPSILON, 1 - _EPSILON))


def sums_of(metric: Metric, truth: Truth, answers: Answers) -> Sums:
    """Return a metric of a model's answers as sums."""
    match metric:
        case "accuracy":
            return _means([answers.predicted == truth.y], lambda sums: sums[0] / sums[1])
        case "log_loss":
            return _means([row_losses(truth, answers)], lambda sums: sums[0] / sums[1])
        case "macro_f1":
            return _macro_f1(truth, answers)
        case "roc_auc":
            is_small = truth.n_rows * len(answers.ranked) <= MAX_RANKED
            return (_ranks if is_small else _placements)(truth, answers)
        case "rmse":
            squares = (answers.predicted - truth.y) ** 2
            return _means([squares], lambda sums: np.sqrt(sums[0] / sums[1]))
        case "mae":
            errors = np.abs(answers.predicted - truth.y)
            return _means([errors], lambda sums: sums[0] / sums[1])
        case "r2":
            centered = truth.y - truth.y.mean()
            squares = (answers.predicted - truth.y) ** 2
            return _means([squares, centered, centered**2], _r2)
        case _:
            assert_never(metric)


def _means(columns: Sequence[npt.NDArray[np.generic]], metric: Callable[[Floats], Floats]) -> Sums:
    """Return sums of columns ``(n_rows,)``; the number of rows is the last one."""
    values = [*(column.astype(np.float64) for column in columns), np.ones(len(columns[0]))]
    n_rows, n_sums = len(values[0]), len(values)
    return Sums(
        np.repeat(np.arange(n_sums), n_rows),
        np.tile(np.arange(n_rows), n_sums),
        np.concatenate(values),
        n_sums,
        metric,
    )


def _r2(sums: Floats) -> Floats:
    errors, y, squares, n_rows = sums
    spread = squares - y**2 / n_rows
    # Rows of one value have a spread of rounding errors alone.
    return 1 - _shares(errors, np.where(spread > 1e-12 * squares, spread, 0.0))


def chance_sums(truth: Truth, answers: Answers) -> Sums:
    """Return the macro_f1 of a model's answers if they stood at rows at random.

    A constant's macro_f1 is no measure of that: guesses have a higher one.
    """
    n_classes = len(truth.classes)

    def metric(sums: Floats) -> Floats:
        actual, _, said = sums.reshape(3, n_classes, -1)
        hit = actual * said / np.maximum(actual.sum(axis=0), 1e-300)
        return _mean_f1(actual, hit, said)

    return replace(_macro_f1(truth, answers), metric=metric)


def _macro_f1(truth: Truth, answers: Answers) -> Sums:
    n_classes, y = len(truth.classes), truth.y.astype(np.int32)
    predicted = answers.predicted.astype(np.int32)
    hits = np.flatnonzero(predicted == y).astype(np.int32)
    known = np.flatnonzero(predicted >= 0).astype(np.int32)
    index = np.concatenate([y, n_classes + y[hits], 2 * n_classes + predicted[known]])
    row = np.concatenate([np.arange(len(y), dtype=np.int32), hits, known])

    def metric(sums: Floats) -> Floats:
        return _mean_f1(*sums.reshape(3, n_classes, -1))

    ones = np.broadcast_to(np.float64(1.0), index.shape)
    return Sums(index, row, ones, 3 * n_classes, metric)


def _mean_f1(actual: Floats, hit: Floats, said: Floats) -> Floats:
    """Return the mean F1 of classes with a row; numbers of rows are ``(n_classes, n)``."""
    held = actual > 0
    f1 = np.where(held, 2 * hit / np.maximum(actual + said, 1e-300), 0.0)
    return _shares(f1.sum(axis=0), held.sum(axis=0))


def _ranks(truth: Truth, answers: Answers) -> Sums:
    """Return the ranking metric: negative and positive rows per score, class by class."""
    parts: list[Ints] = []
    starts = [0]
    for number in answers.ranked:
        scores, ranks = np.unique(answers.probs[:, number], return_inverse=True)
        parts.append(starts[-1] + ranks + len(scores) * (truth.y == number))
        starts.append(starts[-1] + 2 * len(scores))

    def metric(sums: Floats) -> Floats:
        total, n_defined = np.zeros(sums.shape[1]), np.zeros(sums.shape[1])
        for start, stop in pairwise(starts):
            negative, positive = sums[start:stop].reshape(2, (stop - start) // 2, -1)
            below = np.cumsum(negative, axis=0) - negative / 2
            area = _shares(
                (positive * below).sum(axis=0), negative.sum(axis=0) * positive.sum(axis=0)
            )
            total += np.nan_to_num(area)
            n_defined += np.isfinite(area)
        return _shares(total, n_defined)

    row = np.tile(np.arange(truth.n_rows), len(parts))
    index = np.concatenate([np.empty(0, np.int64), *parts])
    return Sums(index, row, np.ones(len(index)), starts[-1], metric)


def _placements(truth: Truth, answers: Answers) -> Sums:
    """Return the ranking metric to first order: the mean placement of positives and negatives.

    A positive row's placement is the share of negatives that score less, a negative's that of
    positives that score more. What is left out shrinks with the number of rows.

    Source: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44.
    """
    n_rows, n_classes = truth.n_rows, len(answers.ranked)
    placed, sides = np.empty((n_classes, n_rows)), np.empty((n_classes, n_rows), np.int64)
    areas = np.empty((n_classes, 1))
    for position, number in enumerate(answers.ranked):
        is_positive = truth.y == number
        scores, ranks = np.unique(answers.probs[:, number], return_inverse=True)
        counts = np.bincount(ranks + len(scores) * is_positive, minlength=2 * len(scores))
        negative, positive = counts.reshape(2, -1)
        below = (np.cumsum(negative) - negative / 2) / max(negative.sum(), 1)
        above = 1 - (np.cumsum(positive) - positive / 2) / max(positive.sum(), 1)
        placed[position] = np.where(is_positive, below[ranks], above[ranks])
        areas[position] = placed[position][is_positive].mean()
        sides[position] = is_positive + 2 * position

    def metric(sums: Floats) -> Floats:
        negative, positive, n_negative, n_positive = (
            part.reshape(n_classes, 2, -1)[:, side] for part in np.split(sums, 2) for side in (0, 1)
        )
        defined = (n_negative > 0) & (n_positive > 0)
        means = negative / np.maximum(n_negative, 1) + positive / np.maximum(n_positive, 1)
        total = np.where(defined, means - areas, 0).sum(axis=0)
        return _shares(total, defined.sum(axis=0))

    index, row = sides.ravel(), np.tile(np.arange(n_rows), n_classes)
    return Sums(
        np.concatenate([index, index + 2 * n_classes]),
        np.tile(row, 2),
        np.concatenate([placed.ravel(), np.ones(len(index))]),
        4 * n_classes,
        metric,
    )


def _shares(part: Floats, whole: npt.NDArray[np.generic]) -> Floats:
    """Return part / whole, NaN where the whole is 0."""
    divisor = whole.astype(np.float64)
    return np.divide(part, divisor, out=np.full(len(part), np.nan), where=divisor > 0)
