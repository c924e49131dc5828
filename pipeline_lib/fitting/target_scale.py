"""Which scale a number is learned on: chosen by the validation rows, with two quick fits of trees.

Both are judged by their RMSE in the target's own unit, predictions of the log scale with
their factor. The same rows give the same choice: nothing of it depends on `training`.
"""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from pipeline_lib.config.data import DataSettings
from pipeline_lib.config.models import BoostingSettings
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.encoding import EncodedSplit, Encoder, NumberTarget
from pipeline_lib.encoding.log_scale import LogScaleFitter
from pipeline_lib.encoding.target import on_its_scale
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.errors import TrainingError
from pipeline_lib.evaluation.baselines import sampled
from pipeline_lib.models import Dimensions
from pipeline_lib.models.boosting import BoostingKind
from pipeline_lib.models.estimator import FitInput
from pipeline_lib.training.losses import TaskLoss
from pipeline_lib.training.rows import TensorSplit

Floats = npt.NDArray[np.float64]

# Most rows of a split that the fits see.
SAMPLE_ROWS = 20_000
# Fewer validation rows choose nothing.
_LEAST_VAL_ROWS = 50
# A smaller gain is not known to be one: between splits of a table the RMSE differs by as much.
_LEAST_GAIN = 0.01
_QUICK = BoostingSettings(learning_rate=0.1, max_rounds=200, patience=20)
_CPU = torch.device("cpu")


def choose_scale(
    target: NumberTarget, encoder: Encoder, train: SplitFile, val: SplitFile
) -> NumberTarget:
    """Return the target on the better scale, with both figures in its `choice`.

    Args:
        target: on the log scale; both splits are encoded with it.
        encoder: of both splits.
        train: rows to learn from, of which a sample is drawn.
        val: rows to choose by, likewise.
    """
    parts = [sampled(split, SAMPLE_ROWS, seed=0) for split in (train, val)]
    return choose_in_memory(target, encoder, *parts)


def choose_in_memory(
    target: NumberTarget, encoder: Encoder, train: EncodedSplit, val: EncodedSplit
) -> NumberTarget:
    """Return the target on the better scale; as `choose_scale`, all rows are looked at."""
    if val.n_rows < _LEAST_VAL_ROWS or not train.n_rows:
        why = f"fewer than {_LEAST_VAL_ROWS} validation rows, which choose nothing"
        return replace(target.linear, choice=f"on the linear scale: {why}")
    log = _tried(target, encoder, train, val)
    linear = _tried(
        target.linear, encoder, _on_linear_scale(target, train), _on_linear_scale(target, val)
    )
    said = (
        f"RMSE {linear:,.6g} on the linear scale, {log:,.6g} on the log scale "
        f"({val.n_rows:,} validation rows, quick fits of trees)"
    )
    if log < linear * (1 - _LEAST_GAIN):
        return replace(target, choice=f"on the log scale: {said}")
    return replace(target.linear, choice=f"on the linear scale: {said}")


def scaled_in_memory(
    data: DataSettings, target: NumberTarget, encoder: Encoder, train: pa.Table, val: pa.Table
) -> NumberTarget:
    """Return a target on the scale that `data.target_scale` asks for.

    Args:
        data: the target's settings.
        target: on the linear scale.
        encoder: of the rows.
        train: typed rows to learn from.
        val: typed rows to choose by.

    Raises:
        ContractError: it shall be on the log scale, and rows have no logarithm.
    """
    logs = LogScaleFitter()
    logs.add(train[target.column])
    logs.look(val[target.column])
    target = on_its_scale(data, target, logs, n_rows=train.num_rows + val.num_rows)
    if data.target_scale != "auto" or target.log is None:
        return target
    few = [EncodedSplit.of(_drawn(rows), encoder, target) for rows in (train, val)]
    return choose_in_memory(target, encoder, *few)


def _drawn(rows: pa.Table) -> pa.Table:
    if rows.num_rows <= SAMPLE_ROWS:
        return rows
    drawn = np.random.default_rng(0).choice(rows.num_rows, SAMPLE_ROWS, replace=False)
    return rows.take(pa.array(np.sort(drawn)))


def _on_linear_scale(target: NumberTarget, split: EncodedSplit) -> EncodedSplit:
    return replace(split, y=target.encode_linear(split.y))


def _tried(target: NumberTarget, encoder: Encoder, train: EncodedSplit, val: EncodedSplit) -> float:
    """Return the RMSE of trees on the validation rows; infinite where there are none."""
    given = FitInput(
        TensorSplit.of(train, _CPU),
        TensorSplit.of(val, _CPU),
        Dimensions.of(encoder, target),
        TaskLoss("regression"),
        TrainingSettings(),
        lambda _done, _at_most: None,
    )
    try:
        model = BoostingKind(_QUICK).fit(given)
    except TrainingError:  # of targets beyond float32
        return math.inf
    outputs = model.scores(val.x_cat, val.x_num)[:, 0]
    predicted = target.with_factor(outputs, val.y, val.weight).decode(outputs)
    return _root_mean_square(predicted - target.values(val.y))


def _root_mean_square(errors: Floats) -> float:
    largest = float(np.abs(errors).max())
    if not largest or not math.isfinite(largest):
        return largest
    return largest * float(np.sqrt(np.square(errors / largest).mean()))
