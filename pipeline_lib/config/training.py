"""How a model is trained: optimizer, loss, early stopping.

Adding one is a class here, a place in its union, and one `case` where it is built.
"""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from pipeline_lib.config.mistakes import Mistake, rule, wrong
from pipeline_lib.config.schedules import (
    ConstantSchedule,
    CosineSchedule,
    CosineWarmupSchedule,
    MultiStepSchedule,
    SchedulerSettings,
)
from pipeline_lib.config.settings import Settings, without_defaults


class _Optimizer(Settings):
    learning_rate: float = Field(
        default=1e-3, gt=0, le=10, description="learning rate; with a warm-up, its peak"
    )
    weight_decay: float = Field(
        default=0.0, ge=0, le=1, description="weight decay of linear layers; biases have none"
    )
    weight_decay_embeddings: float = Field(
        default=0.0, ge=0, le=1, description="weight decay of embeddings; makes their updates dense"
    )


class _Moments(_Optimizer):
    beta1: float = Field(
        default=0.9, ge=0, lt=1, description="decay per step of the mean of gradients"
    )
    beta2: float = Field(
        default=0.999, ge=0, lt=1, description="decay per step of the mean of squared gradients"
    )

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A config keeps the digest that it had before moments could be set.
        return without_defaults(self, handler(self), "beta1", "beta2")


class Adam(_Moments):
    """torch.optim.Adam."""

    kind: Literal["adam"] = "adam"


class AdamW(_Moments):
    """torch.optim.AdamW: Adam with decoupled weight decay."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: float = Field(
        default=1e-2, ge=0, le=1, description="weight decay of linear layers; biases have none"
    )


class SGD(_Optimizer):
    """torch.optim.SGD with momentum."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: float = Field(
        default=1e-2, gt=0, le=10, description="learning rate; with a warm-up, its peak"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum")
    nesterov: bool = Field(default=False, description="whether to use Nesterov momentum")

    @rule
    def _nesterov_needs_momentum(self) -> Iterator[Mistake]:
        if self.nesterov and self.momentum == 0:
            yield wrong("`nesterov` needs a `momentum` above 0", "nesterov", "momentum")


OptimizerSettings = Annotated[Adam | AdamW | SGD, Field(discriminator="kind")]


class CrossEntropy(Settings):
    """Cross entropy."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="label smoothing: probability spread over all classes"
    )
    class_weights: (
        Literal["balanced"] | dict[str, Annotated[float, Field(ge=1e-6, le=1e6)]] | None
    ) = Field(
        default=None,
        description="weight per class, others 1; `balanced` weights classes by inverse frequency",
    )


class SquaredError(Settings):
    """Mean squared error of the standardized target."""

    kind: Literal["mse"] = "mse"


class Huber(Settings):
    """Huber loss: squared for small errors, linear for large ones."""

    kind: Literal["huber"] = "huber"
    delta: float = Field(
        default=1.0, gt=0, description="threshold, in standard deviations of the target"
    )


LossSettings = Annotated[CrossEntropy | SquaredError | Huber, Field(discriminator="kind")]


class EarlyStopping(Settings):
    """Stop when the validation metric has not improved for `patience` epochs."""

    patience: int = Field(
        default=20, ge=1, description="epochs without improvement before the stop"
    )
    min_delta: float = Field(
        default=0.0, ge=0, description="smallest change that counts as improvement"
    )


class TrainingSettings(Settings):
    """How the model is trained. The epoch with the best validation metric gives the weights."""

    epochs: int = Field(
        default=100, ge=1, le=100_000, description="number of passes over the training rows"
    )
    start_from: Literal["scratch", "champion"] = Field(
        default="scratch",
        description="initial weights: random, or those of the champion where they fit",
    )
    warm_epochs: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="epochs when starting from the champion; null: a quarter of `epochs`",
    )
    warm_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="share of the champion in the initial weights, the rest is random; below 1 "
        "limits overfitting across runs (shrink and perturb)",
    )
    batch_size: int | Literal["full"] = Field(
        default=64, description="rows per step, at least 2; `full`: all rows in one step"
    )
    optimizer: OptimizerSettings = Field(default=Adam(), description="the optimizer")
    scheduler: SchedulerSettings = Field(
        default=ConstantSchedule(), description="the learning rate schedule"
    )
    loss: LossSettings | None = Field(
        default=None,
        description="the training loss; null: cross_entropy, for a regression mse. The validation "
        "loss has no label smoothing and no class weights",
    )
    clip_norm: float | None = Field(
        default=None, gt=0, description="maximum global gradient norm; null: no clipping"
    )
    accumulation: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="gradient accumulation: parts in which a batch is computed, to save memory; "
        "BatchNorm sees each part alone",
    )
    ema_decay: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="decay per step of an exponential moving average of the weights, such as "
        "0.999; the average is validated and saved; null: no averaging",
    )
    n_members: int = Field(
        default=1,
        ge=1,
        le=64,
        description="size of the ensemble: networks that differ in their seed, whose predictions "
        "are averaged",
    )
    precision: Literal["float32", "bf16", "fp16"] = Field(
        default="float32",
        description="precision of activations (autocast); weights are float32. fp16 uses loss "
        "scaling",
    )
    compile: bool = Field(
        default=False,
        description="whether to use torch.compile; takes a minute at the start, pays off on a GPU "
        "only",
    )
    cuda_graphs: bool = Field(
        default=False,
        description="whether to replay compiled steps as CUDA graphs; for small batches on a GPU, "
        "without effect elsewhere",
    )
    sparse_above: int | None = Field(
        default=100_000,
        ge=2,
        description="cardinality above which an embedding gets sparse updates (adam and adamw "
        "without weight_decay_embeddings, not with compile); null: never",
    )
    memory_budget_mb: int | None = Field(
        default=None,
        ge=1,
        description="largest size of train and validation rows in memory, in MB; larger ones are "
        "streamed from disk, with the same result; null: 40 % of the device's memory",
    )
    checkpoint_s: float = Field(
        default=2.0, gt=0, le=3600, description="minimum time between two checkpoints, in seconds"
    )
    budget_s: float | None = Field(
        default=None,
        gt=0,
        le=1e7,
        description="CPU seconds that the fit may take, those of all threads together: turned "
        "once, before the training, into epochs, rounds and members, by speeds that are measured; "
        "a run that goes on or is repeated keeps that plan; null: no limit",
    )
    early_stopping: EarlyStopping | None = Field(
        default=None, description="when to stop before the last epoch; null: train all epochs"
    )
    refit: Literal["auto"] | bool = Field(
        default="auto",
        description="whether a model is fitted once more on training and validation rows, with "
        "what it chose by the validation rows, once those have judged it: `auto`, kinds for which "
        "that is cheap (boosting, linear); true, all that can be; false, none",
    )
    monitor: Literal["loss", "primary"] = Field(
        default="loss", description="validation metric that selects the best epoch"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="device for training; `auto`: a GPU if there is one"
    )
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="random seed of weights, row order and dropout"
    )

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A config keeps the digest that it had before these could be set.
        return without_defaults(self, handler(self), "refit", "budget_s")

    @rule
    def _batch_has_rows(self) -> Iterator[Mistake]:
        if self.batch_size != "full" and self.batch_size < 2:
            yield wrong(f"must be at least 2 or `full`, not {self.batch_size}", "batch_size")

    @rule
    def _parts_have_rows(self) -> Iterator[Mistake]:
        if self.batch_size != "full" and 2 * self.accumulation > max(2, self.batch_size):
            yield wrong(
                f"{self.accumulation} parts of a batch of {self.batch_size} rows have fewer than "
                "2 rows each",
                "accumulation",
                "batch_size",
            )

    @rule
    def _cosine_decays(self) -> Iterator[Mistake]:
        schedule, first = self.scheduler, self.optimizer.learning_rate
        if (
            isinstance(schedule, CosineSchedule | CosineWarmupSchedule)
            and schedule.final_learning_rate > first
        ):
            yield wrong(
                f"{schedule.final_learning_rate:g} is above the optimizer's learning_rate of "
                f"{first:g}",
                "scheduler.final_learning_rate",
            )

    @property
    def n_warm_epochs(self) -> int:
        """The number of epochs of a training that starts from the champion's weights."""
        return self.warm_epochs or max(1, math.ceil(self.epochs / 4))

    @rule
    def _warm_epochs_have_a_champion(self) -> Iterator[Mistake]:
        if self.warm_epochs is not None and self.start_from != "champion":
            yield wrong("`warm_epochs` needs `start_from: champion`", "warm_epochs")

    @rule
    def _graphs_are_of_compiled_steps(self) -> Iterator[Mistake]:
        if self.cuda_graphs and not self.compile:
            yield wrong("`cuda_graphs` needs `compile: true`", "cuda_graphs")

    @rule
    def _schedule_fits_the_epochs(self) -> Iterator[Mistake]:
        yield from self._beyond(self.epochs, "epochs")

    @rule
    def _schedule_fits_the_warm_epochs(self) -> Iterator[Mistake]:
        if self.start_from == "champion":
            yield from self._beyond(self.n_warm_epochs, "warm_epochs")

    def _beyond(self, epochs: int, name: str) -> Iterator[Mistake]:
        """Yield what of the schedule lies beyond the last epoch."""
        schedule = self.scheduler
        if isinstance(schedule, MultiStepSchedule) and schedule.milestones[-1] >= epochs:
            said = f"{schedule.milestones[-1]} is never reached in {epochs} {name}"
            yield wrong(said, "scheduler.milestones")
        if (
            isinstance(schedule, CosineWarmupSchedule)
            and schedule.warmup is None
            and schedule.warmup_epochs >= epochs
        ):
            said = f"{schedule.warmup_epochs} leaves nothing of {epochs} {name}"
            yield wrong(said, "scheduler.warmup_epochs")
