"""The loss and the primary metric of any model on a split's rows, from its scores alone."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline_lib.config.training import LossSettings
from pipeline_lib.errors import TrainingError
from pipeline_lib.models import Model
from pipeline_lib.training.batches import EVAL_BATCH_ROWS
from pipeline_lib.training.losses import build_loss
from pipeline_lib.training.metrics import EpochMetric
from pipeline_lib.training.rows import Rows


@dataclass(frozen=True)
class Answered:
    """A model's scores of some rows, the rows' targets, and their weights if they have any.

    Shape:
        scores as `Model.scores` has them; y and weight ``(n_rows,)``; all on the CPU.
    """

    scores: Tensor
    y: Tensor
    weight: Tensor | None = None


def judge(
    model: Model,
    rows: Rows,
    *,
    n_classes: int,
    settings: LossSettings | None = None,
    metric: EpochMetric | None = None,
) -> tuple[float, float | None]:
    """Return the mean loss, without smoothing and weights of classes, and the metric.

    Both are by the weights of the rows, if they have any.

    Args:
        model: any.
        rows: of a split.
        n_classes: 0 for a regression.
        settings: of the loss.
        metric: to compute on the same rows; the result is None without it, or if undefined.

    Raises:
        TrainingError: the loss is not finite.
    """

    def answered() -> Iterator[Answered]:
        for batch in rows.in_order(EVAL_BATCH_ROWS):
            x_cat, x_num = batch.x_cat.cpu().numpy(), batch.x_num.cpu().numpy()
            weight = None if batch.weight is None else batch.weight.cpu()
            yield Answered(torch.from_numpy(model.scores(x_cat, x_num)), batch.y.cpu(), weight)

    return judge_answers(answered(), n_classes=n_classes, settings=settings, metric=metric)


def judge_answers(
    answers: Iterable[Answered],
    *,
    n_classes: int,
    settings: LossSettings | None = None,
    metric: EpochMetric | None = None,
) -> tuple[float, float | None]:
    """Return the mean loss and the metric of scores and their targets; see `judge`."""
    total = mass = 0.0
    for answered in answers:
        scores, y, weight = answered.scores, answered.y, answered.weight
        if n_classes:
            losses = _log_losses(scores, y)
            total += float(losses.sum() if weight is None else (losses * weight).sum())
        else:
            total += float(build_loss("regression", settings).summed(scores, y, weight))
        if metric is not None:
            metric.add(scores, y, weight)
        mass += len(y) if weight is None else float(weight.sum())
    loss = total / mass
    if not math.isfinite(loss):
        raise TrainingError(
            "the loss of the fitted model is not finite. Nothing was registered. Look for extreme "
            "numbers in the data"
        )
    return loss, None if metric is None else metric.compute(loss)


def _log_losses(probs: Tensor, y: Tensor) -> Tensor:
    """Return -log of the probability of each row's class; 0 counts as the least that is above."""
    of_class = probs.gather(1, y.long().unsqueeze(1))[:, 0]
    return -of_class.clamp(min=torch.finfo(probs.dtype).eps).log()
