"""What `TrainingSession` asks of a training, whatever kind of model it makes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.data import Task
from pipeline_lib.config.training import CrossEntropy, TrainingSettings
from pipeline_lib.encoding import ClassTarget, Encoder, NumberTarget, Target
from pipeline_lib.encoding.log_scale import LogScale
from pipeline_lib.home import Home
from pipeline_lib.models import Dimensions, Kind, Model, Network
from pipeline_lib.models.carry_over import CarriedOver
from pipeline_lib.training.batches import EVAL_BATCH_ROWS
from pipeline_lib.training.keeper import Resumable
from pipeline_lib.training.losses import TaskLoss, class_weights
from pipeline_lib.training.metrics import EpochMetric
from pipeline_lib.training.records import EpochRecord, Progress
from pipeline_lib.training.rows import Rows, count_classes

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TrainingInput:
    """What a training is given: settings, and both splits as an encoder and a target made them.

    `home` keeps compiled code.
    """

    config: PipelineConfig
    encoder: Encoder
    target: Target
    train: Rows
    val: Rows
    home: Home | None = None

    @property
    def training(self) -> TrainingSettings:
        """The settings of the training."""
        return self.config.training

    @property
    def device(self) -> torch.device:
        """Where batches lie."""
        return self.train.device

    @property
    def dimensions(self) -> Dimensions:
        """The widths of rows and answers."""
        return Dimensions.of(self.encoder, self.target)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes; none of a regression."""
        return self.target.classes if isinstance(self.target, ClassTarget) else ()

    @property
    def task(self) -> Task:
        """The task of the loss: of two classes one logit is enough, though more are allowed."""
        return "binary" if len(self.classes) == 2 else self.config.data.task

    @property
    def target_deviation(self) -> float:
        """The standard deviation of a number, for errors in its own unit; 1 for classes."""
        return self.target.deviation if isinstance(self.target, NumberTarget) else 1.0

    @property
    def log(self) -> LogScale | None:
        """How the logarithm of a number is standardized, if that is what is learned."""
        return self.target.log if isinstance(self.target, NumberTarget) else None

    def class_weights(self) -> torch.Tensor | None:
        """Return the loss's weight of each class, or None where all classes count alike.

        Raises:
            TrainingError: a weight is of a class that does not exist.
        """
        loss = self.training.loss
        if not isinstance(loss, CrossEntropy) or loss.class_weights is None:
            return None
        counts = count_classes(self.train, len(self.classes))
        return class_weights(loss, self.classes, counts)

    def loss(self) -> TaskLoss:
        """Return the loss to learn by, with weights and smoothing."""
        return TaskLoss(self.task, self.training.loss, self.class_weights()).to(self.device)

    def metric(self) -> EpochMetric:
        """Return the primary metric, in the unit of the final one."""
        return EpochMetric(
            self.config.primary,
            n_classes=len(self.classes),
            scale=self.target_deviation,
            log=self.log,
        )


def scores_of(model: Model, rows: Rows) -> Floats:
    """Return a model's scores of all rows of a split, as they lie; shape as of `Model.scores`."""
    parts = [
        model.scores(batch.x_cat.cpu().numpy(), batch.x_num.cpu().numpy())
        for batch in rows.in_order(EVAL_BATCH_ROWS)
    ]
    return np.concatenate(parts)


@dataclass(frozen=True)
class Figures:
    """How good a model is on the rows of its training; means, if it has several members.

    `epoch` is the best one, None where there are no epochs; `n_passes` over the training rows
    took `seconds`, a second fit on training and validation rows `refit_s` more; `primary` is None
    where it is undefined on the validation rows.
    """

    train_loss: float
    val_loss: float
    primary: float | None
    seconds: float
    n_passes: int
    epoch: float | None = None
    refit_s: float = 0.0

    @property
    def fit_s(self) -> float:
        """Seconds of the whole training."""
        return self.seconds + self.refit_s


@dataclass(frozen=True)
class Part:
    """A model that a training has made: the trained one itself, or a member of it.

    `name` says which, `is_whole` that it is the trained model itself. One that `is_refit` learned
    from training and validation rows; `fit_s` are the seconds of its training.
    """

    kind: Kind
    model: Model
    fit_s: float
    name: str
    is_refit: bool = False
    is_whole: bool = True


class Training(Protocol):
    """One training; `epochs()` does the work, and `model()` gives what has come of it."""

    def epochs(self, on_pulse: Callable[[Progress], None] | None = None) -> Iterator[EpochRecord]:
        """Train, yielding a record after each epoch; of a kind without epochs there are none.

        Args:
            on_pulse: called now and then with how far it is.
        """
        ...

    def model(self) -> Model:
        """Return the trained model."""
        ...

    def val_scores(self) -> Floats:
        """Return the scores of the validation rows, by the model that never learned from them.

        Shape as of `Model.scores`.
        """
        ...

    @property
    def history(self) -> Sequence[EpochRecord]:
        """The records of all epochs so far."""
        ...

    @property
    def last(self) -> EpochRecord | None:
        """The record of the last epoch, if one has ended."""
        ...

    @property
    def best(self) -> Sequence[EpochRecord]:
        """The record of the best epoch so far, one for each member."""
        ...

    @property
    def figures(self) -> Figures:
        """How good the model is."""
        ...

    @property
    def plan(self) -> str:
        """What is about to be done, in words."""
        ...

    @property
    def course(self) -> tuple[str, str]:
        """How it went, for the page: a title and a text."""
        ...

    @property
    def size(self) -> str:
        """How large the model is; see `Model.size`."""
        ...

    @property
    def carried(self) -> CarriedOver | None:
        """What the first weights have of the champion's; None if they are fresh."""
        ...

    @property
    def network(self) -> Network | None:
        """The network that is being trained, if it is one."""
        ...

    @property
    def parts(self) -> Sequence[Part]:
        """The models that it has made, each of all training rows; members without weight too."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should be warned of."""
        ...

    @property
    def resumable(self) -> Resumable | None:
        """What can go on after an interruption; None where a training starts over."""
        ...
