"""Final metrics, by scikit-learn, on labels and probabilities as they leave the predictor."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn import metrics as sk

from pipeline_lib.encoding import ClassTarget, NumberTarget
from pipeline_lib.evaluation.comparison import Scores
from pipeline_lib.serving import Predictions


def score(actual: pa.ChunkedArray, predictions: Predictions) -> Scores:
    """Return every metric that is defined for the task and these rows.

    Args:
        actual: the target's true values, typed as the contract says; length ``n_rows``.
        predictions: of the same rows.

    Returns:
        Classification: macro_f1, accuracy, log_loss (natural logarithm), and roc_auc where every
        class has a row (of several classes one against the rest, macro mean). Regression: rmse,
        mae and r2 in the target's unit; r2 from two rows on.
    """
    target = predictions.target
    if isinstance(target, NumberTarget):
        return _score_numbers(actual.to_numpy().astype(np.float64), predictions.values)
    return _score_classes(target, actual, predictions.values)


def _score_numbers(y: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64]) -> Scores:
    scores: Scores = {
        "rmse": float(sk.root_mean_squared_error(y, predicted)),
        "mae": float(sk.mean_absolute_error(y, predicted)),
    }
    if len(y) > 1:
        scores["r2"] = float(sk.r2_score(y, predicted))
    return scores


def _score_classes(
    target: ClassTarget, actual: pa.ChunkedArray, probs: npt.NDArray[np.float64]
) -> Scores:
    y, predicted = target.encode(actual), probs.argmax(axis=1)
    numbers = list(range(len(target.classes)))
    # Annotated as text, documented as a number: a class nobody predicts has precision 0.
    f1 = sk.f1_score(y, predicted, average="macro", zero_division=0)  # pyright: ignore[reportArgumentType]
    scores: Scores = {
        "macro_f1": float(f1),
        "accuracy": float(sk.accuracy_score(y, predicted)),
        "log_loss": float(sk.log_loss(y, probs, labels=numbers)),
    }
    if len(np.unique(y)) == len(numbers):
        ranking = probs[:, 1] if len(numbers) == 2 else probs
        scores["roc_auc"] = float(sk.roc_auc_score(y, ranking, multi_class="ovr", average="macro"))
    return scores


def all_finite(predictions: Predictions) -> bool:
    """Tell whether every predicted value is a finite number."""
    return bool(np.isfinite(predictions.values).all())


def is_constant(predictions: Predictions) -> bool:
    """Tell whether the model says the same of every row."""
    values = predictions.values
    return len(values) > 1 and bool(np.all(values == values[:1]))
