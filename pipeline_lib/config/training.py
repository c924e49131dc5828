"""How a model learns: optimizer, loss, early stopping.

Adding one is a class here, a place in its union, and one `case` where it is built.
"""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline_lib.config.schedules import (
    ConstantSchedule,
    CosineSchedule,
    CosineWarmupSchedule,
    MultiStepSchedule,
    SchedulerSettings,
)
from pipeline_lib.config.settings import Settings


class _Optimizer(Settings):
    learning_rate: float = Field(default=1e-3, gt=0, le=10, description="step size, its peak")
    weight_decay: float = Field(
        default=0.0, ge=0, le=1, description="pull of linear weights to zero; biases have none"
    )
    weight_decay_embeddings: float = Field(
        default=0.0, ge=0, le=1, description="pull of embeddings to zero, of all rows each step"
    )


class Adam(_Optimizer):
    """torch.optim.Adam."""

    kind: Literal["adam"] = "adam"


class AdamW(_Optimizer):
    """torch.optim.AdamW: Adam with decoupled weight decay."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = Field(
        default=1e-2, ge=0, le=1, description="pull of linear weights to zero; biases have none"
    )


class SGD(_Optimizer):
    """torch.optim.SGD with momentum."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: float = Field(default=1e-2, gt=0, le=10, description="step size, its peak")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="share of the last step kept")
    nesterov: bool = Field(default=False, description="look ahead along the momentum")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "SGD":
        if self.nesterov and self.momentum == 0:
            raise ValueError("`nesterov` needs a `momentum` above 0")
        return self


OptimizerSettings = Annotated[Adam | AdamW | SGD, Field(discriminator="kind")]


class CrossEntropy(Settings):
    """Cross entropy of classes."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of the target spread over all classes"
    )
    class_weights: (
        Literal["balanced"] | dict[str, Annotated[float, Field(ge=1e-6, le=1e6)]] | None
    ) = Field(
        default=None,
        description="weight per class name, others 1; `balanced` makes all classes count alike",
    )


class SquaredError(Settings):
    """Mean squared error of standardized numbers."""

    kind: Literal["mse"] = "mse"


class Huber(Settings):
    """Squared error of small deviations, absolute error of large ones."""

    kind: Literal["huber"] = "huber"
    delta: float = Field(
        default=1.0, gt=0, description="where it turns, in deviations of the target"
    )


LossSettings = Annotated[CrossEntropy | SquaredError | Huber, Field(discriminator="kind")]


class EarlyStopping(Settings):
    """Stop when validation has not improved for a while."""

    patience: int = Field(default=20, ge=1, description="epochs without progress before the stop")
    min_delta: float = Field(default=0.0, ge=0, description="change that counts as progress")


class TrainingSettings(Settings):
    """How the network learns. The epoch with the best validation gives the weights."""

    epochs: int = Field(default=100, ge=1, le=100_000, description="passes over the training rows")
    start_from: Literal["scratch", "champion"] = Field(
        default="scratch",
        description="first weights: fresh ones, or those of the model in use where it fits",
    )
    warm_epochs: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="epochs when weights are the champion's; null: a quarter of `epochs`",
    )
    warm_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="share of the champion in the first weights; the rest is fresh, or a network "
        "learns its rows by heart night after night",
    )
    batch_size: int | Literal["full"] = Field(
        default=64, description="rows per step, 2 or more; `full` takes all at once"
    )
    optimizer: OptimizerSettings = Field(default=Adam(), description="who moves the weights")
    scheduler: SchedulerSettings = Field(
        default=ConstantSchedule(), description="how the learning rate changes"
    )
    loss: LossSettings | None = Field(
        default=None,
        description="what a step lowers; without it cross_entropy, for a regression mse. "
        "Validation is always told without smoothing and weights",
    )
    clip_norm: float | None = Field(
        default=None, gt=0, description="longest gradient of all weights together; null: any"
    )
    accumulation: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="parts in which a step's rows are computed, to need less memory; BatchNorm "
        "sees each part for itself",
    )
    ema_decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="of a moving average of all weights, step by step, as 0.999: it is validated "
        "and kept in place of the weights themselves; null: none",
    )
    n_members: int = Field(
        default=1,
        ge=1,
        le=64,
        description="networks that differ in their seed, trained one after the other; "
        "the model's answer is their mean",
    )
    precision: Literal["float32", "bf16", "fp16"] = Field(
        default="float32",
        description="of activations; weights are float32. fp16 scales the loss to keep small "
        "gradients",
    )
    compile: bool = Field(
        default=False,
        description="torch.compile the network, for a GPU: a minute at the start; on a CPU steps "
        "take longer than without",
    )
    cuda_graphs: bool = Field(
        default=False,
        description="replay compiled steps as CUDA graphs: for small batches on a GPU; elsewhere "
        "no effect",
    )
    sparse_above: int | None = Field(
        default=100_000,
        ge=2,
        description="categories above which an embedding moves only the rows of a step (adam and "
        "adamw without weight_decay_embeddings, not with compile); null: never",
    )
    memory_budget_mb: int | None = Field(
        default=None,
        ge=1,
        description="train and validation rows above this size stay on the disk and are streamed, "
        "with the same result; without it 40 % of the device's memory",
    )
    checkpoint_s: float = Field(
        default=2.0, gt=0, le=3600, description="seconds between two checkpoints, at least"
    )
    early_stopping: EarlyStopping | None = Field(
        default=None, description="when to stop before the last epoch; null trains them all"
    )
    monitor: Literal["loss", "primary"] = Field(
        default="loss", description="validation figure that tells the best epoch"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="where to train; `auto` takes a GPU if there is one"
    )
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="of weights, order and dropout")

    @model_validator(mode="after")
    def _batch_has_rows(self) -> "TrainingSettings":
        if self.batch_size != "full" and self.batch_size < 2:
            raise ValueError(f"batch_size must be at least 2 or `full`, not {self.batch_size}")
        return self

    @model_validator(mode="after")
    def _parts_have_rows(self) -> "TrainingSettings":
        if self.batch_size != "full" and 2 * self.accumulation > max(2, self.batch_size):
            raise ValueError(
                f"accumulation: {self.accumulation} parts of a batch of {self.batch_size} rows "
                "have fewer than 2 rows each"
            )
        return self

    @model_validator(mode="after")
    def _cosine_falls(self) -> "TrainingSettings":
        schedule, first = self.scheduler, self.optimizer.learning_rate
        if (
            isinstance(schedule, CosineSchedule | CosineWarmupSchedule)
            and schedule.final_learning_rate > first
        ):
            raise ValueError(
                f"scheduler.final_learning_rate: {schedule.final_learning_rate:g} is above the "
                f"optimizer's learning_rate of {first:g}"
            )
        return self

    @property
    def n_warm_epochs(self) -> int:
        """The number of epochs of a training that starts from the champion's weights."""
        return self.warm_epochs or max(1, math.ceil(self.epochs / 4))

    @model_validator(mode="after")
    def _warm_epochs_have_a_champion(self) -> "TrainingSettings":
        if self.warm_epochs is not None and self.start_from != "champion":
            raise ValueError("`warm_epochs` needs `start_from: champion`")
        return self

    @model_validator(mode="after")
    def _graphs_are_of_compiled_steps(self) -> "TrainingSettings":
        if self.cuda_graphs and not self.compile:
            raise ValueError("`cuda_graphs` needs `compile: true`")
        return self

    @model_validator(mode="after")
    def _schedule_fits_the_epochs(self) -> "TrainingSettings":
        self._refuse_unless_scheduled(self.epochs, "epochs")
        if self.start_from == "champion":
            self._refuse_unless_scheduled(self.n_warm_epochs, "warm_epochs")
        return self

    def _refuse_unless_scheduled(self, epochs: int, name: str) -> None:
        schedule = self.scheduler
        if isinstance(schedule, MultiStepSchedule) and schedule.milestones[-1] >= epochs:
            raise ValueError(
                f"scheduler.milestones: {schedule.milestones[-1]} is never reached "
                f"in {epochs} {name}"
            )
        if isinstance(schedule, CosineWarmupSchedule) and schedule.warmup_epochs >= epochs:
            raise ValueError(
                f"scheduler.warmup_epochs: {schedule.warmup_epochs} leaves nothing "
                f"of {epochs} {name}"
            )
