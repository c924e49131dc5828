"""What a model is compared with: a constant, and scikit-learn's gradient boosting.

Both come from encoded splits that stay in their files. Gradient boosting holds its training rows
in memory, so it is trained on a sample where there are many.
"""

from random import Random
from typing import Literal, assert_never

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from pipeline_lib.config.metrics import Metric
from pipeline_lib.encoding import EncodedSplit, NumberTarget, Target
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.evaluation.comparison import is_better
from pipeline_lib.serving import Predictions

Baseline = Literal["constant", "gradient_boosting"]

# Most rows that gradient boosting is trained on.
SAMPLE_ROWS = 200_000
# HistGradientBoosting takes a column as categorical up to this many codes.
_MAX_CODES = 255
# Below this many rows its threads mostly wait for each other: 1,208 rows took 0.35 CPU s with one
# thread, 3.3 to 6.5 with two on a busy machine (2026-11).
_ONE_THREAD_ROWS = 50_000


def predict_baseline(
    baseline: Baseline,
    train: SplitFile,
    test: SplitFile,
    *,
    target: Target,
    cardinalities: tuple[int, ...],
    seed: int,
    sample_rows: int = SAMPLE_ROWS,
) -> Predictions:
    """Train a baseline on the training rows and predict the test rows.

    The constant one gives each class its share of the training rows (so it predicts the majority
    class), or the mean. The other is trained on at most `sample_rows` of them; see `sampled`.
    """
    match baseline:
        case "constant":
            values = _constant(train, test.n_rows, target)
        case "gradient_boosting":
            rows = sampled(train, sample_rows, seed=seed)
            with threadpool_limits(1 if rows.n_rows < _ONE_THREAD_ROWS else None):
                values = _boosted(rows, test, target, cardinalities, seed)
        case _:
            assert_never(baseline)
    return Predictions(target, values, np.zeros(test.n_rows, np.int32))


def baseline_note(baseline: Baseline, n_rows: int, *, sample_rows: int = SAMPLE_ROWS) -> str | None:
    """Return how a baseline's training rows differ from all `n_rows`; None if they do not.

    >>> baseline_note("gradient_boosting", 1_000_000)
    'gradient boosting was trained on 200,000 of 1,000,000 training rows, drawn uniformly'
    """
    if baseline == "constant" or n_rows <= sample_rows:
        return None
    name = baseline.replace("_", " ")
    return f"{name} was trained on {sample_rows:,} of {n_rows:,} training rows, drawn uniformly"


def ahead_note(baseline: Baseline, metric: Metric, model: float, value: float) -> str | None:
    """Return the warning that a baseline is better than the model, if it is.

    >>> ahead_note("gradient_boosting", "rmse", 3.0, 2.0)
    'gradient boosting is ahead of the new model: rmse 2.0000 against 3.0000'
    """
    if not is_better(metric, value, model):
        return None
    name = baseline.replace("_", " ")
    return f"{name} is ahead of the new model: {metric} {value:.4f} against {model:.4f}"


def sampled(file: SplitFile, n_rows: int, *, seed: int) -> EncodedSplit:
    """Return `n_rows` rows in their order, every choice equally likely; all if there are fewer."""
    if file.n_rows <= n_rows:
        return file.read(range(file.n_groups))
    # Not numpy's choice, which may hold 50 numbers for each that it draws.
    drawn = Random(seed).sample(range(file.n_rows), n_rows)  # noqa: S311 - no secret
    chosen = np.sort(np.array(drawn, np.int64))
    sample, start = file.room(n_rows), 0
    for rows in file.in_groups():
        first, last = np.searchsorted(chosen, (start, start + rows.n_rows))
        taken, room = rows.take(chosen[first:last] - start), sample.slice(int(first), int(last))
        room.x_cat[:], room.x_num[:], room.y[:] = taken.x_cat, taken.x_num, taken.y
        start += rows.n_rows
    return sample


def _constant(train: SplitFile, n_rows: int, target: Target) -> npt.NDArray[np.float64]:
    if isinstance(target, NumberTarget):
        return np.full(n_rows, target.mean)
    counts = np.zeros(len(target.classes), np.int64)
    for labels in train.labels():
        counts += np.bincount(labels.astype(np.int64), minlength=len(counts))
    return np.broadcast_to(counts / train.n_rows, (n_rows, len(counts)))


def _boosted(
    train: EncodedSplit,
    test: SplitFile,
    target: Target,
    cardinalities: tuple[int, ...],
    seed: int,
) -> npt.NDArray[np.float64]:
    categorical = [n <= _MAX_CODES for n in cardinalities] + [False] * train.x_num.shape[1]
    if isinstance(target, NumberTarget):
        regressor = HistGradientBoostingRegressor(
            categorical_features=categorical, random_state=seed
        )
        regressor.fit(_matrix(train), train.y)
        outputs = [regressor.predict(_matrix(rows)) for rows in test.in_groups()]
        return target.decode(np.concatenate(outputs).astype(np.float32))
    classifier = HistGradientBoostingClassifier(categorical_features=categorical, random_state=seed)
    classifier.fit(_matrix(train), train.y)
    probs = np.zeros((test.n_rows, len(target.classes)))
    known: npt.NDArray[np.int64] = np.asarray(classifier.classes_, np.int64)
    start = 0
    for rows in test.in_groups():
        probs[start : start + rows.n_rows, known] = classifier.predict_proba(_matrix(rows))
        start += rows.n_rows
    return probs


def _matrix(rows: EncodedSplit) -> npt.NDArray[np.float32]:
    return np.concatenate([rows.x_cat.astype(np.float32), rows.x_num], axis=1)
