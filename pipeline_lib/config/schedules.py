"""How the learning rate changes: one settings class per kind of schedule."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from pipeline_lib.config.mistakes import Mistake, rule, wrong
from pipeline_lib.config.settings import Settings, without_defaults
from pipeline_lib.wording import examples


class ConstantSchedule(Settings):
    """A constant learning rate."""

    kind: Literal["none"] = "none"


class LambdaSchedule(Settings):
    """Multiply the initial learning rate by a function of the epoch, chosen by name."""

    kind: Literal["lambda"] = "lambda"
    shape: Literal["power", "inverse", "inverse_sqrt", "linear"] = Field(
        default="power",
        description="factor after e epochs: power rate^e; inverse 1/(1 + rate·e); "
        "inverse_sqrt 1/√(1 + rate·e); linear from 1 to rate over all epochs",
    )
    rate: float = Field(default=0.95, gt=0, le=1, description="decay rate")


class StepSchedule(Settings):
    """Multiply the learning rate by `gamma` every `step_size` epochs."""

    kind: Literal["step"] = "step"
    step_size: int = Field(gt=0, description="epochs between two decays")
    gamma: float = Field(default=0.1, gt=0, le=1, description="decay factor")


class MultiStepSchedule(Settings):
    """Multiply the learning rate by `gamma` at each of the `milestones`."""

    kind: Literal["multistep"] = "multistep"
    milestones: tuple[Annotated[int, Field(gt=0)], ...] = Field(
        min_length=1, description="epochs after which the learning rate decays, increasing"
    )
    gamma: float = Field(default=0.1, gt=0, le=1, description="decay factor")

    @rule
    def _milestones_increase(self) -> Iterator[Mistake]:
        if list(self.milestones) != sorted(set(self.milestones)):
            yield wrong(f"must increase, not [{examples(self.milestones)}]", "milestones")


class ExponentialSchedule(Settings):
    """Multiply the learning rate by `gamma` every epoch."""

    kind: Literal["exponential"] = "exponential"
    gamma: float = Field(default=0.95, gt=0, le=1, description="decay factor per epoch")


class CosineSchedule(Settings):
    """Decay the learning rate along half a cosine over all epochs."""

    kind: Literal["cosine"] = "cosine"
    final_learning_rate: float = Field(
        default=0.0, ge=0, description="learning rate after the last epoch"
    )


class PlateauSchedule(Settings):
    """Multiply the learning rate by `factor` when the validation loss stops improving."""

    kind: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.1, gt=0, lt=1, description="decay factor")
    patience: int = Field(default=10, ge=0, description="epochs without improvement before a decay")
    threshold: float = Field(
        default=1e-4, ge=0, description="relative change that counts as improvement"
    )


class OneCycleSchedule(Settings):
    """Warm up to the optimizer's learning rate, then anneal far below it, per step (Smith 2018)."""

    kind: Literal["onecycle"] = "onecycle"
    warmup: float = Field(
        default=0.3, gt=0, lt=1, description="share of all steps spent on the warm-up"
    )
    start_factor: float = Field(
        default=0.04, gt=0, le=1, description="initial learning rate / peak"
    )
    final_factor: float = Field(default=4e-6, gt=0, le=1, description="final learning rate / peak")


class CosineWarmupSchedule(Settings):
    """Linear warm-up over the first epochs, then cosine decay, per step."""

    kind: Literal["cosine_warmup"] = "cosine_warmup"
    warmup_epochs: int = Field(default=5, ge=1, description="epochs of the warm-up")
    warmup: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="share of all steps spent on the warm-up, instead of `warmup_epochs`, whatever "
        "the number of epochs; null: `warmup_epochs`",
    )
    start_factor: float = Field(
        default=0.01, gt=0, le=1, description="initial learning rate / peak"
    )
    final_learning_rate: float = Field(
        default=0.0, ge=0, description="learning rate after the last epoch"
    )

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A config keeps the digest that it had before a warm-up could be a share.
        return without_defaults(self, handler(self), "warmup")


SchedulerSettings = Annotated[
    ConstantSchedule
    | LambdaSchedule
    | StepSchedule
    | MultiStepSchedule
    | ExponentialSchedule
    | CosineSchedule
    | PlateauSchedule
    | OneCycleSchedule
    | CosineWarmupSchedule,
    Field(discriminator="kind"),
]
