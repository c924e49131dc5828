"""The training loop: a generator of one `EpochRecord` per epoch.

See `rows`, `step`, `losses`, `optimizers`, `schedulers`, `metrics` and `checkpoint` for the
parts. The order of rows follows from (seed, epoch), the dropout of a step from (seed, epoch,
step): nothing depends on when a training began, was interrupted or went on, nor on where its rows
lie. `state()` between two steps and `resume()` give the same weights to the bit on one CPU.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from pipeline_lib.config.data import Task
from pipeline_lib.config.metrics import METRIC_FACTS, Metric
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.encoding.log_scale import LogScale
from pipeline_lib.errors import NonFiniteLossError
from pipeline_lib.home import Home, find_home
from pipeline_lib.training.averages import averaged
from pipeline_lib.training.batches import EVAL_BATCH_ROWS, batch_bounds, refuse_too_few_rows
from pipeline_lib.training.compiling import keep_compiled_code_private, load_compiler_unused
from pipeline_lib.training.losses import TaskLoss, build_loss
from pipeline_lib.training.metrics import EpochMetric
from pipeline_lib.training.optimizers import build_optimizers
from pipeline_lib.training.records import EpochRecord, Level, Progress, improves, level_of
from pipeline_lib.training.rows import Rows, TensorSplit
from pipeline_lib.training.schedulers import build_schedule
from pipeline_lib.training.signals import StepGuard
from pipeline_lib.training.states import check_state
from pipeline_lib.training.step import Stepper

# On a GPU a look at the losses waits for it: once in so many steps.
_LOOK_EVERY = 64
_PULSE_S = 0.25
# Scaled inputs beyond this are named when a loss is not finite any more.
_EXTREME = 100.0


N = TypeVar("N", bound=nn.Module)


class TrainingLoop(Generic[N]):
    """Trains a model; when `epochs()` is exhausted the model holds the best epoch's weights.

    Args:
        model: on the device that batches lie on.
        train: rows to learn from.
        val: rows that decide which epoch is the best.
        task: decides the loss.
        primary: the metric to report for `val`.
        training: everything a user may set.
        n_classes: of a classification; 0 for a regression.
        target_deviation: of the target, to report errors in its own unit.
        log: of a target on the log scale.
        class_weights: of the training loss, shape ``(n_classes,)``.
        numeric_names: of the columns of `x_num`, to name extreme ones.
        home: keeps compiled code; the working directory's without it.

    Raises:
        TrainingError: a split is too small.
        StorageError: compiled code has no folder of its own under the home.
    """

    def __init__(
        self,
        model: N,
        train: Rows,
        val: Rows,
        *,
        task: Task,
        primary: Metric,
        training: TrainingSettings,
        n_classes: int,
        target_deviation: float = 1.0,
        log: LogScale | None = None,
        class_weights: Tensor | None = None,
        numeric_names: Sequence[str] = (),
        home: Home | None = None,
    ) -> None:
        refuse_too_few_rows(train.n_rows, val.n_rows)
        if training.compile:
            keep_compiled_code_private(home or find_home())
        else:
            load_compiler_unused()
        self.model: N = model
        self._train, self._val = train, val
        self._training, self._names = training, numeric_names
        self._val_loss = build_loss(task, training.loss)
        self._metric = EpochMetric(primary, n_classes=n_classes, scale=target_deviation, log=log)
        self._bounds = batch_bounds(train.n_rows, training.batch_size)
        # Compiled, a sparse gradient is an InductorError (torch 2.13).
        sparse_above = None if training.compile else training.sparse_above
        self._optimizers = build_optimizers(training.optimizer, model, sparse_above=sparse_above)
        self._schedules = [
            build_schedule(
                training.scheduler,
                optimizer,
                epochs=training.epochs,
                steps_per_epoch=len(self._bounds),
            )
            for optimizer in self._optimizers
        ]
        loss = TaskLoss(task, training.loss, class_weights).to(train.device)
        self._stepper = Stepper(model, loss, self._optimizers, training, train.device)
        decay = training.ema_decay
        self._average = averaged(model, decay) if decay is not None else None
        self._lower_is_better = METRIC_FACTS[primary].lower_is_better
        self._best: EpochRecord | None = None
        self._best_weights: dict[str, Tensor] = {}
        self._progress: tuple[int, Level] = (0, (True, math.inf))
        self._guard = StepGuard()
        self.history: list[EpochRecord] = []
        self._at_step, self._seconds, self._last_rate = 0, 0.0, self._rate
        self._losses = torch.zeros(len(self._bounds), device=train.device)
        self._masses = torch.zeros(len(self._bounds), device=train.device)
        self._n_looked, self._pulsed = 0, 0.0

    @property
    def batch_rows(self) -> int:
        """The number of rows of a full batch."""
        return self._bounds[0][1]

    @property
    def n_steps(self) -> int:
        """The number of steps of an epoch."""
        return len(self._bounds)

    @property
    def best(self) -> EpochRecord:
        """The record of the best epoch so far."""
        assert self._best is not None, "no epoch has ended yet"
        return self._best

    @property
    def epoch(self) -> int:
        """The epoch that is being trained, or would be next; counts from 1."""
        return len(self.history) + 1

    @property
    def is_whole(self) -> bool:
        """Whether no step is half done, so that `state()` may be saved."""
        return not self._guard.busy

    @property
    def place(self) -> str:
        """Where the training is, in words."""
        if self.has_ended:
            return f"the end, epoch {len(self.history)}"
        if self._at_step == self.n_steps:
            return f"epoch {self.epoch}, validation"
        return f"epoch {self.epoch}" + (f", step {self._at_step + 1}" if self._at_step else "")

    @property
    def has_ended(self) -> bool:
        """Whether the last epoch is over, or early stopping has stopped."""
        stopping, done = self._training.early_stopping, len(self.history)
        waited = stopping is not None and done - self._progress[0] >= stopping.patience
        return done >= self._training.epochs or (done > 0 and waited)

    def state(self) -> dict[str, Any]:
        """Return everything that decides how the training goes on, as tensors and plain values.

        Raises:
            NonFiniteLossError: the training is lost, and so is not worth keeping.
        """
        self._look()
        return {
            "history": [dict(record.to_json()) for record in self.history],
            "step": self._at_step,
            "seconds": self._seconds,
            "last_rate": self._last_rate,
            "losses": self._losses[: self._at_step].clone(),
            "masses": self._masses[: self._at_step].clone(),
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "schedules": [schedule.state_dict() for schedule in self._schedules],
            "best": dict(self._best.to_json()) if self._best else None,
            "best_weights": self._best_weights,
            "progress": [self._progress[0], *self._progress[1]],
            "stepper": self._stepper.state(),
            "average": self._average.state_dict() if self._average else {},
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state()` gave, before the first epoch is asked for.

        Another state raises, and leaves the training neither here nor there.
        """
        check_state(
            state,
            self.state(),
            self._optimizers,
            n_epochs=self._training.epochs,
            n_steps=self.n_steps,
            batch_rows=self.batch_rows,
        )
        self.history = [EpochRecord.from_json(record) for record in state["history"]]
        self._best = EpochRecord.from_json(state["best"]) if state["best"] else None
        device = self._train.device
        self._best_weights = {k: v.to(device) for k, v in state["best_weights"].items()}
        epoch, *level = state["progress"]
        self._progress = (int(epoch), (bool(level[0]), float(level[1])))
        self._at_step = self._n_looked = int(state["step"])
        self._seconds, self._last_rate = float(state["seconds"]), float(state["last_rate"])
        self._losses[: self._at_step] = state["losses"].to(device)
        self._masses[: self._at_step] = state["masses"].to(device)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for schedule, saved in zip(self._schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)
        self._stepper.resume(state["stepper"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def epochs(self, on_pulse: Callable[[Progress], None] | None = None) -> Iterator[EpochRecord]:
        """Train, yielding a record after each epoch; restore the best weights at the end.

        While it trains in the main thread, Ctrl-C and SIGTERM wait for the end of a step.

        Args:
            on_pulse: called between steps, a few times a second.

        Raises:
            NonFiniteLossError: a loss or gradient is NaN or infinite; names epoch and step.
            DeviceMemoryError: a step does not fit into the GPU's memory.
        """
        self._pulsed = time.perf_counter()
        with self._guard.installed():
            while not self.has_ended:
                self._one_epoch(on_pulse)
                yield self.history[-1]
        self.model.load_state_dict(self._best_weights)
        self.model.eval()

    def _one_epoch(self, on_pulse: Callable[[Progress], None] | None) -> None:
        epoch = self.epoch
        self._learn(epoch, on_pulse)
        started, rate = time.perf_counter(), self._last_rate
        val_loss, primary = self._validate(epoch)
        self._guard.begin()  # an epoch's end is not whole before all of it is noted
        for schedule in self._schedules:
            schedule.after_epoch(val_loss)
        self._seconds += time.perf_counter() - started
        train_loss = float((self._losses * self._masses).sum() / self._masses.sum())
        record = EpochRecord(
            epoch, train_loss, val_loss, primary, rate, epoch_s=self._seconds, is_best=False
        )
        if self._best is None or self._level(record) < self._level(self._best):
            record = replace(record, is_best=True)
            self._best = record
            self._keep(self._judged.state_dict())
        stopping, level = self._training.early_stopping, self._level(record)
        if stopping and improves(level, self._progress[1], min_delta=stopping.min_delta):
            self._progress = (epoch, level)
        self.history.append(record)
        self._at_step, self._seconds, self._n_looked = 0, 0.0, 0
        self._guard.end()

    def _learn(self, epoch: int, on_pulse: Callable[[Progress], None] | None) -> None:
        """Train the steps of an epoch that are left."""
        first = self._at_step
        started = time.perf_counter()
        before = self._seconds
        self.model.train()
        # Not on a GPU: a look at the loss before weights move would wait for it.
        may_take = self._may_take if self._train.device.type == "cpu" else None
        batches = self._train.batches(
            self._bounds, seed=_seed(self._training.seed, epoch), first_step=first
        )
        for batch in batches:
            step = self._at_step
            self._guard.begin()
            self._last_rate = self._rate
            seed = _seed(self._training.seed, epoch, step + 1)
            loss, mass = self._stepper.step(batch, seed=seed, may_take=may_take)
            self._losses[step], self._masses[step] = loss, mass
            for schedule in self._schedules:
                schedule.after_step()
            if self._average is not None:
                self._average.update_parameters(self.model)
            self._at_step = step + 1
            now = time.perf_counter()
            self._seconds = before + now - started
            self._guard.end()
            if self._at_step - self._n_looked >= _LOOK_EVERY:
                self._look()
            if on_pulse is not None and now - self._pulsed >= _PULSE_S:
                self._pulsed = now
                on_pulse(self._progress_now(now - started, self._at_step - first))
        self._look()

    def _may_take(self, health: Tensor) -> None:
        """Refuse a loss that is not finite before weights move."""
        if not math.isfinite(float(health)):
            self._refuse(self._at_step)

    def _look(self) -> None:
        """Look at the losses since the last look."""
        finite = torch.isfinite(self._losses[self._n_looked : self._at_step])
        if not bool(finite.all()):
            step = self._n_looked + int((~finite).nonzero()[0])
            self._refuse(step)
        if self._stepper.is_lost:
            self._refuse(self._at_step - 1, overflows=True)
        self._n_looked = self._at_step

    def _refuse(self, step: int, *, overflows: bool = False) -> None:
        epoch, rate = self.epoch, self._last_rate
        seed = _seed(self._training.seed, epoch)
        batch = next(self._train.batches(self._bounds, seed=seed, first_step=step))
        raise NonFiniteLossError(
            epoch,
            step + 1,
            rate,
            split="training",
            extremes=self._extremes([batch]),
            precision=self._training.precision,
            overflows=overflows,
        )

    def _extremes(self, batches: Iterable[TensorSplit]) -> list[tuple[str, float]]:
        """Return the columns whose numbers stand out, lost ones first, with their largest."""
        sizes = torch.stack([batch.x_num.abs().amax(dim=0) for batch in batches]).amax(dim=0)
        found: list[tuple[str, float]] = []
        for position, size in enumerate(sizes.tolist()):
            if not size <= _EXTREME:
                known = position < len(self._names)
                found.append((self._names[position] if known else f"x_num[{position}]", size))
        return sorted(found, key=lambda column: (not math.isnan(column[1]), -column[1]))

    def _progress_now(self, seconds: float, n_steps: int) -> Progress:
        per_step, total = seconds / max(n_steps, 1), len(self._bounds)
        left = total - self._at_step + (self._training.epochs - self.epoch) * total
        rows_per_s = self.batch_rows / max(per_step, 1e-9)
        return Progress(
            self.epoch, self._training.epochs, self._at_step, total, rows_per_s, left * per_step
        )

    @torch.no_grad()
    def _validate(self, epoch: int) -> tuple[float, float | None]:
        """Return loss and primary metric on the validation rows, by their weights."""
        judged = self._judged.eval()
        total = mass = 0.0
        for batch in self._val.in_order(EVAL_BATCH_ROWS):
            logits = judged(batch.x_cat, batch.x_num)
            total += float(self._val_loss.summed(logits, batch.y, batch.weight))
            mass += float(self._val_loss.mass(batch.y, batch.weight))
            self._metric.update(logits, batch.y, batch.weight)
        val_loss = total / mass
        if not math.isfinite(val_loss):
            raise NonFiniteLossError(
                epoch,
                self.n_steps,
                self._last_rate,
                split="validation",
                extremes=self._extremes(self._val.in_order(EVAL_BATCH_ROWS)),
            )
        return val_loss, self._metric.compute(val_loss)

    def _keep(self, weights: Mapping[str, Tensor]) -> None:
        """Copy the weights of the best epoch; into the last best's memory, for tables are large."""
        if not self._best_weights:
            self._best_weights = {name: weight.clone() for name, weight in weights.items()}
            return
        for name, weight in weights.items():
            self._best_weights[name].copy_(weight)

    def _level(self, record: EpochRecord) -> Level:
        monitor = self._training.monitor
        return level_of(record, monitor, lower_is_better=self._lower_is_better)

    @property
    def _judged(self) -> nn.Module:
        """The network that is validated and kept: the average of the weights, if there is one."""
        return self._average.module if self._average is not None else self.model

    @property
    def _rate(self) -> float:
        return float(self._optimizers[0].param_groups[0]["lr"])


def _seed(seed: int, epoch: int, step: int = 0) -> int:
    """Return the seed of (seed, epoch, step); step 0 is the order's.

    Torch's generator on the CPU looks at 32 bits of a seed, so they are mixed into that many.
    """
    digest = hashlib.blake2b(f"{seed} {epoch} {step}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
