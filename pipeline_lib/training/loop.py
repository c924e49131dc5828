"""The training loop: a generator of one `EpochRecord` per epoch.

See `losses`, `optimizers`, `schedulers` and `metrics` for the parts. The order of rows and the
dropout of an epoch follow from (seed, epoch) alone, so nothing depends on when a training began.
Splits lie on the device as whole tensors and batches are slices of a permutation.
"""

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from pipeline_lib.config import LOWER_IS_BETTER, Metric, Task, TrainingSettings
from pipeline_lib.encoding import EncodedSplit
from pipeline_lib.errors import NonFiniteLossError, TrainingError
from pipeline_lib.training.batches import EVAL_BATCH_ROWS, batch_bounds
from pipeline_lib.training.losses import build_loss
from pipeline_lib.training.metrics import EpochMetric
from pipeline_lib.training.optimizers import build_optimizer
from pipeline_lib.training.schedulers import build_schedule


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch did; `epoch` counts from 1, `primary` is the validation metric."""

    epoch: int
    train_loss: float
    val_loss: float
    primary: float
    learning_rate: float
    epoch_s: float
    is_best: bool

    def to_json(self) -> Mapping[str, int | float | bool]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class TensorSplit:
    """One split as tensors on a device; shapes as in `EncodedSplit`."""

    x_cat: Tensor
    x_num: Tensor
    y: Tensor

    @classmethod
    def of(cls, split: EncodedSplit, device: torch.device) -> "TensorSplit":
        """Put an encoded split on a device."""
        return cls(
            torch.from_numpy(split.x_cat).to(device),
            torch.from_numpy(split.x_num).to(device),
            torch.from_numpy(split.y).to(device),
        )

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.y)


class TrainingLoop:
    """Trains a model; when `epochs()` is exhausted the model holds the best epoch's weights.

    Args:
        model: on the device that the splits are on.
        train: rows to learn from.
        val: rows that tell the best epoch.
        task: decides the loss.
        primary: the metric to report for `val`.
        training: everything a user may set.
        n_classes: of a classification; 0 for a regression.
        target_scale: deviation of the target, to report errors in its own unit.

    Raises:
        TrainingError: a split is too small.
    """

    def __init__(
        self,
        model: nn.Module,
        train: TensorSplit,
        val: TensorSplit,
        *,
        task: Task,
        primary: Metric,
        training: TrainingSettings,
        n_classes: int,
        target_scale: float = 1.0,
    ) -> None:
        if train.n_rows < 2 or val.n_rows < 1:
            raise TrainingError(
                f"{train.n_rows} rows to train and {val.n_rows} to validate on are too few; "
                "2 and 1 are the least"
            )
        if primary == "r2" and val.n_rows < 2:
            raise TrainingError("r2 is not defined on 1 validation row; choose another primary")
        self.model, self._train, self._val = model, train, val
        self._training = training
        self._loss = build_loss(task)
        self._metric = EpochMetric(primary, n_classes=n_classes, scale=target_scale)
        self._bounds = batch_bounds(train.n_rows, training.batch_size)
        self._optimizer = build_optimizer(training.optimizer, model.parameters())
        self._schedule = build_schedule(
            training.scheduler,
            self._optimizer,
            epochs=training.epochs,
            steps_per_epoch=len(self._bounds),
        )
        monitors_loss = training.monitor == "loss"
        self._sign = 1.0 if monitors_loss or primary in LOWER_IS_BETTER else -1.0
        self._best: EpochRecord | None = None

    @property
    def batch_rows(self) -> int:
        """The number of rows of a full batch."""
        return self._bounds[0][1]

    @property
    def best(self) -> EpochRecord:
        """The record of the best epoch so far."""
        assert self._best is not None, "no epoch has ended yet"
        return self._best

    def epochs(self) -> Iterator[EpochRecord]:
        """Train, yielding a record after each epoch; restore the best weights at the end.

        Raises:
            NonFiniteLossError: a loss is NaN or infinite; names epoch and step.
        """
        best_weights = copy.deepcopy(self.model.state_dict())
        stopping = self._training.early_stopping
        progress_epoch, progress_level = 0, math.inf
        for epoch in range(1, self._training.epochs + 1):
            record = self._one_epoch(epoch)
            if record.is_best:
                self._best = record
                best_weights = copy.deepcopy(self.model.state_dict())
            level = self._level(record)
            if stopping is not None and level < progress_level - stopping.min_delta:
                progress_epoch, progress_level = epoch, level
            yield record
            if stopping is not None and epoch - progress_epoch >= stopping.patience:
                break
        self.model.load_state_dict(best_weights)
        self.model.eval()

    def _one_epoch(self, epoch: int) -> EpochRecord:
        started = time.perf_counter()
        train_loss = self._learn(epoch)
        learning_rate = self._rate
        val_loss, primary = self._validate(epoch)
        self._schedule.after_epoch(val_loss)
        record = EpochRecord(
            epoch,
            train_loss,
            val_loss,
            primary,
            learning_rate,
            epoch_s=time.perf_counter() - started,
            is_best=False,
        )
        is_best = self._best is None or self._level(record) < self._level(self._best)
        return EpochRecord(**{**asdict(record), "is_best": is_best})

    def _learn(self, epoch: int) -> float:
        """Return the mean training loss of an epoch, dropout included."""
        device = self._train.y.device
        order_seed, dropout_seed = _seeds(self._training.seed, epoch)
        generator = torch.Generator().manual_seed(order_seed)
        order = torch.randperm(self._train.n_rows, generator=generator).to(device)
        losses = torch.empty(len(self._bounds), device=device)
        rates: list[float] = []
        self.model.train()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(dropout_seed)
            for step, (start, stop) in enumerate(self._bounds):
                rows = order[start:stop]
                logits = self.model(self._train.x_cat[rows], self._train.x_num[rows])
                loss = self._loss(logits, self._train.y[rows])
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self._optimizer.step()
                rates.append(self._current_rate())
                self._schedule.after_step()
                losses[step] = loss.detach()
        self._rate = rates[-1]
        # One look at the losses per epoch: asking at every step would stall a GPU.
        finite = torch.isfinite(losses)
        if not bool(finite.all()):
            step = int((~finite).nonzero()[0])
            raise NonFiniteLossError(epoch, step + 1, rates[step], split="training")
        sizes = torch.tensor([b - a for a, b in self._bounds], device=device, dtype=losses.dtype)
        return float((losses * sizes).sum() / sizes.sum())

    @torch.no_grad()
    def _validate(self, epoch: int) -> tuple[float, float]:
        """Return loss and primary metric on the validation rows."""
        self.model.eval()
        total = 0.0
        for start in range(0, self._val.n_rows, EVAL_BATCH_ROWS):
            rows = slice(start, start + EVAL_BATCH_ROWS)
            logits = self.model(self._val.x_cat[rows], self._val.x_num[rows])
            y = self._val.y[rows]
            total += float(self._loss(logits, y)) * len(y)
            self._metric.update(logits, y)
        val_loss = total / self._val.n_rows
        if not math.isfinite(val_loss):
            raise NonFiniteLossError(epoch, len(self._bounds), self._rate, split="validation")
        return val_loss, self._metric.compute(val_loss)

    def _level(self, record: EpochRecord) -> float:
        """Return the monitored figure, turned so that lower is better."""
        value = record.val_loss if self._training.monitor == "loss" else record.primary
        return self._sign * value

    def _current_rate(self) -> float:
        return float(self._optimizer.param_groups[0]["lr"])


def _seeds(seed: int, epoch: int) -> tuple[int, int]:
    """Return seeds for the order of rows and for dropout, different for every (seed, epoch)."""
    base = (seed * 1_000_003 + epoch) * 2
    return base, base + 1
