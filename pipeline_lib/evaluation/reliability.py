"""Whether probabilities mean what they say: how often the model is right, by how sure it is.

Of two classes it is the probability of the positive one; of more, that of the predicted class.
"""

from dataclasses import dataclass

import numpy as np

from pipeline_lib.evaluation.answers import Floats, Ints

_MOST_BINS, _LEAST_ROWS = 10, 20


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows with about the same probability; `said` is its mean, `found` how often it was so.

    Both are shares, by the rows' weights where they have some.
    """

    said: float
    found: float
    n_rows: int
    share: float


@dataclass(frozen=True)
class Reliability:
    """Bins of about as many rows each, from the least to the surest."""

    bins: tuple[ReliabilityBin, ...]

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of `said` and `found`, 0 to 1.

        Source: Naeini et al. 2015, AAAI 29; bins of equal numbers as in Nixon et al. 2019,
        arXiv:1904.01685.
        """
        return sum(each.share * abs(each.said - each.found) for each in self.bins)


def reliability(probs: Floats, y: Ints, weight: Floats | None = None) -> Reliability:
    """Compare probabilities with what happened.

    Rows with the same probability are in the same bin; there are at most ten bins, and no more than
    one for twenty rows.

    Args:
        probs: shape ``(n_rows, n_classes)``.
        y: class numbers, shape ``(n_rows,)``.
        weight: of each row, above 0; None: all alike.
    """
    if probs.shape[1] == 2:
        said, is_so = probs[:, 1], y == 1
    else:
        predicted = probs.argmax(axis=1)
        said, is_so = probs[np.arange(len(y)), predicted], predicted == y
    weights = np.ones(len(y)) if weight is None else weight
    n_bins = max(1, min(_MOST_BINS, len(y) // _LEAST_ROWS))
    edges = np.unique(np.quantile(said, np.linspace(0, 1, n_bins + 1)[1:-1]))
    place = np.searchsorted(edges, said, side="left")
    total = weights.sum()
    bins: list[ReliabilityBin] = []
    for number in np.unique(place):
        rows = place == number
        mass = weights[rows].sum()
        bins.append(
            ReliabilityBin(
                float(said[rows] @ weights[rows] / mass),
                float(is_so[rows] @ weights[rows] / mass),
                int(rows.sum()),
                float(mass / total),
            )
        )
    return Reliability(tuple(bins))
