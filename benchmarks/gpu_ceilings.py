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
the measured copy; for half precision it is the same, which flatters it. Where a batch is small
everything fits into the cache and launches take the time; the bound is then far below what any of
these can do.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Ceilings:
    """Rates measured on the device."""

    copy_bytes_per_s: float
    float32_flops: float


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


def step_flops(network: nn.Module, batch: int) -> float:
    """Return the operations of a step's matrix products."""
    return 6.0 * batch * sum(n_in * n_out for n_in, n_out in _layers(network))


def step_bytes(network: nn.Module, batch: int, *, sparse_above: int | None = None) -> float:
    """Return the fewest bytes a step moves; tables above so many rows have sparse gradients."""
    tables = [
        (table.num_embeddings, table.embedding_dim)
        for table in network.modules()
        if isinstance(table, nn.Embedding)
    ]
    layers = _layers(network)
    n_numeric = layers[0][0] - sum(width for _, width in tables)
    rows = batch * (8 + 4 * len(tables) + 4 * n_numeric + 8)
    boundaries = 20 * batch * (layers[0][0] + sum(n_out for _, n_out in layers))
    gather = 4 * sum(min(batch, n) * width for n, width in tables)
    updated = [
        (min(batch, n) if sparse_above is not None and n > sparse_above else n) * width
        for n, width in tables
    ]
    weights = 40 * sum(n_in * n_out + 4 * n_out for n_in, n_out in layers)
    return float(rows + boundaries + gather + weights + 32 * sum(updated))


def bound(
    network: nn.Module, batch: int, ceilings: Ceilings, *, sparse_above: int | None = None
) -> Bound:
    """Return the least time of a step on a device of these ceilings."""
    flops, size = step_flops(network, batch), step_bytes(network, batch, sparse_above=sparse_above)
    return Bound(flops, size, flops / ceilings.float32_flops, size / ceilings.copy_bytes_per_s)


def measure_ceilings(device: torch.device, *, quick: bool = False) -> Ceilings:
    """Measure a large copy, bytes read and written, and a large product of random numbers."""
    n_copied, side = (2**22, 256) if quick else (2**28, 8192)
    source = torch.rand(n_copied, device=device)
    copy_s = _median_s(partial(torch.empty_like(source).copy_, source), device)
    left, right, out = (torch.randn(side, side, device=device) for _ in range(3))
    product_s = _median_s(partial(_product, left, right, out), device)
    return Ceilings(8 * n_copied / copy_s, 2 * side**3 / product_s)


def now(device: torch.device) -> float:
    """Return seconds on a clock, when the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _layers(network: nn.Module) -> list[tuple[int, int]]:
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    return [(module.in_features, module.out_features) for module in linear]


def _product(left: Tensor, right: Tensor, out: Tensor) -> None:
    torch.mm(left, right, out=out)


def _median_s(work: Callable[[], object], device: torch.device) -> float:
    seconds: list[float] = []
    for _ in range(18):
        start = now(device)
        work()
        seconds.append(now(device) - start)
    return statistics.median(seconds[3:])
