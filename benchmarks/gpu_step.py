"""The contestants of the GPU benchmark: five ways of letting one network learn from rows.

Each yields the loss of every step as a tensor on its device and never asks for a value. They share
network, loss and optimizer; what differs is how rows arrive and how kernels are launched.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.gpu_network import SPARSE_FROM, EmbeddingMLP, Shape
from benchmarks.gpu_rows import Rows

N_WORKERS = min(8, os.cpu_count() or 1)
PREFETCH = 2
_WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Setting:
    """What every contestant of one comparison has in common."""

    shape: Shape
    batch: int
    dropout: float
    learning_rate: float = 1e-3
    epsilon: float = 1e-8
    seed: int = 0
    n_workers: int = N_WORKERS


class Learner:
    """A network with its optimizers; `learn` is one step on one batch.

    Weights are drawn on the CPU from the seed, so they are the same on every device. On float64
    the optimizer is torch's plain loop, the reference of the others.

    Args:
        setting: shape, dropout, learning rate, seed.
        device: where to learn.
        dtype: of weights and arithmetic.
        sparse: give the long tables sparse gradients and `SparseAdam`.
        capturable: make an optimizer that a graph can hold; torch warns where none does.
    """

    def __init__(
        self,
        setting: Setting,
        device: torch.device,
        *,
        dtype: torch.dtype = torch.float32,
        sparse: bool = False,
        capturable: bool = False,
    ) -> None:
        torch.manual_seed(setting.seed)
        sparse_from = SPARSE_FROM if sparse else None
        model = EmbeddingMLP(setting.shape, dropout=setting.dropout, sparse_from=sparse_from)
        self.model = model.to(device, dtype).train()
        self.loss: Callable[[Tensor, Tensor, Tensor], Tensor] = self._loss
        # A captured graph reads the rate where it lies: a tensor can be changed between replays.
        self.learning_rate = torch.tensor(setting.learning_rate, device=device, dtype=dtype)
        scattered = self.model.sparse_weights()
        taken = {id(weight) for weight in scattered}
        dense = [weight for weight in self.model.parameters() if id(weight) not in taken]
        is_reference = dtype == torch.float64
        rate, epsilon = setting.learning_rate, setting.epsilon
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Adam(dense, lr=rate, eps=epsilon, foreach=False)
            if is_reference
            else torch.optim.Adam(
                dense, lr=self.learning_rate, eps=epsilon, fused=True, capturable=capturable
            )
        ]
        if scattered:
            self.optimizers.append(torch.optim.SparseAdam(scattered, lr=rate, eps=epsilon))

    def learn(self, x_cat: Tensor, x_num: Tensor, y: Tensor) -> Tensor:
        """Take one step; return its loss, detached."""
        self.forget_gradients()
        loss = self.loss(x_cat, x_num, y)
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss.detach()

    def forget_gradients(self) -> None:
        """Leave no gradient, so that the next backward writes and does not add."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def compile(self, mode: str | None) -> None:
        """Let torch compile forward and backward, for the shapes it meets first."""
        self.loss = torch.compile(self._loss, mode=mode, dynamic=False)

    def _loss(self, x_cat: Tensor, x_num: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(self.model(x_cat, x_num), y)


class Loaded:
    """A `DataLoader` over a `TensorDataset`: workers, pinned memory, copies without waiting."""

    def __init__(self, setting: Setting, rows: Rows, device: torch.device) -> None:
        self.learner = Learner(setting, device)
        self._setting, self._device = setting, device
        self._rows = TensorDataset(rows.x_cat, rows.x_num, rows.y)

    @property
    def n_warm_up(self) -> int:
        """Steps until what workers fetched ahead is used up and their own pace shows."""
        return PREFETCH * self._setting.n_workers

    def steps(self, order: Tensor) -> Iterator[Tensor]:
        """Learn from rows in this order; yield each step's loss."""
        loader = DataLoader(
            self._rows,
            batch_size=self._setting.batch,
            sampler=order.tolist(),
            drop_last=True,
            num_workers=self._setting.n_workers,
            prefetch_factor=PREFETCH,
            pin_memory=self._device.type == "cuda",
        )
        for batch in loader:
            yield self.learner.learn(*(part.to(self._device, non_blocking=True) for part in batch))


class Resident:
    """Rows lie on the device; a batch is an `index_select` of a slice of a permutation."""

    n_warm_up = _WARM_UP_STEPS

    def __init__(
        self,
        setting: Setting,
        rows: Rows,
        device: torch.device,
        *,
        sparse: bool = False,
        compiled: bool = False,
        mode: str | None = None,
    ) -> None:
        self.learner = Learner(setting, device, sparse=sparse)
        if compiled:
            self.learner.compile(mode)
        self._marks_steps = mode == "reduce-overhead"
        self._batch, self._rows = setting.batch, rows

    def steps(self, order: Tensor) -> Iterator[Tensor]:
        """Learn from rows in this order; yield each step's loss, valid until the next."""
        for start in range(0, len(order) - self._batch + 1, self._batch):
            if self._marks_steps:  # what the graphs of the last step gave may be overwritten
                torch.compiler.cudagraph_mark_step_begin()
            batch = self._rows.take(order[start : start + self._batch])
            yield self.learner.learn(*batch)


class Captured:
    """The whole step, gather to optimizer, as one CUDA graph; on a CPU the same step, eager.

    What the rules of capture ask for: every tensor that changes from step to step has one address
    (`_rows`, `_loss`, the learning rate, Adam's step count); the step runs on a side stream first,
    so that kernels, handles and Adam's state are there and no autograd node belongs to another
    stream; gradients are gone before the capture, so that they are allocated in the graph's pool
    and written anew by each replay; the optimizer is capturable. Dropout draws from the device's
    own generator, whose offset each replay moves on. Warming up changes weights, so they are put
    back.
    """

    n_warm_up = _WARM_UP_STEPS

    def __init__(
        self, setting: Setting, rows: Rows, device: torch.device, *, compiled: bool = False
    ) -> None:
        self.learner = Learner(setting, device, capturable=True)
        if compiled:
            self.learner.compile(None)
        self._data, self._batch = rows, setting.batch
        self._rows = torch.arange(setting.batch, device=device)
        self._loss = torch.zeros((), device=device)
        self._replay: Callable[[], None] = self._step
        if device.type == "cuda":
            self._replay = self._captured()

    def steps(self, order: Tensor) -> Iterator[Tensor]:
        """Learn from rows in this order; yield each step's loss, valid until the next."""
        for start in range(0, len(order) - self._batch + 1, self._batch):
            self._rows.copy_(order[start : start + self._batch])
            self._replay()
            yield self._loss

    def masks_differ(self, seed: int = 1) -> bool:
        """Tell whether two replays drop differently, and a seed set again drops the same.

        The learning rate is 0 meanwhile, so the weights stay and only masks can change a loss.
        """
        before = self.learner.learning_rate.clone()
        self.learner.learning_rate.zero_()
        losses: list[float] = []
        for _ in range(2):
            torch.manual_seed(seed)
            for _ in range(2):
                self._replay()
                losses.append(float(self._loss))
        self.learner.learning_rate.copy_(before)
        first, second, again, second_again = losses
        tolerance = 1e-6 * abs(first)
        same = abs(first - again) <= tolerance and abs(second - second_again) <= tolerance
        return same and abs(first - second) > 10 * tolerance

    def _step(self) -> None:
        self._loss.copy_(self.learner.learn(*self._data.take(self._rows)))

    def _captured(self) -> Callable[[], None]:
        """Capture the step; return what replays it."""
        weights = list(self.learner.model.state_dict().values())
        before = [weight.clone() for weight in weights]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP_STEPS):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        self.learner.forget_gradients()
        graph = torch.cuda.CUDAGraph()
        # The stream of the warm-up again: cuBLAS keeps its workspace per stream.
        with torch.cuda.graph(graph, stream=side):
            self._step()
        with torch.no_grad():
            for weight, value in zip(weights, before, strict=True):
                weight.copy_(value)
        for optimizer in self.learner.optimizers:
            for state in optimizer.state.values():
                for moment in state.values():
                    moment.zero_()
        return graph.replay


Contestant = Loaded | Resident | Captured
