"""What a model is compared with: a constant, and the product's own `linear` and `boosting`.

Baselines are trained from encoded splits that stay in their files, on the CPU. Rows lie in memory
for it, so there is a sample where there are many. One that the training has made already is not
trained again.
"""

import time
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, assert_never

import numpy as np
import numpy.typing as npt
import torch

from pipeline_lib.config.baselines import Baseline
from pipeline_lib.config.models import BoostingSettings, LinearSettings, MemberSettings
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.encoding import ClassTarget, EncodedSplit, NumberTarget, Target
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.evaluation.results import HeldBaseline
from pipeline_lib.models import Dimensions, EstimatorKind, FitInput, Model, member_kind
from pipeline_lib.serving import FittedModel, Predictions, load_model
from pipeline_lib.training.batches import EVAL_BATCH_ROWS
from pipeline_lib.training.devices import suitable_threads
from pipeline_lib.training.losses import TaskLoss, class_weights
from pipeline_lib.training.rows import ChainedRows, TensorSplit, count_classes

# Most training rows of a baseline; beside a sample there is a quarter of it to stop by.
SAMPLE_ROWS = 50_000
_VAL_OF_SAMPLE = 4
# Of a sample: of 50,000 rows of 14 columns 1.4 CPU s instead of 5.8, test log loss 0.513 instead
# of 0.510 (2026-12).
_LEARNING_RATE_OF_SAMPLE = 0.1


@dataclass(frozen=True)
class EncodedSplits:
    """The rows that baselines learn from, are stopped by, and predict."""

    train: SplitFile
    val: SplitFile
    test: SplitFile


@dataclass(frozen=True)
class BaselineAnswers:
    """What a baseline predicts for the test rows.

    `fit_s` are the seconds of its training, a second fit included; `note` says how it differs from
    the model that the config would give with its kind, empty if it does not.
    """

    predictions: Predictions
    fit_s: float
    note: str = ""


def predict_baseline(
    baseline: Baseline,
    splits: EncodedSplits,
    *,
    model: FittedModel,
    training: TrainingSettings,
    held: HeldBaseline | None = None,
    sample_rows: int = SAMPLE_ROWS,
) -> BaselineAnswers:
    """Train a baseline on the training rows and predict the test rows.

    The constant one gives each class its share of the training rows (so it predicts the majority
    class), or the mean, by their weights if rows have some. The others are what `model: {kind:
    linear}` or `boosting` would be. Of more than `sample_rows` training rows there is a sample, see
    `sampled`, and they are fitted once, boosting with a larger learning rate.

    Args:
        baseline: which one.
        splits: as the model's encoder wrote them.
        model: has the encoder and the target.
        training: of the config; its loss, class weights, `refit` and seed are heeded.
        held: the baseline that the training has made and saved; it is loaded.
        sample_rows: most training rows.

    Raises:
        TrainingError: there is no such model of these rows, or its library cannot be loaded.
        ModelError: the files of `held` are damaged.
    """
    test, target = splits.test, model.target
    if held is not None:
        values = _answers(load_model(held.folder).model, test, target)
        return BaselineAnswers(_predictions(target, values), held.fit_s, held.note)
    started = time.perf_counter()
    match baseline:
        case "constant":
            values = _constant(splits.train, test.n_rows, target)
            return BaselineAnswers(_predictions(target, values), time.perf_counter() - started)
        case "linear" | "boosting":
            fitted, target = _fitted(baseline, splits, model, training, sample_rows)
            fit_s = time.perf_counter() - started
            note = _sample_note(baseline, splits.train.n_rows, sample_rows)
            return BaselineAnswers(
                _predictions(target, _answers(fitted, test, target)), fit_s, note
            )
        case _:
            assert_never(baseline)


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
        if room.weight is not None:
            room.weight[:] = taken.weight
        start += rows.n_rows
    return sample


def _fitted(
    baseline: Literal["linear", "boosting"],
    splits: EncodedSplits,
    like: FittedModel,
    training: TrainingSettings,
    sample_rows: int,
) -> tuple[Model, Target]:
    """Return the model of a kind that learns in one call, as a training of its own gives it.

    And the target that decodes its scores: from the log scale with a factor of its own.
    """
    is_sample, device = splits.train.n_rows > sample_rows, torch.device("cpu")
    kind = member_kind(_settings(baseline, is_sample=is_sample))
    assert isinstance(kind, EstimatorKind)
    n_val = max(sample_rows // _VAL_OF_SAMPLE, 1) if is_sample else sample_rows
    train, val = (
        TensorSplit.of(sampled(file, n_rows, seed=training.seed), device)
        for file, n_rows in ((splits.train, sample_rows), (splits.val, n_val))
    )
    dimensions, weights = Dimensions.of(like.encoder, like.target), None
    if isinstance(like.target, ClassTarget):
        classes = like.target.classes
        weights = class_weights(training.loss, classes, count_classes(train, len(classes)))
    # Of two classes one logit is enough, though more are allowed.
    loss = TaskLoss("binary" if dimensions.n_classes == 2 else like.task, training.loss, weights)
    given = FitInput(train, val, dimensions, loss, training, _unheard, weights)
    n_inputs = len(dimensions.cardinalities) + dimensions.n_numeric
    n_macs = min(train.n_rows, EVAL_BATCH_ROWS) * n_inputs * dimensions.d_out
    with suitable_threads(n_macs, device):
        model = kind.fit(given)
        target = _with_factor(like.target, model, val)
        if training.refit and not is_sample:
            both = replace(given, train=ChainedRows((train, val)))
            model = kind.refit(model, both) or model
    return model, target


def _with_factor(target: Target, model: Model, val: TensorSplit) -> Target:
    if not isinstance(target, NumberTarget) or target.log is None:
        return target
    weight = None if val.weight is None else val.weight.numpy()
    outputs = model.scores(val.x_cat.numpy(), val.x_num.numpy())[:, 0]
    return target.with_factor(outputs, val.y.numpy(), weight)


def _settings(baseline: Literal["linear", "boosting"], *, is_sample: bool) -> MemberSettings:
    if baseline == "linear":
        return LinearSettings()
    return (
        BoostingSettings(learning_rate=_LEARNING_RATE_OF_SAMPLE)
        if is_sample
        else BoostingSettings()
    )


def _unheard(done: int, at_most: int) -> None:
    """Take how far a fit is; baselines show no progress."""
    del done, at_most


def _answers(model: Model, test: SplitFile, target: Target) -> npt.NDArray[np.float64]:
    """Return class probabilities ``(n_rows, n_classes)``, or numbers in the target's unit."""
    parts = [
        model.scores(part.x_cat, part.x_num)
        for rows in test.in_groups()
        for part in (
            rows.slice(start, start + EVAL_BATCH_ROWS)
            for start in range(0, rows.n_rows, EVAL_BATCH_ROWS)
        )
    ]
    scores = np.concatenate(parts)
    return target.decode(scores[:, 0]) if isinstance(target, NumberTarget) else scores


def _predictions(target: Target, values: npt.NDArray[np.float64]) -> Predictions:
    return Predictions(target, values, np.zeros(len(values), np.int32))


def _sample_note(baseline: Baseline, n_rows: int, sample_rows: int) -> str:
    if n_rows <= sample_rows:
        return ""
    rate = f", at a learning rate of {_LEARNING_RATE_OF_SAMPLE}" if baseline == "boosting" else ""
    of = f"{sample_rows:,} of {n_rows:,} training rows"
    return f"the baseline {baseline} was trained on {of}, drawn uniformly{rate}"


def _constant(train: SplitFile, n_rows: int, target: Target) -> npt.NDArray[np.float64]:
    if isinstance(target, NumberTarget):
        return np.full(n_rows, _mean(train, target))
    counts = np.zeros(len(target.classes))
    for labels, weights in zip(train.labels(), train.weights(), strict=True):
        counts += np.bincount(labels.astype(np.int64), weights, len(counts))
    return np.broadcast_to(counts / counts.sum(), (n_rows, len(counts)))


def _mean(train: SplitFile, target: NumberTarget) -> float:
    """Return the mean of the training rows in the target's unit, by their weights."""
    if not train.is_weighted:
        return target.mean
    total = mass = 0.0
    for labels, weights in zip(train.labels(), train.weights(), strict=True):
        assert weights is not None
        total += float(target.encode_linear(labels).astype(np.float64) @ weights)
        mass += float(weights.sum(dtype=np.float64))
    return float(target.linear.decode(np.array([total / mass]))[0])
