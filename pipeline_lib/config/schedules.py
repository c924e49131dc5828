"""How the learning rate changes: one settings class per kind of schedule."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline_lib.config.settings import Settings
from pipeline_lib.errors import examples


class ConstantSchedule(Settings):
    """Keep the learning rate as it is."""

    kind: Literal["none"] = "none"


class LambdaSchedule(Settings):
    """Multiply the learning rate by a named function of the epoch."""

    kind: Literal["lambda"] = "lambda"
    shape: Literal["power", "inverse", "inverse_sqrt", "linear"] = Field(
        default="power",
        description="with e epochs done: power rate^e; inverse 1/(1 + rate·e); "
        "inverse_sqrt 1/√(1 + rate·e); linear from 1 to rate over all epochs",
    )
    rate: float = Field(default=0.95, gt=0, le=1, description="how fast it falls")


class StepSchedule(Settings):
    """Multiply the learning rate by `gamma` every `step_size` epochs."""

    kind: Literal["step"] = "step"
    step_size: int = Field(gt=0, description="epochs between two drops")
    gamma: float = Field(default=0.1, gt=0, le=1, description="factor per drop")


class MultiStepSchedule(Settings):
    """Multiply the learning rate by `gamma` at each of the `milestones`."""

    kind: Literal["multistep"] = "multistep"
    milestones: tuple[Annotated[int, Field(gt=0)], ...] = Field(
        min_length=1, description="epochs after which it drops, rising"
    )
    gamma: float = Field(default=0.1, gt=0, le=1, description="factor per drop")

    @model_validator(mode="after")
    def _milestones_rise(self) -> "MultiStepSchedule":
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise, not [{examples(self.milestones)}]")
        return self


class ExponentialSchedule(Settings):
    """Multiply the learning rate by `gamma` every epoch."""

    kind: Literal["exponential"] = "exponential"
    gamma: float = Field(default=0.95, gt=0, le=1, description="factor per epoch")


class CosineSchedule(Settings):
    """Let the learning rate fall along half a cosine over all epochs."""

    kind: Literal["cosine"] = "cosine"
    final_learning_rate: float = Field(
        default=0.0, ge=0, description="where it would be after the last epoch"
    )


class PlateauSchedule(Settings):
    """Multiply the learning rate by `factor` when the validation loss stops falling."""

    kind: Literal["plateau"] = "plateau"
    factor: float = Field(default=0.1, gt=0, lt=1, description="factor per drop")
    patience: int = Field(default=10, ge=0, description="epochs without progress before a drop")
    threshold: float = Field(default=1e-4, ge=0, description="relative fall that is progress")


class OneCycleSchedule(Settings):
    """Rise to the optimizer's learning rate, then fall far below, step by step (Smith 2018)."""

    kind: Literal["onecycle"] = "onecycle"
    warmup: float = Field(default=0.3, gt=0, lt=1, description="share of all steps that rise")
    start_factor: float = Field(default=0.04, gt=0, le=1, description="first rate / peak")
    final_factor: float = Field(default=4e-6, gt=0, le=1, description="last rate / peak")


class CosineWarmupSchedule(Settings):
    """Rise linearly over the first epochs, then fall along a cosine, step by step."""

    kind: Literal["cosine_warmup"] = "cosine_warmup"
    warmup_epochs: int = Field(default=5, ge=1, description="epochs of the rise")
    start_factor: float = Field(default=0.01, gt=0, le=1, description="first rate / peak")
    final_learning_rate: float = Field(
        default=0.0, ge=0, description="where it would be after the last epoch"
    )


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
