"""The metrics of answers that stand at weighted rows at random; see `chance`.

Few rows are shuffled one by one. Of many the spread follows from the weights: what one heavy row
does to a class with few rows is drawn, the rest is nearly normal. Imports nothing heavy.
"""

import math

import numpy as np

from pipeline_lib.evaluation.answers import Answers, Floats, Ints, Truth, effective_rows

# With more positive rows the average precision of a random ranking is nearly normal, and so is the
# share of a class's rows that shuffled answers hit.
MAX_DRAWN = 500
# With more rows, times the classes that are ranked, nothing is shuffled row by row.
MAX_SHUFFLED = 20_000


def weighted_balanced_accuracy(
    truth: Truth, answers: Answers, weight: Floats, random: np.random.Generator, n_draws: int
) -> Floats:
    """Return the balanced accuracy of shuffled answers, ``(n_draws,)``."""
    y, n_classes = truth.y.astype(np.int64), len(truth.classes)
    predicted = answers.predicted.astype(np.int64)
    # What a row adds when its answer is right.
    added = weight / np.bincount(y, weight, n_classes)[y] / n_classes
    if truth.n_rows > MAX_SHUFFLED:
        return _of_many_rows(y, predicted, added, random, n_draws)
    shuffled = (random.permutation(predicted) for _ in range(n_draws))
    return np.array([added[answer == y].sum() for answer in shuffled])


def _of_many_rows(
    y: Ints, predicted: Ints, added: Floats, random: np.random.Generator, n_draws: int
) -> Floats:
    """Draw the hits of classes with few rows, and the sum of all others' from a normal one.

    Source of the spread: Hoeffding 1951, Annals of Mathematical Statistics 22.
    """
    n_rows, actual = len(y), np.bincount(y)
    share = np.bincount(predicted[predicted >= 0], minlength=len(actual)) / n_rows
    is_few = actual <= MAX_DRAWN
    total = np.zeros(n_draws)
    for number in np.flatnonzero(is_few):
        hits = random.random((n_draws, actual[number])) < share[number]
        total += hits @ added[y == number]
    sums, squares = np.bincount(y, added), np.bincount(y, added**2)
    share, sums, squares = share[~is_few], sums[~is_few], squares[~is_few]
    each = float((share * sums).sum())
    between = float((share * sums**2).sum()) - each**2
    own = n_rows * float((squares * share * (1 - share)).sum())
    return total + random.normal(each, math.sqrt(max(own - between, 0.0) / (n_rows - 1)), n_draws)


def weighted_average_precision(
    truth: Truth, weight: Floats, random: np.random.Generator, n_draws: int
) -> Floats:
    """Return the average precision of random rankings without ties, ``(n_draws,)``."""
    total, is_small = np.zeros(n_draws), truth.n_rows * len(truth.positives) <= MAX_SHUFFLED
    for number in truth.positives:
        is_positive = truth.y == number
        if is_small:
            own = weight * is_positive
            for draw in range(n_draws):
                order = random.permutation(truth.n_rows)
                right, above = own[order], np.cumsum(weight[order])
                total[draw] += float(right @ (np.cumsum(right) / above)) / float(own.sum())
        else:
            total += _random_precision(weight[is_positive], weight[~is_positive], random, n_draws)
    return total / len(truth.positives)


def _random_precision(
    positive: Floats, negative: Floats, random: np.random.Generator, n_draws: int
) -> Floats:
    """Return the average precision of random rankings of many rows, given both sides' weights."""
    own, rest, n_negative = positive.sum(), negative.sum(), effective_rows(negative)
    if len(positive) <= MAX_DRAWN:
        # Negatives, as many of one weight as say the same, fall into the gaps between positives.
        gaps = random.dirichlet(np.ones(len(positive) + 1), n_draws)
        counts = random.multinomial(round(n_negative), gaps)[:, :-1].cumsum(axis=1)
        above = counts * (rest / round(n_negative))
        drawn = random.permuted(np.tile(positive, (n_draws, 1)), axis=1)
        right = drawn.cumsum(axis=1)
        return (drawn * right / (right + above)).sum(axis=1) / own
    share, whole = own / (own + rest), own + rest
    # A positive row alone at the top has the precision 1; below others it adds its weight.
    top = float(positive**2 @ (np.log(whole / positive) + np.euler_gamma)) / (own * whole)
    variance = (share * (1 - share)) ** 2 * (1 / effective_rows(positive) + 1 / n_negative)
    return random.normal(top + (1 - top) * share, math.sqrt(variance), n_draws)
