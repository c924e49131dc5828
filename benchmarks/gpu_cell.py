"""One table and one batch size of the GPU benchmark, in a process of its own.

A capture that fails leaves CUDA and the random generator in a state nobody should measure in, so
nothing is mended here: the process ends, its last line tells whose turn it was, and `gpu` starts it
again without that contestant. Every contestant is checked before any is timed.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.gpu_check import Difference, Reference
from benchmarks.gpu_clock import Stopwatch
from benchmarks.gpu_network import Shape
from benchmarks.gpu_rows import Rows, read_rows
from benchmarks.gpu_step import Captured, Contestant, Loaded, Resident, Setting

DROPOUT = 0.4
LOADER = "DataLoader, pinned, workers"
AT, DONE = "at ", "done "


@dataclass(frozen=True)
class Entrant:
    """How a contestant is built, where it runs, and which reference it is held to.

    Args:
        build: from a setting, rows on the CPU, rows on the device, and the device.
        needs_cuda: say so and do not run elsewhere.
        sparse: sparse gradients for long tables; only where there is one.
        with_large: take part with the large table too; what is left out takes long to compile.
    """

    build: Callable[[Setting, Rows, Rows, torch.device], Contestant]
    needs_cuda: bool = False
    sparse: bool = False
    with_large: bool = True


ENTRANTS = {
    LOADER: Entrant(lambda setting, cpu, _, device: Loaded(setting, cpu, device)),
    "resident, eager": Entrant(lambda setting, _, rows, device: Resident(setting, rows, device)),
    "resident, eager, SparseAdam": Entrant(
        lambda setting, _, rows, device: Resident(setting, rows, device, sparse=True), sparse=True
    ),
    "resident, compiled": Entrant(
        lambda setting, _, rows, device: Resident(setting, rows, device, compiled=True),
        needs_cuda=True,
        with_large=False,
    ),
    "resident, compiled, reduce-overhead": Entrant(
        lambda setting, _, rows, device: Resident(
            setting, rows, device, compiled=True, mode="reduce-overhead"
        ),
        needs_cuda=True,
        with_large=False,
    ),
    "CUDA graph": Entrant(
        lambda setting, _, rows, device: Captured(setting, rows, device), needs_cuda=True
    ),
    "CUDA graph of the compiled step": Entrant(
        lambda setting, _, rows, device: Captured(setting, rows, device, compiled=True),
        needs_cuda=True,
        with_large=False,
    ),
}


@dataclass(frozen=True)
class Request:
    """What to measure.

    Args:
        path: parquet of the rows.
        table: "small" or "large".
        names: the contestants, in order.
        region_s: about how long one measurement takes.
    """

    path: str
    table: str
    quick: bool
    batch: int
    device: str
    names: list[str]
    rounds: int
    region_s: float
    n_workers: int


@dataclass
class Outcome:
    """What one contestant did; `step_s` has one entry per round and is empty where it is wrong."""

    difference: Difference
    masks_differ: bool | None = None
    peak_mb: float | None = None
    step_s: list[float] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether weights and masks are as they should be."""
        return self.difference.is_right and self.masks_differ is not False


class Cell:
    """The contestants of one table and batch size."""

    def __init__(self, request: Request) -> None:
        self._request, self._device = request, torch.device(request.device)
        self._cpu_rows = read_rows(Path(request.path))
        self._rows = self._cpu_rows.to(self._device)
        self._setting = Setting(
            Shape.of(request.table, quick=request.quick),
            request.batch,
            DROPOUT,
            n_workers=request.n_workers,
        )
        self._on_cuda = self._device.type == "cuda"

    def measure(self) -> dict[str, Outcome]:
        """Check all, then time those that are right in interleaved rounds."""
        outcomes = {name: self._checked(name) for name in self._request.names}
        ready: dict[str, tuple[Contestant, int]] = {}
        for name, outcome in outcomes.items():
            if outcome.difference.is_right:
                contestant = self._built(name, outcome)
                if outcome.is_right:
                    ready[name] = contestant, self._n_steps(contestant)
        for _ in range(self._request.rounds):
            for name, (contestant, n_steps) in ready.items():
                _say(name)
                outcomes[name].step_s.append(self._timed(contestant, n_steps))
        return outcomes

    def _checked(self, name: str) -> Outcome:
        _say(name)
        entrant = ENTRANTS[name]
        reference = self._sparse_reference if entrant.sparse else self._reference
        contestant = entrant.build(reference.setting, self._cpu_rows, self._rows, self._device)
        return Outcome(reference.difference(contestant, self._device))

    @cached_property
    def _reference(self) -> Reference:
        return Reference(self._setting, self._cpu_rows)

    @cached_property
    def _sparse_reference(self) -> Reference:
        return Reference(self._setting, self._cpu_rows, sparse=True)

    def _built(self, name: str, outcome: Outcome) -> Contestant:
        """Build what is timed, see that masks differ, warm up, note the peak of memory."""
        _say(name)
        before = 0
        if self._on_cuda:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
        contestant = ENTRANTS[name].build(self._setting, self._cpu_rows, self._rows, self._device)
        if isinstance(contestant, Captured):
            outcome.masks_differ = contestant.masks_differ()
        self._timed(contestant, 2)
        if self._on_cuda:
            outcome.peak_mb = (torch.cuda.max_memory_allocated() - before) / 1e6
        return contestant

    def _n_steps(self, contestant: Contestant) -> int:
        """Return how many steps fill the time of a measurement, as far as there are rows."""
        most = self._rows.n_rows // self._request.batch - contestant.n_warm_up
        if isinstance(contestant, Loaded):
            # Batches come in bursts of one per worker: whole bursts, and enough rows to see a pace.
            bursts = max(2, -(-100_000 // (self._request.batch * self._request.n_workers)))
            return min(most, bursts * self._request.n_workers)
        trial = min(10, most)
        step_s = self._timed(contestant, trial)
        return max(trial, min(most, int(self._request.region_s / step_s)))

    def _timed(self, contestant: Contestant, n_steps: int) -> float:
        """Return the seconds per step, after a warm-up; a resident one draws its permutation."""
        batch, n_warm_up = self._request.batch, contestant.n_warm_up
        losses = torch.empty(n_steps, device=self._device)
        if isinstance(contestant, Loaded):
            order = torch.randperm(self._rows.n_rows)[: batch * (n_warm_up + n_steps)]
            steps = contestant.steps(order)
            _take(steps, n_warm_up, losses)
            watch = Stopwatch(self._device)
        else:
            warm = torch.arange(batch * n_warm_up, device=self._device)
            _take(contestant.steps(warm), n_warm_up, losses)
            watch = Stopwatch(self._device)
            order = torch.randperm(self._rows.n_rows, device=self._device)
            steps = contestant.steps(order[: batch * n_steps])
        _take(steps, n_steps, losses)
        return watch.stop() / n_steps


def _take(steps: Iterator[Tensor], n_steps: int, losses: Tensor) -> None:
    """Take steps and keep their losses on the device, as a training loop does."""
    for step in range(n_steps):
        losses[step % len(losses)] = next(steps)


def _say(name: str) -> None:
    print(AT + name, flush=True)


def main() -> None:
    """Measure what the first argument, a `Request` in JSON, asks for; the last line is JSON."""
    outcomes = Cell(Request(**json.loads(sys.argv[1]))).measure()
    told = {name: asdict(outcome) for name, outcome in outcomes.items()}
    print(DONE + json.dumps(told))


if __name__ == "__main__":
    main()
