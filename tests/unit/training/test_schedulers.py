"""Each kind of schedule, run by the loop, gives the rates of torch's own scheduler."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim import lr_scheduler as torch_schedulers

from pipeline_lib.config.schedules import CosineWarmupSchedule
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.records import EpochRecord
from pipeline_lib.training.rows import TensorSplit
from pipeline_lib.training.schedulers import build_schedule

EPOCHS = 20
PEAK = 0.1
Build = Callable[[Optimizer], torch_schedulers.LRScheduler]


def _split(n_rows: int) -> TensorSplit:
    generator = torch.Generator().manual_seed(n_rows)
    return TensorSplit(
        torch.empty(n_rows, 0, dtype=torch.int32),
        torch.randn(n_rows, 2, generator=generator),
        torch.randint(0, 3, (n_rows,), generator=generator),
    )


def _records(scheduler: dict[str, Any], *, batch_size: int | str = "full") -> list[EpochRecord]:
    training = TrainingSettings.model_validate(
        {
            "epochs": EPOCHS,
            "batch_size": batch_size,
            "optimizer": {"kind": "sgd", "learning_rate": PEAK},
            "scheduler": scheduler,
        }
    )
    loop = TrainingLoop(
        EmbeddingMLP((), n_numeric=2, d_out=3, d_hidden=(4,)),
        _split(16),
        _split(8),
        task="multiclass",
        primary="accuracy",
        training=training,
        n_classes=3,
    )
    return list(loop.epochs())


def _rates_of_torch(build: Build, n_steps: int) -> list[float]:
    """Return the rate of each step of torch's scheduler, run on its own."""
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = build(optimizer)
    rates: list[float] = []
    for _ in range(n_steps):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("settings", "build"),
    [
        ({"kind": "none"}, lambda o: torch_schedulers.ConstantLR(o, factor=1.0)),
        (
            {"kind": "lambda", "shape": "power", "rate": 0.9},
            lambda o: torch_schedulers.LambdaLR(o, lambda e: 0.9**e),
        ),
        (
            {"kind": "lambda", "shape": "inverse", "rate": 0.5},
            lambda o: torch_schedulers.LambdaLR(o, lambda e: 1 / (1 + 0.5 * e)),
        ),
        (
            {"kind": "lambda", "shape": "inverse_sqrt", "rate": 0.5},
            lambda o: torch_schedulers.LambdaLR(o, lambda e: 1 / math.sqrt(1 + 0.5 * e)),
        ),
        (
            {"kind": "lambda", "shape": "linear", "rate": 0.2},
            lambda o: torch_schedulers.LinearLR(o, 1.0, 0.2, total_iters=EPOCHS - 1),
        ),
        (
            {"kind": "step", "step_size": 3, "gamma": 0.5},
            lambda o: torch_schedulers.StepLR(o, 3, gamma=0.5),
        ),
        (
            {"kind": "multistep", "milestones": [4, 11], "gamma": 0.3},
            lambda o: torch_schedulers.MultiStepLR(o, [4, 11], gamma=0.3),
        ),
        (
            {"kind": "exponential", "gamma": 0.8},
            lambda o: torch_schedulers.ExponentialLR(o, 0.8),
        ),
        (
            {"kind": "cosine", "final_learning_rate": 0.01},
            lambda o: torch_schedulers.CosineAnnealingLR(o, EPOCHS, eta_min=0.01),
        ),
    ],
    ids=lambda value: "-".join(str(v) for v in value.values()) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("batch_size", ["full", 4])
def test_a_schedule_of_epochs_gives_torchs_rate_in_each_epoch(
    settings: dict[str, Any], build: Build, batch_size: int | str
) -> None:
    records = _records(settings, batch_size=batch_size)

    rates = [record.learning_rate for record in records]
    assert rates == pytest.approx(_rates_of_torch(build, EPOCHS), rel=1e-9)


def test_plateau_drops_when_torchs_scheduler_drops_on_the_same_losses() -> None:
    settings = {"kind": "plateau", "factor": 0.5, "patience": 0, "threshold": 0.02}

    records = _records(settings)

    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = torch_schedulers.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=0, threshold=0.02
    )
    expected: list[float] = []
    for record in records:
        expected.append(float(optimizer.param_groups[0]["lr"]))
        scheduler.step(record.val_loss)
    assert [record.learning_rate for record in records] == pytest.approx(expected)
    assert expected[-1] < PEAK


@pytest.mark.parametrize(("batch_size", "n_batches"), [("full", 1), (4, 4)])
def test_onecycle_gives_torchs_rate_at_the_last_step_of_each_epoch(
    batch_size: int | str, n_batches: int
) -> None:
    settings = {"kind": "onecycle", "warmup": 0.3, "start_factor": 0.04, "final_factor": 4e-6}

    records = _records(settings, batch_size=batch_size)

    def torchs_own(optimizer: Optimizer) -> torch_schedulers.LRScheduler:
        # Its defaults: the first rate is peak / 25, the last one peak / 25 / 10 000.
        return torch_schedulers.OneCycleLR(
            optimizer, PEAK, total_steps=EPOCHS * n_batches, cycle_momentum=False
        )

    rates = _rates_of_torch(torchs_own, EPOCHS * n_batches)
    assert [r.learning_rate for r in records] == pytest.approx(rates[n_batches - 1 :: n_batches])
    assert records[-1].learning_rate == pytest.approx(4e-6 * PEAK)


@pytest.mark.parametrize(("epochs", "warmup"), [(10, 0.1), (2, 0.5), (1, 0.3), (4, 0.25), (5, 0.9)])
def test_onecycle_trains_whatever_share_of_the_steps_rises(epochs: int, warmup: float) -> None:
    training = TrainingSettings.model_validate(
        {
            "epochs": epochs,
            "batch_size": "full",
            "scheduler": {"kind": "onecycle", "warmup": warmup},
        }
    )

    loop = TrainingLoop(
        EmbeddingMLP((), n_numeric=2, d_out=3, d_hidden=(4,)),
        _split(16),
        _split(8),
        task="multiclass",
        primary="accuracy",
        training=training,
        n_classes=3,
    )

    rates = [record.learning_rate for record in loop.epochs()]
    assert len(rates) == epochs
    assert max(rates) <= training.optimizer.learning_rate * (1 + 1e-9)


@pytest.mark.parametrize(("batch_size", "n_batches"), [("full", 1), (4, 4)])
def test_cosine_warmup_rises_in_a_line_and_falls_along_a_cosine_step_by_step(
    batch_size: int | str, n_batches: int
) -> None:
    settings = {
        "kind": "cosine_warmup",
        "warmup_epochs": 5,
        "start_factor": 0.01,
        "final_learning_rate": 0.002,
    }

    records = _records(settings, batch_size=batch_size)

    n_steps, rise = EPOCHS * n_batches, 5 * n_batches
    step = np.arange(n_steps)
    line = PEAK * (0.01 + 0.99 * step / rise)
    cosine = 0.002 + (PEAK - 0.002) * (1 + np.cos(np.pi * (step - rise) / (n_steps - rise))) / 2
    rates = np.where(step < rise, line, cosine)
    assert [r.learning_rate for r in records] == pytest.approx(rates[n_batches - 1 :: n_batches])


@pytest.mark.parametrize(("batch_size", "n_batches"), [("full", 1), (4, 4)])
def test_a_warm_up_by_share_is_torchs_line_and_cosine_over_that_share_of_the_steps(
    batch_size: int | str, n_batches: int
) -> None:
    settings = {"kind": "cosine_warmup", "warmup": 0.1, "start_factor": 0.05}
    n_steps = EPOCHS * n_batches

    records = _records(settings, batch_size=batch_size)

    def torchs_own(optimizer: Optimizer) -> torch_schedulers.LRScheduler:
        rise = n_steps // 10
        line = torch_schedulers.LinearLR(optimizer, 0.05, total_iters=rise)
        cosine = torch_schedulers.CosineAnnealingLR(optimizer, n_steps - rise)
        return torch_schedulers.SequentialLR(optimizer, [line, cosine], [rise])

    rates = _rates_of_torch(torchs_own, n_steps)
    assert [r.learning_rate for r in records] == pytest.approx(rates[n_batches - 1 :: n_batches])


@pytest.mark.parametrize("warmup", [1e-6, 0.3, 0.999999])
@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_a_warm_up_by_share_fits_any_number_of_steps(epochs: int, warmup: float) -> None:
    settings = CosineWarmupSchedule(warmup=warmup)
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = build_schedule(settings, optimizer, epochs=epochs, steps_per_epoch=1)

    for _ in range(epochs):
        assert 0 < float(optimizer.param_groups[0]["lr"]) <= PEAK
        optimizer.step()
        schedule.after_step()


def test_a_schedule_without_drops_keeps_the_rate() -> None:
    assert {record.learning_rate for record in _records({"kind": "none"})} == {PEAK}
