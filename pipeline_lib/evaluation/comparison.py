"""Which of two models is better on the same rows, and how sure that is. Imports nothing heavy.

Both models are judged on the same resamples of the test rows, so that what the rows do to both
cancels out.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import assert_never

import numpy as np

from pipeline_lib.config.metrics import METRIC_FACTS, Metric, fallback_metric
from pipeline_lib.evaluation.answers import Answers, Floats, Truth
from pipeline_lib.evaluation.chance import (
    chance_sums,
    effective_counts,
    shuffled_average_precision,
    shuffled_balanced_accuracy,
)
from pipeline_lib.evaluation.sums import sums_of
from pipeline_lib.evaluation.weighted import Sums

Scores = dict[Metric, float]

# Resamples of the test rows, and the chance that the difference lies below its bound.
RESAMPLES = 1000
BOUND_LEVEL = 0.05
_NORMAL_BOUND = NormalDist().inv_cdf(1 - BOUND_LEVEL)
# Where a resample would add more numbers (some 20,000 rows), rows are put at random into this many
# units, and units are drawn: sums have the same mean and spread, and ten million rows cost no more.
_MAX_ADDED, N_UNITS = 200_000, 2_000
# Values whose relative difference is smaller are a tie: the last digits are the machine's.
_SAME = 1e-9
# So many sums are held at once.
_MAX_SUMS = 2_000_000


@dataclass(frozen=True)
class Difference:
    """How much better one model is than another by a metric; positive is better.

    `standard_error` is that of `gain`, `lower` its one-sided 95 % bound: in 95 of 100 samples of
    rows like these the true gain is larger. NaN if too few resamples have the metric.
    """

    metric: Metric
    gain: float
    standard_error: float
    lower: float


def gain(metric: Metric, challenger: float, champion: float) -> float:
    """Return how much better the challenger is; negative when worse, whatever the direction.

    >>> gain("rmse", 2.0, 3.0), gain("macro_f1", 0.5, 0.75)
    (1.0, -0.25)
    """
    lower_is_better = METRIC_FACTS[metric].lower_is_better
    return champion - challenger if lower_is_better else challenger - champion


def better_or_equal(metric: Metric, challenger: float, champion: float) -> bool:
    """Return whether a challenger's metric is not worse; never if one is NaN."""
    if math.isnan(challenger) or math.isnan(champion):
        return False
    return gain(metric, challenger, champion) >= 0


def is_tie(challenger: float, champion: float) -> bool:
    """Return whether two values are equal but for rounding."""
    return math.isclose(challenger, champion, rel_tol=_SAME, abs_tol=1e-12)


def is_better(metric: Metric, challenger: float, champion: float) -> bool:
    """Return whether a challenger's metric is better by more than rounding; never if one is NaN."""
    return gain(metric, challenger, champion) > 0 and not is_tie(challenger, champion)


def deciding_metric(primary: Metric, *models: Scores) -> Metric | None:
    """Return the metric that all models have: the primary one, else log loss or RMSE, else None.

    A metric that one model does not have, or has no finite value of, counts for none.

    >>> deciding_metric("roc_auc", {"roc_auc": 0.8, "log_loss": 0.4}, {"log_loss": 0.5})
    'log_loss'
    """
    for metric in (primary, fallback_metric(primary)):
        if all(math.isfinite(scores.get(metric, math.nan)) for scores in models):
            return metric
    return None


def paired_difference(
    metric: Metric,
    truth: Truth,
    first: Answers,
    second: Answers,
    *,
    seed: int,
    n_resamples: int = RESAMPLES,
) -> Difference:
    """Return how much better the first model is, with the spread over resamples of the rows.

    A resample draws as many rows as there are, with replacement; of many rows it draws units
    of them. The bound is the percentile of the resampled differences; resamples in which a
    metric is undefined are left out, and if they are the majority, the spread is not known. The
    weight of a row in a resample is how often it was drawn, times its own weight if it has one.

    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.

    Args:
        metric: which one.
        truth: the true values.
        first: answers of the model in question.
        second: answers of the model that it is compared with.
        seed: of the resamples.
        n_resamples: how many there are.
    """
    makers = [partial(sums_of, metric, truth, answers) for answers in (first, second)]
    return _difference(metric, makers, truth.n_rows, seed=seed, n_resamples=n_resamples)


def difference_to_chance(
    metric: Metric, truth: Truth, answers: Answers, *, seed: int, n_resamples: int = RESAMPLES
) -> Difference | None:
    """Return how much better a model is than its answers at random rows; None if that is no test.

    Of macro_f1 by resamples. Of roc_auc by the distribution of a random ranking, of balanced
    accuracy and average precision by draws from that of shuffled answers: one or two rows of a
    class are the same in every resample, which then spreads too little. By the other metrics no
    answers at random rows beat a constant.

    Source: Mann & Whitney 1947, Annals of Mathematical Statistics 18.

    Arguments as in `paired_difference`.
    """
    random = np.random.default_rng(seed)
    match metric:
        case "macro_f1":
            makers = [
                partial(sums_of, metric, truth, answers),
                partial(chance_sums, truth, answers),
            ]
            return _difference(metric, makers, truth.n_rows, seed=seed, n_resamples=n_resamples)
        case "roc_auc":
            return _to_random_ranking(truth, answers)
        case "balanced_accuracy":
            drawn = shuffled_balanced_accuracy(truth, answers, random, n_resamples)
        case "average_precision":
            drawn = shuffled_average_precision(truth, random, n_resamples)
        case "accuracy" | "log_loss" | "brier" | "rmse" | "mae" | "r2":
            return None
        case _:
            assert_never(metric)
    ours = _whole(metric, truth, answers)
    most = float(np.quantile(drawn, 1 - BOUND_LEVEL))
    lower = 0.0 if is_tie(ours, most) else ours - most
    return Difference(metric, ours - float(drawn.mean()), float(drawn.std(ddof=1)), lower)


def _to_random_ranking(truth: Truth, answers: Answers) -> Difference | None:
    if not answers.ranked:
        return None
    ours, numbers = _whole("roc_auc", truth, answers), np.array(answers.ranked)
    positive, negative = effective_counts(truth)[:, numbers]
    variances = (positive + negative + 1) / (12.0 * positive * negative)
    # Two classes are ranked alike, more are taken as independent.
    alike = len(numbers) if len(numbers) <= 2 else 1
    error = math.sqrt(alike * float(variances.sum())) / len(numbers)
    return Difference("roc_auc", ours - 0.5, error, ours - 0.5 - _NORMAL_BOUND * error)


def _whole(metric: Metric, truth: Truth, answers: Answers) -> float:
    """Return a metric of all rows."""
    sums = sums_of(metric, truth, answers)
    return float(sums.metric(sums.of(np.ones(truth.n_rows))[:, None])[0])


def _difference(
    metric: Metric,
    makers: Sequence[Callable[[], Sums]],
    n_rows: int,
    *,
    seed: int,
    n_resamples: int,
) -> Difference:
    random, n_units = np.random.default_rng(seed), n_rows
    if 2 * n_rows > _MAX_ADDED:  # sums have an entry per row at least: one's at a time is held
        n_units, unit = N_UNITS, random.permutation(n_rows) % N_UNITS
        pair = [make().in_units(unit, n_units) for make in makers]
    else:
        pair = [make() for make in makers]
        if n_rows > 2 * N_UNITS and sum(len(sums.index) for sums in pair) > _MAX_ADDED:
            n_units, unit = N_UNITS, random.permutation(n_rows) % N_UNITS
            pair = [sums.in_units(unit, n_units) for sums in pair]
    whole = np.ones(n_units)
    ours, theirs = (float(sums.metric(sums.of(whole)[:, None])[0]) for sums in pair)
    sign = -1.0 if METRIC_FACTS[metric].lower_is_better else 1.0
    drawn = [sign * (a - b) for a, b in _resampled(pair, n_units, n_resamples, random)]
    gains = np.concatenate(drawn)
    gains = gains[np.isfinite(gains)]
    if 2 * len(gains) < n_resamples:
        return Difference(metric, gain(metric, ours, theirs), math.nan, math.nan)
    lower = float(np.quantile(gains, BOUND_LEVEL))
    return Difference(metric, gain(metric, ours, theirs), float(gains.std(ddof=1)), lower)


def _resampled(
    pair: list[Sums], n_units: int, n_resamples: int, random: np.random.Generator
) -> Iterator[tuple[Floats, Floats]]:
    """Yield the metric of both models on the same resamples, some at a time."""
    at_once = max(1, _MAX_SUMS // sum(sums.n_sums for sums in pair))
    for start in range(0, n_resamples, at_once):
        n_drawn = min(at_once, n_resamples - start)
        drawn = [np.empty((sums.n_sums, n_drawn)) for sums in pair]
        for number in range(n_drawn):
            chosen = random.integers(0, n_units, n_units)
            weights = np.bincount(chosen, minlength=n_units).astype(np.float64)
            for sums, columns in zip(pair, drawn, strict=True):
                columns[:, number] = sums.of(weights)
        ours, theirs = (sums.metric(columns) for sums, columns in zip(pair, drawn, strict=True))
        yield ours, theirs
