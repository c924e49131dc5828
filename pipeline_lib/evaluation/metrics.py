"""Final metrics, by scikit-learn, on labels and probabilities as they leave the predictor.

All models are scored over one set of classes: those that the test rows hold.
"""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from sklearn import metrics as sk

from pipeline_lib.encoding import NumberTarget, Target
from pipeline_lib.evaluation.comparison import Scores
from pipeline_lib.evaluation.sums import Answers, Floats, Truth, row_losses
from pipeline_lib.serving import Predictions


def score(actual: pa.ChunkedArray, predictions: Predictions) -> Scores:
    """Return every metric that is defined for the task and these rows; see `score_answers`.

    Args:
        actual: the target's true values, typed as the contract says; length ``n_rows``.
        predictions: of the same rows; the model knows all of their classes.
    """
    truth = truth_of(actual, predictions.target)
    return score_answers(truth, answers_of(predictions, truth))


def truth_of(actual: pa.ChunkedArray, target: Target) -> Truth:
    """Return the true values, and the classes that have a row, in the target's order."""
    if isinstance(target, NumberTarget):
        return Truth(actual.to_numpy().astype(np.float64))
    held, y = np.unique(target.encode(actual), return_inverse=True)
    return Truth(y.astype(np.int64), tuple(target.classes[number] for number in held))


def answers_of(predictions: Predictions, truth: Truth) -> Answers:
    """Return what a model says of the truth's classes, whichever classes it knows."""
    target, values = predictions.target, predictions.values
    if isinstance(target, NumberTarget):
        return Answers(values, np.empty((len(values), 0)))
    positions = np.full(len(target.classes), -1)
    columns = [
        target.classes.index(name) if name in target.classes else None for name in truth.classes
    ]
    for position, column in enumerate(columns):
        if column is not None:
            positions[column] = position
    # Of two classes whose probabilities add up to 1 the second ranks as the first does.
    is_one = len(columns) == len(target.classes) == 2 and None not in columns
    ranked = (1,) if is_one else tuple(range(len(columns)))
    return Answers(positions[values.argmax(axis=1)], _columns(values, columns), ranked)


def _columns(values: Floats, columns: Sequence[int | None]) -> Floats:
    if list(columns) == list(range(values.shape[1])):
        return values
    chosen = np.zeros((len(values), len(columns)))
    for position, column in enumerate(columns):
        if column is not None:
            chosen[:, position] = values[:, column]
    return chosen


def score_answers(truth: Truth, answers: Answers) -> Scores:
    """Return every metric that is defined for these rows; none is NaN or infinite.

    Returns:
        Classification: macro_f1 and accuracy, log_loss (natural logarithm), and from two classes
        on roc_auc (each class against the rest, macro mean). Regression: rmse, mae and, unless
        all rows have one value, r2, in the target's unit.
    """
    scores = _score_classes(truth, answers) if truth.classes else _score_numbers(truth, answers)
    return {metric: value for metric, value in scores.items() if math.isfinite(value)}


def _score_numbers(truth: Truth, answers: Answers) -> Scores:
    y, predicted = truth.y, answers.predicted
    with np.errstate(over="ignore", invalid="ignore"):
        scores: Scores = {
            "rmse": float(sk.root_mean_squared_error(y, predicted)),
            "mae": float(sk.mean_absolute_error(y, predicted)),
        }
        if y.min() < y.max():
            scores["r2"] = float(sk.r2_score(y, predicted))
    return scores


def _score_classes(truth: Truth, answers: Answers) -> Scores:
    y, predicted, numbers = truth.y, answers.predicted, list(range(len(truth.classes)))
    # Annotated as text, documented as a number: a class nobody predicts has precision 0.
    f1 = sk.f1_score(y, predicted, labels=numbers, average="macro", zero_division=0)  # pyright: ignore[reportArgumentType]
    scores: Scores = {
        "macro_f1": float(f1),
        "accuracy": float(np.mean(predicted == y)),
        "log_loss": float(row_losses(truth, answers).mean()),
    }
    if len(numbers) > 1:
        areas = [
            sk.roc_auc_score(y == number, answers.probs[:, number]) for number in answers.ranked
        ]
        scores["roc_auc"] = float(np.mean(areas))
    return scores


def all_finite(predictions: Predictions) -> bool:
    """Tell whether every predicted value is a finite number."""
    return bool(np.isfinite(predictions.values).all())


def is_constant(predictions: Predictions) -> bool:
    """Tell whether the model says the same of every row."""
    values = predictions.values
    return len(values) > 1 and bool(np.all(values == values[:1]))
