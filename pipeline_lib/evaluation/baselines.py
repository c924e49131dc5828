"""What a model has to be measured against: a constant, and scikit-learn's gradient boosting."""

from typing import Literal, assert_never

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from pipeline_lib.encoding import EncodedSplit, NumberTarget, Target
from pipeline_lib.serving import Predictions

Baseline = Literal["constant", "gradient_boosting"]

# HistGradientBoosting takes a column as categorical up to this many codes.
_MAX_CODES = 255
# Below this many rows its threads mostly wait for each other: 1,208 rows took 0.35 CPU s with one
# thread, 3.3 to 6.5 with two on a busy machine (2026-11).
_ONE_THREAD_ROWS = 50_000


def predict_baseline(
    baseline: Baseline,
    train: EncodedSplit,
    test: EncodedSplit,
    *,
    target: Target,
    cardinalities: tuple[int, ...],
    seed: int,
) -> Predictions:
    """Learn a baseline from the training rows and predict the test rows.

    The constant one gives each class its share of the training rows (so it says the majority
    class), or the mean.
    """
    match baseline:
        case "constant":
            values = _constant(train, test.n_rows, target)
        case "gradient_boosting":
            with threadpool_limits(1 if train.n_rows < _ONE_THREAD_ROWS else None):
                values = _boosted(train, test, target, cardinalities, seed)
        case _:
            assert_never(baseline)
    return Predictions(target, values, np.zeros(test.n_rows, np.int32))


def _constant(train: EncodedSplit, n_rows: int, target: Target) -> npt.NDArray[np.float64]:
    if isinstance(target, NumberTarget):
        return np.full(n_rows, target.mean)
    shares = np.bincount(train.y.astype(np.int64), minlength=len(target.classes)) / train.n_rows
    return np.tile(shares, (n_rows, 1))


def _boosted(
    train: EncodedSplit,
    test: EncodedSplit,
    target: Target,
    cardinalities: tuple[int, ...],
    seed: int,
) -> npt.NDArray[np.float64]:
    categorical = [n <= _MAX_CODES for n in cardinalities] + [False] * train.x_num.shape[1]
    x_train, x_test = (
        np.concatenate([part.x_cat.astype(np.float32), part.x_num], axis=1)
        for part in (train, test)
    )
    if isinstance(target, NumberTarget):
        regressor = HistGradientBoostingRegressor(
            categorical_features=categorical, random_state=seed
        )
        regressor.fit(x_train, train.y)
        return target.decode(regressor.predict(x_test).astype(np.float32))
    classifier = HistGradientBoostingClassifier(categorical_features=categorical, random_state=seed)
    classifier.fit(x_train, train.y)
    probs = np.zeros((test.n_rows, len(target.classes)))
    known: npt.NDArray[np.int64] = np.asarray(classifier.classes_, np.int64)
    probs[:, known] = classifier.predict_proba(x_test)
    return probs
