"""Metrics of a ranking, each class against the rest: ROC AUC and average precision.

Both follow from the positive and negative rows of each score. Of few rows their resamples are
exact; of many they are computed to first order. Imports nothing heavy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from pipeline_lib.evaluation.answers import Answers, Floats, Ints, Truth
from pipeline_lib.evaluation.weighted import Sums, shares

# With more rows times classes a metric's resamples are computed to first order.
MAX_RANKED = 10_000
# Except the average precision of classes with few rows, which is not nearly linear in them: its
# standard error is 13 % too small with 5 positive rows, 2 % with 100. It is exact for all classes
# of so many rows, and of more rows for the rarest classes, so many positive rows in all.
MAX_EXACT_ROWS, MAX_EXACT_POSITIVES = 4_000, 64
_NONE = 1e-300  # a divisor where there is no row


@dataclass(frozen=True)
class Ranking:
    """The rows of one class against the rest, by score.

    Shape:
        ranks: of each row's score among the distinct ones, ascending, ``(n_rows,)``;
        negative, positive: rows with each score, or their weights, ``(n_scores,)``.
    """

    ranks: Ints
    negative: Ints | Floats
    positive: Ints | Floats

    @classmethod
    def of(
        cls, is_positive: npt.NDArray[np.bool_], scores: Floats, weight: Floats | None = None
    ) -> "Ranking":
        """Return the ranking of rows by scores, all of shape ``(n_rows,)``."""
        distinct, ranks = np.unique(scores, return_inverse=True)
        n_scores = len(distinct)
        counts = np.bincount(ranks + n_scores * is_positive, weight, minlength=2 * n_scores)
        return cls(ranks, counts[:n_scores], counts[n_scores:])

    @property
    def roc_auc(self) -> float:
        """The share of pairs in which the positive row has the higher score; ties count half."""
        pairs = float(self.negative.sum()) * float(self.positive.sum())
        below = np.cumsum(self.negative) - self.negative / 2
        return float(self.positive @ below) / pairs

    @property
    def precision(self) -> Floats:
        """The share of positives among the rows with each score or a higher one."""
        return _from_top(self.positive) / _from_top(self.positive + self.negative)

    @property
    def average_precision(self) -> float:
        """The precision, averaged over the positive rows."""
        return float(self.positive @ self.precision) / float(self.positive.sum())


def ranked_sums(truth: Truth, answers: Answers) -> Sums:
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
            area = shares(
                (positive * below).sum(axis=0), negative.sum(axis=0) * positive.sum(axis=0)
            )
            total += np.nan_to_num(area)
            n_defined += np.isfinite(area)
        return shares(total, n_defined)

    row = np.tile(np.arange(truth.n_rows), len(parts))
    index = np.concatenate([np.empty(0, np.int64), *parts])
    return Sums(index, row, np.ones(len(index)), starts[-1], metric)


def placement_sums(truth: Truth, answers: Answers) -> Sums:
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
        ranking = Ranking.of(is_positive, answers.probs[:, number], truth.weight)
        negative, positive = ranking.negative, ranking.positive
        below = (np.cumsum(negative) - negative / 2) / (negative.sum() or 1)
        above = 1 - (np.cumsum(positive) - positive / 2) / (positive.sum() or 1)
        placed[position] = np.where(is_positive, below[ranking.ranks], above[ranking.ranks])
        of_positive = None if truth.weight is None else truth.weight[is_positive]
        areas[position] = np.average(placed[position][is_positive], weights=of_positive)
        sides[position] = is_positive + 2 * position

    def metric(sums: Floats) -> Floats:
        negative, positive, n_negative, n_positive = (
            part.reshape(n_classes, 2, -1)[:, side] for part in np.split(sums, 2) for side in (0, 1)
        )
        defined = (n_negative > 0) & (n_positive > 0)
        means = negative / np.maximum(n_negative, _NONE) + positive / np.maximum(n_positive, _NONE)
        total = np.where(defined, means - areas, 0).sum(axis=0)
        return shares(total, defined.sum(axis=0))

    index, row = sides.ravel(), np.tile(np.arange(n_rows), n_classes)
    return Sums(
        np.concatenate([index, index + 2 * n_classes]),
        np.tile(row, 2),
        np.concatenate([placed.ravel(), np.ones(len(index))]),
        4 * n_classes,
        metric,
    )


def precision_sums(truth: Truth, answers: Answers) -> Sums:
    """Return the average precision, exact for classes with few rows, else to first order."""
    counts = np.bincount(truth.y.astype(np.int64), minlength=len(truth.classes))
    n_ranked = truth.n_rows * len(truth.positives)
    is_small = truth.n_rows <= MAX_EXACT_ROWS or n_ranked <= MAX_RANKED
    room, parts = truth.n_rows if is_small else MAX_EXACT_POSITIVES, []
    for number in sorted(truth.positives, key=lambda number: int(counts[number])):
        is_positive, scores = truth.y == number, answers.probs[:, number]
        room -= int(counts[number])
        if room >= 0:
            parts.append(_precision(is_positive, scores))
        else:
            parts.append(_precision_to_first_order(is_positive, scores, truth.weight))
    return _mean_of(parts)


def _precision(is_positive: npt.NDArray[np.bool_], scores: Floats) -> Sums:
    """Return one class's average precision: positives per score, and negatives in between."""
    levels = np.unique(scores[is_positive])
    n_levels = len(levels)
    passed = np.searchsorted(levels, scores, side="right")  # levels that a row reaches
    index = np.where(is_positive, passed - 1, n_levels + passed).astype(np.int32)

    def metric(sums: Floats) -> Floats:
        positive, negative = sums[:n_levels], sums[n_levels:]
        right, wrong = _from_top(positive), _from_top(negative[1:])
        precision = right / np.maximum(right + wrong, 1e-300)
        value = shares((positive * precision).sum(axis=0), positive.sum(axis=0))
        return np.where(negative.sum(axis=0) > 0, value, np.nan)

    n_rows = len(scores)
    rows = np.arange(n_rows, dtype=np.int32)
    return Sums(index, rows, np.ones(n_rows), 2 * n_levels + 1, metric)


def _precision_to_first_order(
    is_positive: npt.NDArray[np.bool_], scores: Floats, weight: Floats | None
) -> Sums:
    """Return one class's average precision as a sum of each row's influence on it.

    A row's influence is the derivative by its weight; the influences, each by its weight, add up
    to 0, and what is left out shrinks with the number of positive rows.
    """
    ranking = Ranking.of(is_positive, scores, weight)
    positive, precision, value = ranking.positive, ranking.precision, ranking.average_precision
    n_above = _from_top(ranking.positive + ranking.negative)
    # A positive more lifts, a negative more lowers the precision at each score below it.
    lifts = np.cumsum(positive * (1 - precision) / n_above)
    lowers = np.cumsum(positive * precision / n_above)
    ranks, n_rows = ranking.ranks, len(scores)
    gains = np.where(is_positive, (precision - value + lifts)[ranks], -lowers[ranks])
    gains /= positive.sum() or 1

    def metric(sums: Floats) -> Floats:
        influence, n_negative, n_positive = sums
        return np.where((n_negative > 0) & (n_positive > 0), value + influence, np.nan)

    index = np.concatenate([np.zeros(n_rows, np.int32), np.int32(1) + is_positive])
    rows = np.tile(np.arange(n_rows, dtype=np.int32), 2)
    return Sums(index, rows, np.concatenate([gains, np.ones(n_rows)]), 3, metric)


def _mean_of(parts: Sequence[Sums]) -> Sums:
    """Return the mean of metrics over those of them that are defined."""
    starts = [0, *accumulate(part.n_sums for part in parts)]

    def metric(sums: Floats) -> Floats:
        values = np.stack(
            [
                part.metric(sums[start:stop])
                for part, (start, stop) in zip(parts, pairwise(starts), strict=True)
            ]
        )
        defined = np.isfinite(values)
        return shares(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))

    index = np.concatenate(
        [part.index.astype(np.int32) + start for part, start in zip(parts, starts, strict=False)]
    )
    row = np.concatenate([part.row.astype(np.int32) for part in parts])
    value = np.concatenate([part.value for part in parts])
    return Sums(index, row, value, starts[-1], metric)


def _from_top(counts: npt.NDArray[np.generic]) -> Floats:
    """Return the sums of counts from the highest score down, along the first axis."""
    return np.cumsum(counts[::-1].astype(np.float64), axis=0)[::-1]
