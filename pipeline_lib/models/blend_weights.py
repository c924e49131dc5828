"""What a blend chooses by its validation rows: a weight for each member, and a temperature."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline_lib.models.blend import TEMPERATURES, tempered

Floats = npt.NDArray[np.float64]

# Pulls weights towards equal ones, relative to the loss of equal ones: 0.02 to 0.2 gave the same
# on 16 tables (2026-12), and without it a few rows decide.
_RIDGE, _RIDGE_ROWS = 0.05, 100.0
# A member with a smaller weight is left out.
_LEAST_WEIGHT = 0.01
# Fewer rows, or rows without an error, say nothing of a temperature.
LEAST_CALIBRATION_ROWS = 300
_LEAST_PROBABILITY = np.finfo(np.float64).eps


def choose_weights(
    scores: Sequence[Floats], y: Floats, *, n_classes: int, row_weights: Floats | None = None
) -> Floats:
    """Return weights of at least 0 that add up to 1, by the loss of the weighted mean.

    The loss is the log loss or the mean squared error, plus a ridge; both are convex in the
    weights.

    Args:
        scores: of each member on the validation rows, as `Model.scores` gives them.
        y: class numbers, or standardized numbers.
        n_classes: 0 for a regression.
        row_weights: of the rows, above 0, shape ``(n_rows,)``; None: all alike.
    """
    n_members, shares = len(scores), _shares(row_weights, len(y))
    if n_members == 1:
        return np.ones(1)
    from scipy.optimize import minimize

    of_members = np.stack([_answers(each, y, n_classes) for each in scores], axis=1)
    target = y if not n_classes else None
    equal = np.full(n_members, 1 / n_members)
    ridge = _RIDGE * (1 + _RIDGE_ROWS / _effective(shares))

    # Relative to the loss of equal weights, or an exact table would be done at the first step.
    scale = max(_loss(of_members, equal, target, shares)[0], _LEAST_PROBABILITY)

    def objective(weights: Floats) -> tuple[float, Floats]:
        loss, gradient = _loss(of_members, weights, target, shares)
        off = weights - equal
        return loss / scale + ridge * float(off @ off), gradient / scale + 2 * ridge * off

    def excess(weights: Floats) -> float:
        return float(weights.sum()) - 1

    def of_excess(weights: Floats) -> Floats:
        return np.ones_like(weights)

    found = minimize(
        objective,
        equal,
        jac=True,
        bounds=[(0.0, 1.0)] * n_members,
        constraints={"type": "eq", "fun": excess, "jac": of_excess},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    weights: Floats = np.clip(np.asarray(found.x, np.float64), 0.0, 1.0)
    if not np.isfinite(weights).all() or not weights.sum():
        weights = equal
    weights = weights / weights.sum()
    weights[weights < _LEAST_WEIGHT] = 0.0
    return weights / weights.sum()


def choose_temperature(probs: Floats, y: Floats, *, row_weights: Floats | None = None) -> float:
    """Return the temperature with the least log loss, within bounds; 1 where rows say nothing.

    Args:
        probs: shape ``(n_rows, n_classes)``.
        y: class numbers, shape ``(n_rows,)``.
        row_weights: as in `choose_weights`.

    Source: Guo et al. 2017, arXiv:1706.04599.
    """
    labels, shares = y.astype(np.int64), _shares(row_weights, len(y))
    if _effective(shares) < LEAST_CALIBRATION_ROWS or (probs.argmax(axis=1) == labels).all():
        return 1.0
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        return _log_loss(tempered(probs, float(np.exp(logarithm))), labels, shares)

    bounds = tuple(float(np.log(bound)) for bound in TEMPERATURES)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    best = float(np.clip(np.exp(found.x), *TEMPERATURES))
    return best if loss(float(np.log(best))) < loss(0.0) else 1.0


def _answers(scores: Floats, y: Floats, n_classes: int) -> Floats:
    """Return the probability of each row's class, or its number; shape ``(n_rows,)``."""
    if not n_classes:
        return scores[:, 0]
    return np.clip(scores[np.arange(len(y)), y.astype(np.int64)], _LEAST_PROBABILITY, 1.0)


def _shares(row_weights: Floats | None, n_rows: int) -> Floats:
    """Return weights of rows that add up to 1."""
    return np.full(n_rows, 1 / n_rows) if row_weights is None else row_weights / row_weights.sum()


def _effective(shares: Floats) -> float:
    """Return how many rows of the same weight say as much; Kish 1965, Survey Sampling."""
    return round(1 / float((shares**2).sum()), 6)


def _loss(
    of_members: Floats, weights: Floats, target: Floats | None, shares: Floats
) -> tuple[float, Floats]:
    """Return the loss of a mean and its gradient; `target` is None for probabilities."""
    mean = of_members @ weights
    if target is None:
        return float(-np.log(mean) @ shares), -(shares / mean) @ of_members
    errors = mean - target
    return float(errors**2 @ shares), 2 * (shares * errors) @ of_members


def _log_loss(probs: Floats, labels: npt.NDArray[np.int64], shares: Floats) -> float:
    of_class = probs[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(of_class, _LEAST_PROBABILITY, 1.0)) @ shares)
