"""One step: forward, backward, clip, optimizers; in parts where memory is short."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn, optim

from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.errors import DeviceMemoryError, TrainingError
from pipeline_lib.training.losses import TaskLoss
from pipeline_lib.training.rows import TensorSplit
from pipeline_lib.wording import first_line

# A step that does not fit is cut in halves so many times.
_MAX_HALVINGS = 6
# Half precision's scale starts at 65,536 and is halved when gradients overflow.
_LEAST_SCALE = 2.0**-20

# The modules of torch whose errors are about compiling.
_COMPILER = ("torch._dynamo", "torch._inductor")

_logger = logging.getLogger(__name__)


class Stepper:
    """Moves a model's weights by one batch; `accumulation` is the number of parts it takes.

    Args:
        model: whose weights move.
        loss: of the task.
        optimizers: of all its weights.
        training: accumulation, clipping, precision, compilation.
        device: where batches lie.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: TaskLoss,
        optimizers: Sequence[optim.Optimizer],
        training: TrainingSettings,
        device: torch.device,
    ) -> None:
        self._model, self._loss, self._optimizers = model, loss, optimizers
        self._forward: nn.Module | Callable[[Tensor, Tensor], Tensor] = model
        if training.compile:
            mode = "reduce-overhead" if training.cuda_graphs else None
            # Each size of a batch for itself: else the size that came first decides all numbers.
            self._forward = torch.compile(model, mode=mode, dynamic=False)
        self._uses_graphs = training.cuda_graphs
        self._clip_norm, self._precision = training.clip_norm, training.precision
        self._device = device
        is_half = training.precision == "fp16"
        self._scaler = torch.amp.GradScaler(device.type, enabled=is_half)
        self._parameters, self._buffers = list(model.parameters()), list(model.buffers())
        self.accumulation = training.accumulation

    def step(
        self,
        batch: TensorSplit,
        *,
        seed: int,
        may_take: Callable[[Tensor], None] | None = None,
    ) -> tuple[Tensor, Tensor | int]:
        """Train on a batch.

        Args:
            batch: its rows.
            seed: of the dropout; torch's own random state stays as it was.
            may_take: sees the loss, NaN where a gradient is not finite, before weights move;
                raises to stop the training.

        Returns:
            The batch's mean loss, NaN if a gradient is not finite (in fp16, where a step whose
            gradients overflow is left out, the loss alone counts), and what it is a mean over.

        Raises:
            DeviceMemoryError: the GPU's memory is too small even for the smallest parts.
            TrainingError: the network cannot be compiled.
        """
        mass = self._loss.mass(batch.y, batch.weight)
        with torch.random.fork_rng(devices=[self._device] if self._device.type == "cuda" else []):
            loss = self._gradients(batch, mass, seed)
        for optimizer in self._optimizers:
            self._scaler.unscale_(optimizer)
        norm = self._norm()
        # In half precision gradients overflow now and then: the scaler leaves such a step out.
        health = loss if self._scaler.is_enabled() else loss + 0 * norm
        if may_take is not None:
            may_take(health)
        if self._clip_norm is not None:
            self._scale_gradients(torch.clamp(self._clip_norm / (norm + 1e-6), max=1.0))
        # The scaler looks at each optimizer's gradients alone, but a step is left out whole.
        is_one = len(self._optimizers) == 1 or not self._scaler.is_enabled()
        if is_one or bool(torch.isfinite(norm)):
            for optimizer in self._optimizers:
                self._scaler.step(optimizer)
        self._scaler.update()
        return health, mass

    @property
    def is_lost(self) -> bool:
        """Whether no loss is small enough any more for half precision's gradients."""
        return self._scaler.is_enabled() and self._scaler.get_scale() < _LEAST_SCALE

    def state(self) -> dict[str, Any]:
        """Return what decides how the next step is made, beside weights and optimizers."""
        return {"accumulation": self.accumulation, "scaler": self._scaler.state_dict()}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.accumulation = int(state["accumulation"])
        if state["scaler"]:
            self._scaler.load_state_dict(dict(state["scaler"]))

    def _gradients(self, batch: TensorSplit, mass: Tensor | int, seed: int) -> Tensor:
        """Leave the batch's gradients in the weights; return its mean loss."""
        fewest = self.accumulation
        while True:
            buffers = [buffer.clone() for buffer in self._buffers]
            try:
                return self._accumulated(batch, mass, seed)
            except torch.OutOfMemoryError:
                smaller = self.accumulation * 2
            except RuntimeError as error:
                if not type(error).__module__.startswith(_COMPILER):
                    raise
                raise TrainingError(
                    f"torch.compile failed: {first_line(error)}. Set `training.compile: false`, "
                    "or install what it asks for"
                ) from error
            if smaller > fewest * 2**_MAX_HALVINGS or smaller > batch.n_rows // 2:
                raise DeviceMemoryError(batch.n_rows, self.accumulation)
            self.accumulation = smaller
            _logger.warning("the device's memory is full: steps in %d parts", smaller)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
            for buffer, before in zip(self._buffers, buffers, strict=True):
                buffer.copy_(before)  # BatchNorm's averages have seen some parts

    def _accumulated(self, batch: TensorSplit, mass: Tensor | int, seed: int) -> Tensor:
        _seed_dropout(seed, self._device)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
        total: Tensor | None = None
        for part in _parts(batch, self.accumulation):
            if self._uses_graphs:
                torch.compiler.cudagraph_mark_step_begin()
            with self._autocast():
                logits = self._forward(part.x_cat, part.x_num)
            n_answers = len(logits) // part.n_rows
            y, weight = part.y, part.weight
            if n_answers > 1:
                y = y.repeat_interleave(n_answers)
                weight = None if weight is None else weight.repeat_interleave(n_answers)
            loss = self._loss.summed(logits.float(), y, weight) / (mass * n_answers)
            self._scaler.scale(loss).backward()
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def _autocast(self) -> AbstractContextManager[object]:
        if self._precision == "float32":
            return contextlib.nullcontext()
        half = torch.bfloat16 if self._precision == "bf16" else torch.float16
        return torch.autocast(self._device.type, half)

    def _norm(self) -> Tensor:
        """Return the length of all gradients together; of a sparse one its values count."""
        return nn.utils.get_total_norm(list(_values(self._parameters)))

    def _scale_gradients(self, factor: Tensor) -> None:
        for values in _values(self._parameters):
            values.mul_(factor)


def _values(parameters: Iterable[nn.Parameter]) -> Iterable[Tensor]:
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if gradient.is_sparse:
            # Rows that a batch holds twice are added up first, here and not in the optimizer.
            parameter.grad = gradient = gradient.coalesce()
            yield gradient._values()
        else:
            yield gradient


def _parts(batch: TensorSplit, n_parts: int) -> Iterable[TensorSplit]:
    """Yield a batch in parts of at least 2 rows, for BatchNorm."""
    n_parts = max(1, min(n_parts, batch.n_rows // 2))
    borders = [batch.n_rows * number // n_parts for number in range(n_parts + 1)]
    for start, stop in pairwise(borders):
        yield batch.slice(start, stop)


def _seed_dropout(seed: int, device: torch.device) -> None:
    # `torch.manual_seed` seeds every backend there is: 75 µs against 1 (2026-11)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
