"""What a device can do at most, measured, and what a step needs at least, counted.

With B rows in a batch, layers of d_i inputs and d_o outputs, tables of n_t rows of width w_t, and
r_t = min(B, n_t) the most rows of a table that a batch can touch:

Operations. Each layer is three matrix products, forward, gradient of inputs, gradient of weights,
of 2 B d_i d_o operations each::

    flops = 6 B Σ d_i d_o

Elementwise work, statistics and the optimizer are not counted.

Bytes, all numbers of 4 bytes, codes too, row numbers and labels of 8::

    rows         B (8 + 4 n_cat + 4 n_num + 8)      row number, codes, numbers, label, read once
    boundaries   20 B (d_in + Σ d_hidden + n_out)   what lies between two products: written and
                                                    read forward, read backward, its gradient
                                                    written and read
    gather       4 Σ r_t w_t                        embeddings, read once
    layers       (8 + 32) Σ (d_i d_o + 4 d_o)       weights read forward and backward; gradient
                                                    written and read, weight and both moments read
                                                    and written. 4 d_o: bias, and the scale and
                                                    shift of BatchNorm, rounded up for the head
    tables       32 Σ n_t w_t                       dense Adam touches every row
                 32 Σ r_t w_t                       where the gradient is sparse

That is a step whose elementwise work is all folded into its products, with masks drawn anew in
the backward pass. The bound is the larger of flops over the measured float32 product and bytes over
the measured copy. Where a batch is small everything fits into the cache and launches take the time;
the bound is then far below what any of these can do.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu_clock import Stopwatch
from benchmarks.gpu_network import SPARSE_FROM, Shape


@dataclass(frozen=True)
class Ceilings:
    """Rates measured on the device; None where it has no such unit."""

    copy_bytes_per_s: float
    float32_flops: float
    tf32_flops: float | None
    bf16_flops: float | None


@dataclass(frozen=True)
class Bound:
    """The least a step needs."""

    flops: float
    size_bytes: float
    flops_s: float
    bytes_s: float

    @property
    def seconds(self) -> float:
        """The larger of the two times."""
        return max(self.flops_s, self.bytes_s)

    @property
    def which(self) -> str:
        """Which of the two applies."""
        return "arithmetic" if self.flops_s >= self.bytes_s else "bytes"


def step_flops(shape: Shape, batch: int) -> float:
    """Return the operations of a step's matrix products."""
    return 6.0 * batch * sum(d_in * d_out for d_in, d_out in shape.layers)


def step_bytes(shape: Shape, batch: int, *, sparse: bool = False) -> float:
    """Return the fewest bytes a step moves; `sparse` is for tables of `SPARSE_FROM` rows on."""
    tables = list(zip(shape.cardinalities, shape.d_embeddings, strict=True))
    touched = [min(batch, n) for n, _ in tables]
    rows = batch * (8 + 4 * len(tables) + 4 * shape.n_numeric + 8)
    boundaries = 20 * batch * (shape.d_in + sum(shape.d_hidden) + shape.n_classes)
    gather = 4 * sum(r * width for r, (_, width) in zip(touched, tables, strict=True))
    layers = 40 * sum(d_in * d_out + 4 * d_out for d_in, d_out in shape.layers)
    updated = [
        r if sparse and n >= SPARSE_FROM else n for r, (n, _) in zip(touched, tables, strict=True)
    ]
    adam = 32 * sum(n * width for n, (_, width) in zip(updated, tables, strict=True))
    return float(rows + boundaries + gather + layers + adam)


def bound(shape: Shape, batch: int, ceilings: Ceilings, *, sparse: bool = False) -> Bound:
    """Return the least time of a step on a device of these ceilings."""
    flops, size = step_flops(shape, batch), step_bytes(shape, batch, sparse=sparse)
    return Bound(flops, size, flops / ceilings.float32_flops, size / ceilings.copy_bytes_per_s)


def measure_ceilings(device: torch.device, *, quick: bool = False) -> Ceilings:
    """Measure a large copy, bytes read and written, and large products of random numbers."""
    on_cuda = device.type == "cuda"
    n_copied, side = (2**24, 512) if quick else (2**28, 8192)
    source = torch.rand(n_copied, device=device)
    target = torch.empty_like(source)
    copy_s = _median_s(partial(target.copy_, source), device)
    left, right = (torch.randn(side, side, device=device) for _ in range(2))

    def rate(a: Tensor, b: Tensor) -> float:
        out = torch.empty_like(a)
        return 2 * side**3 / _median_s(lambda: torch.mm(a, b, out=out), device)

    float32, tf32, bf16 = rate(left, right), None, None
    if on_cuda:
        torch.set_float32_matmul_precision("high")
        tf32 = rate(left, right)
        torch.set_float32_matmul_precision("highest")
        bf16 = rate(left.bfloat16(), right.bfloat16())
    return Ceilings(8 * n_copied / copy_s, float32, tf32, bf16)


def _median_s(work: Callable[[], object], device: torch.device, n_times: int = 15) -> float:
    for _ in range(3):
        work()
    seconds: list[float] = []
    for _ in range(n_times):
        watch = Stopwatch(device)
        work()
        seconds.append(watch.stop())
    return statistics.median(seconds)
