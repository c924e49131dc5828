"""What metrics are when a model's answers stand at rows at random. Imports nothing heavy.

A class with one or two rows is the same in every resample of the rows, which then spreads too
little. Here the answers are shuffled instead, and the spread is that of the shuffled ones.
"""

import math
from dataclasses import replace

import numpy as np

from pipeline_lib.evaluation.answers import Answers, Floats, Truth
from pipeline_lib.evaluation.chance_of_weighted import (
    MAX_DRAWN,
    weighted_average_precision,
    weighted_balanced_accuracy,
)
from pipeline_lib.evaluation.sums import mean_f1, sums_of
from pipeline_lib.evaluation.weighted import Sums

# With more classes the balanced accuracy of shuffled answers is nearly normal.
MAX_CLASSES = 32


def chance_sums(truth: Truth, answers: Answers) -> Sums:
    """Return the macro_f1 of a model's answers if they stood at rows at random.

    A constant's macro_f1 is no measure of that: guesses have a higher one.
    """
    n_classes = len(truth.classes)

    def metric(sums: Floats) -> Floats:
        actual, _, said = sums.reshape(3, n_classes, -1)
        hit = actual * said / np.maximum(actual.sum(axis=0), 1e-300)
        return mean_f1(actual, hit, said)

    return replace(sums_of("macro_f1", truth, answers), metric=metric)


def effective_counts(truth: Truth) -> Floats:
    """Return the rows of each class and those of the rest, ``(2, n_classes)``.

    Of rows with weights as many of one weight as say the same.
    """
    y, n_classes = truth.y.astype(np.int64), len(truth.classes)
    if truth.weight is None:
        own = np.bincount(y, minlength=n_classes)
        return np.stack([own, truth.n_rows - own]).astype(np.float64)
    sums = np.bincount(y, truth.weight, n_classes)
    squares = np.bincount(y, truth.weight**2, n_classes)
    of_rest = (sums.sum() - sums) ** 2 / np.maximum(squares.sum() - squares, 1e-300)
    return np.stack([sums**2 / squares, of_rest])


def shuffled_balanced_accuracy(
    truth: Truth, answers: Answers, random: np.random.Generator, n_draws: int
) -> Floats:
    """Return the balanced accuracy of shuffled answers, ``(n_draws,)``.

    Of many classes it is nearly normal; which answers each class gets is drawn for few.
    """
    if truth.weight is not None:
        return weighted_balanced_accuracy(truth, answers, truth.weight, random, n_draws)
    n_rows, n_classes = truth.n_rows, len(truth.classes)
    actual = np.bincount(truth.y.astype(np.int64), minlength=n_classes)
    predicted = answers.predicted.astype(np.int64)
    said = np.bincount(predicted[predicted >= 0], minlength=n_classes)
    if n_classes > MAX_CLASSES:
        share, others = said / n_rows, max(n_rows - 1, 1)
        own = float((share * (1 - share) * (n_rows - actual) / (actual * others)).sum())
        between = float(share.sum() ** 2 - (share**2).sum()) / others
        error = math.sqrt(own + between) / n_classes
        return random.normal(share.sum() / n_classes, error, n_draws)
    drawn, answered = np.zeros(n_draws), np.append(said, n_rows - said.sum())
    for draw in range(n_draws):
        left = answered
        for number in range(n_classes):
            taken = random.multivariate_hypergeometric(left, actual[number], method="marginals")
            drawn[draw] += taken[number] / actual[number]
            left = left - taken
    return drawn / n_classes


def shuffled_average_precision(truth: Truth, random: np.random.Generator, n_draws: int) -> Floats:
    """Return the average precision of random rankings without ties, ``(n_draws,)``.

    The classes' rankings are taken as independent.
    """
    if truth.weight is not None:
        return weighted_average_precision(truth, truth.weight, random, n_draws)
    actual = np.bincount(truth.y.astype(np.int64), minlength=len(truth.classes))
    total = np.zeros(n_draws)
    for number in truth.positives:
        total += _random_precision(int(actual[number]), truth.n_rows, random, n_draws)
    return total / len(truth.positives)


def _random_precision(
    n_positive: int, n_rows: int, random: np.random.Generator, n_draws: int
) -> Floats:
    n_negative = n_rows - n_positive
    if n_positive <= MAX_DRAWN:
        # All ways to put the negatives into the gaps between positives are equally likely.
        gaps = random.dirichlet(np.ones(n_positive + 1), n_draws)
        above = random.multinomial(n_negative, gaps)[:, :n_positive].cumsum(axis=1)
        place = np.arange(1, n_positive + 1)
        return (place / (place + above)).mean(axis=1)
    share = n_positive / n_rows
    # The mean follows from the chance that a row above a positive one is positive.
    top = (math.log(n_rows) + np.euler_gamma) / n_rows
    mean = top + (1 - top) * (n_positive - 1) / (n_rows - 1)
    return random.normal(mean, math.sqrt(n_positive * (1 - share)) / n_rows, n_draws)
