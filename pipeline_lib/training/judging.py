"""The loss and the primary metric of any model on a split's rows, from its scores alone."""

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from pipeline_lib.config.training import LossSettings
from pipeline_lib.errors import TrainingError
from pipeline_lib.models import Model
from pipeline_lib.training.batches import EVAL_BATCH_ROWS
from pipeline_lib.training.losses import build_loss
from pipeline_lib.training.metrics import EpochMetric
from pipeline_lib.training.rows import Rows


def judge(
    model: Model,
    rows: Rows,
    *,
    n_classes: int,
    settings: LossSettings | None = None,
    metric: EpochMetric | None = None,
) -> tuple[float, float | None]:
    """Return the mean loss, without smoothing and weights, and the metric.

    Args:
        model: any.
        rows: of a split.
        n_classes: 0 for a regression.
        settings: of the loss.
        metric: to compute on the same rows; the result is None without it, or if undefined.

    Raises:
        TrainingError: the loss is not finite.
    """

    def answered() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in rows.in_order(EVAL_BATCH_ROWS):
            x_cat, x_num = batch.x_cat.cpu().numpy(), batch.x_num.cpu().numpy()
            yield torch.from_numpy(model.scores(x_cat, x_num)), batch.y.cpu()

    return judge_answers(answered(), n_classes=n_classes, settings=settings, metric=metric)


def judge_answers(
    answers: Iterable[tuple[Tensor, Tensor]],
    *,
    n_classes: int,
    settings: LossSettings | None = None,
    metric: EpochMetric | None = None,
) -> tuple[float, float | None]:
    """Return the mean loss and the metric of scores and their targets; see `judge`."""
    total, n_rows = 0.0, 0
    for scores, y in answers:
        if n_classes:
            total += float(_log_losses(scores, y).sum())
        else:
            total += float(build_loss("regression", settings).summed(scores, y))
        if metric is not None:
            metric.add(scores, y)
        n_rows += len(y)
    loss = total / n_rows
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
