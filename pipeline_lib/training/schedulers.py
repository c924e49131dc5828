"""From settings to torch's learning-rate schedulers, and when each of them steps."""

from dataclasses import dataclass
from typing import Any, assert_never

from torch.optim import Optimizer
from torch.optim import lr_scheduler as torch_schedulers

from pipeline_lib.config.schedules import (
    ConstantSchedule,
    CosineSchedule,
    CosineWarmupSchedule,
    ExponentialSchedule,
    LambdaSchedule,
    MultiStepSchedule,
    OneCycleSchedule,
    PlateauSchedule,
    SchedulerSettings,
    StepSchedule,
)


@dataclass(frozen=True)
class Schedule:
    """A torch scheduler and when it steps: after each step, or after each epoch."""

    scheduler: torch_schedulers.LRScheduler | None
    per_step: bool = False

    def after_step(self) -> None:
        """Tell it that the optimizer has stepped."""
        if self.scheduler is not None and self.per_step:
            self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return where the schedule is, as numbers."""
        return {} if self.scheduler is None else self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state)

    def after_epoch(self, val_loss: float) -> None:
        """Tell it that an epoch has ended; only `plateau` looks at the loss."""
        if self.scheduler is None or self.per_step:
            return
        if isinstance(self.scheduler, torch_schedulers.ReduceLROnPlateau):
            self.scheduler.step(val_loss)
        else:
            self.scheduler.step()


def build_schedule(
    settings: SchedulerSettings, optimizer: Optimizer, *, epochs: int, steps_per_epoch: int
) -> Schedule:
    """Build the schedule of a training of `epochs` epochs with `steps_per_epoch` steps each."""
    n_steps = epochs * steps_per_epoch
    match settings:
        case ConstantSchedule():
            return Schedule(None)
        case LambdaSchedule():
            return Schedule(
                torch_schedulers.LambdaLR(optimizer, lambda e: _factor(settings, e, epochs))
            )
        case StepSchedule():
            return Schedule(
                torch_schedulers.StepLR(optimizer, settings.step_size, gamma=settings.gamma)
            )
        case MultiStepSchedule():
            return Schedule(
                torch_schedulers.MultiStepLR(
                    optimizer, list(settings.milestones), gamma=settings.gamma
                )
            )
        case ExponentialSchedule():
            return Schedule(torch_schedulers.ExponentialLR(optimizer, settings.gamma))
        case CosineSchedule():
            return Schedule(
                torch_schedulers.CosineAnnealingLR(
                    optimizer, T_max=epochs, eta_min=settings.final_learning_rate
                )
            )
        case PlateauSchedule():
            return Schedule(
                torch_schedulers.ReduceLROnPlateau(
                    optimizer,
                    factor=settings.factor,
                    patience=settings.patience,
                    threshold=settings.threshold,
                )
            )
        case OneCycleSchedule():
            return Schedule(
                torch_schedulers.OneCycleLR(
                    optimizer,
                    max_lr=float(optimizer.param_groups[0]["lr"]),
                    total_steps=n_steps,
                    pct_start=_rising_share(settings, n_steps),
                    div_factor=1 / settings.start_factor,
                    # torch divides the first rate, not the peak, by `final_div_factor`
                    final_div_factor=settings.start_factor / settings.final_factor,
                    cycle_momentum=False,
                ),
                per_step=True,
            )
        case CosineWarmupSchedule():
            rise = _warmup_steps(settings, n_steps, steps_per_epoch)
            warmup = torch_schedulers.LinearLR(
                optimizer, start_factor=settings.start_factor, total_iters=rise
            )
            fall = torch_schedulers.CosineAnnealingLR(
                optimizer, T_max=max(n_steps - rise, 1), eta_min=settings.final_learning_rate
            )
            return Schedule(
                torch_schedulers.SequentialLR(optimizer, [warmup, fall], milestones=[rise]),
                per_step=True,
            )
        case _:
            assert_never(settings)


def _rising_share(settings: OneCycleSchedule, n_steps: int) -> float:
    """Return torch's `pct_start`; torch divides by zero when exactly one step rises."""
    rising = settings.warmup * n_steps
    return settings.warmup * (1 + 1e-6) if abs(rising - 1) < 1e-6 else settings.warmup


def _warmup_steps(settings: CosineWarmupSchedule, n_steps: int, steps_per_epoch: int) -> int:
    """Return the steps of the warm-up; as a share, at least one and not all of several."""
    if settings.warmup is None:
        return settings.warmup_epochs * steps_per_epoch
    return max(1, min(round(settings.warmup * n_steps), n_steps - 1))


def _factor(settings: LambdaSchedule, epochs_done: int, epochs: int) -> float:
    match settings.shape:
        case "power":
            return settings.rate**epochs_done
        case "inverse":
            return 1 / (1 + settings.rate * epochs_done)
        case "inverse_sqrt":
            return (1 + settings.rate * epochs_done) ** -0.5
        case "linear":
            return 1 - (1 - settings.rate) * epochs_done / max(epochs - 1, 1)
        case _:
            assert_never(settings.shape)
