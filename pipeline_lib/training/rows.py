"""The rows of a split as batches of tensors: held on the device, or streamed from parquet.

The order of an epoch follows from its seed and the number of rows alone, wherever the rows lie:
row groups come in random order, `POOLED_GROUPS` of them at a time are shuffled together, and
batches are cut across. Up to half a million rows that is one permutation of them all. So a training
gives the same weights whether its rows fit into memory or not.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from pipeline_lib.encoding import EncodedSplit, Encoder
from pipeline_lib.encoding.tensors import ROW_GROUP_ROWS, SplitFile

POOLED_GROUPS = 4
# Share of a device's memory that rows may take; the rest is for weights and activations.
_SHARE = 0.4

Bounds = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Pool:
    """Row groups that are shuffled together, and the order of their concatenated rows."""

    groups: tuple[int, ...]
    order: Tensor


class Rows(Protocol):
    """Where a split's rows come from."""

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        ...

    @property
    def size_bytes(self) -> int:
        """The device's memory that they take as long as they are there."""
        ...

    @property
    def device(self) -> torch.device:
        """Where batches lie."""
        ...

    def batches(self, bounds: Bounds, *, seed: int, first_step: int = 0) -> "Iterator[TensorSplit]":
        """Yield shuffled batches from `first_step` on; `bounds` are those of all steps."""
        ...

    def in_order(self, batch_rows: int) -> "Iterator[TensorSplit]":
        """Yield all rows as they lie."""
        ...


@dataclass(frozen=True)
class TensorSplit:
    """Rows as tensors on a device; shapes as in `EncodedSplit`."""

    x_cat: Tensor
    x_num: Tensor
    y: Tensor
    weight: Tensor | None = None

    @classmethod
    def of(cls, split: EncodedSplit, device: torch.device) -> "TensorSplit":
        """Put an encoded split on a device."""
        arrays = [split.x_cat, split.x_num, split.y]
        arrays += [] if split.weight is None else [split.weight]
        parts = [torch.from_numpy(array) for array in arrays]
        if device.type == "cuda":
            parts = [part.pin_memory() for part in parts]
        return cls(*(part.to(device, non_blocking=True) for part in parts))

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.y)

    @property
    def size_bytes(self) -> int:
        """The size of the tensors."""
        parts = (self.x_cat, self.x_num, self.y, self.weight)
        return sum(part.nbytes for part in parts if part is not None)

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.y.device

    def take(self, rows: Tensor) -> "TensorSplit":
        """Return some rows, in the order given."""
        # index_select: half of the time of `x[rows]`, measured at batches of 1,024 (2026-11)
        return TensorSplit(
            self.x_cat.index_select(0, rows),
            self.x_num.index_select(0, rows),
            self.y.index_select(0, rows),
            None if self.weight is None else self.weight.index_select(0, rows),
        )

    def slice(self, start: int, stop: int) -> "TensorSplit":
        """Return rows `start` to `stop` as views."""
        rows = slice(start, stop)
        weight = None if self.weight is None else self.weight[rows]
        return TensorSplit(self.x_cat[rows], self.x_num[rows], self.y[rows], weight)

    def batches(self, bounds: Bounds, *, seed: int, first_step: int = 0) -> "Iterator[TensorSplit]":
        """Yield shuffled batches; see `Rows`."""
        held = ((pool, self, _global(pool, self.n_rows)) for pool in pools(self.n_rows, seed))
        yield from _cut(held, bounds, first_step)

    def in_order(self, batch_rows: int) -> "Iterator[TensorSplit]":
        """Yield all rows as they lie."""
        for start in range(0, self.n_rows, batch_rows):
            yield self.slice(start, start + batch_rows)


class StreamedSplit:
    """Rows that stay in their parquet file; a pool of row groups is in memory, and the next one.

    Args:
        path: an encoded split.
        encoder: the one that wrote it.
        device: where batches shall lie.
    """

    def __init__(self, path: Path, encoder: Encoder, device: torch.device) -> None:
        self._file = SplitFile(path, encoder)
        self._device = device

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self._file.n_rows

    @property
    def size_bytes(self) -> int:
        """Nothing: pools come and go."""
        return 0

    @property
    def device(self) -> torch.device:
        """Where batches lie."""
        return self._device

    def batches(self, bounds: Bounds, *, seed: int, first_step: int = 0) -> Iterator[TensorSplit]:
        """Yield shuffled batches; see `Rows`. The next pool is read while this one is used."""
        start = bounds[first_step][0] if first_step < len(bounds) else self.n_rows
        yield from _cut(self._held(seed, start), bounds, first_step)

    def in_order(self, batch_rows: int) -> Iterator[TensorSplit]:
        """Yield all rows as they lie, row group by row group."""
        for group in range(self._file.n_groups):
            yield from TensorSplit.of(self._file.read([group]), self._device).in_order(batch_rows)

    def _held(self, seed: int, start: int) -> Iterator[tuple[Pool, TensorSplit, Tensor]]:
        """Yield pools with their rows, none where a pool ends before row `start`.

        A pool is drawn when its reading begins: the orders of all would be 8 bytes per row. Orders
        and rows of two pools are filled in turn: new ones for each left holes in the heap, 50 MB in
        33 million rows (2026-11).
        """
        n_pooled, stop = min(self.n_rows, POOLED_GROUPS * ROW_GROUP_ROWS), 0
        orders = cycle([torch.empty(n_pooled, dtype=torch.int64) for _ in range(2)])
        rooms = cycle([self._file.room(n_pooled) for _ in range(2)])
        made = pools(self.n_rows, seed, orders)
        with ThreadPoolExecutor(1, "evergreen-rows") as reader:

            def begin() -> tuple[Pool, Future[EncodedSplit]] | None:
                nonlocal stop
                if (pool := next(made, None)) is None:
                    return None
                stop += len(pool.order)
                groups = pool.groups if stop > start else ()
                return pool, reader.submit(self._file.read, groups, next(rooms))

            ahead = begin()
            while ahead is not None:
                pool, read = ahead
                rows = TensorSplit.of(read.result(), self._device)
                ahead = begin()
                yield pool, rows, pool.order


@dataclass(frozen=True)
class ChainedRows:
    """The rows of several splits as those of one, to be read in order."""

    parts: tuple[Rows, ...]

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return sum(part.n_rows for part in self.parts)

    @property
    def device(self) -> torch.device:
        """Where batches lie."""
        return self.parts[0].device

    def in_order(self, batch_rows: int) -> Iterator[TensorSplit]:
        """Yield all rows as they lie, part after part."""
        for part in self.parts:
            yield from part.in_order(batch_rows)


def open_split(path: Path, encoder: Encoder, device: torch.device, *, budget_bytes: int) -> Rows:
    """Return a split's rows on the device if they take at most `budget_bytes`, else a stream.

    Raises:
        StorageError: the file is damaged, or was written by another encoder.
    """
    file = SplitFile(path, encoder)
    if file.size_bytes <= budget_bytes:
        return TensorSplit.of(file.read(range(file.n_groups)), device)
    return StreamedSplit(path, encoder, device)


def memory_budget(device: torch.device) -> int:
    """Return how many bytes of rows may lie on a device: a fixed share of its memory."""
    if device.type == "cuda":
        return int(_SHARE * torch.cuda.get_device_properties(device).total_memory)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # a container may have less than its machine
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text("utf-8")))
    return int(_SHARE * total)


def count_codes(rows: Rows, cardinalities: Sequence[int]) -> list[Tensor]:
    """Count the rows of each code, for each column of `x_cat`; shape ``(cardinality,)`` each."""
    counts = [torch.zeros(n, dtype=torch.int64, device=rows.device) for n in cardinalities]
    for batch in rows.in_order(ROW_GROUP_ROWS):
        for position, count in enumerate(counts):
            count.add_(torch.bincount(batch.x_cat[:, position], minlength=len(count)))
    return counts


def count_classes(rows: Rows, n_classes: int) -> Tensor:
    """Count the rows of each class, or add up their weights; shape ``(n_classes,)``."""
    count = torch.zeros(n_classes, dtype=torch.int64, device=rows.device)
    for batch in rows.in_order(ROW_GROUP_ROWS):
        if batch.weight is None:
            count += torch.bincount(batch.y.long(), minlength=n_classes)
        else:  # on the CPU: MPS has no float64
            weights = batch.weight.cpu().double()
            found = torch.bincount(batch.y.cpu().long(), weights, minlength=n_classes)
            count = count.cpu() + found
    return count


def pools(n_rows: int, seed: int, orders: Iterator[Tensor] | None = None) -> Iterator[Pool]:
    """Yield the pools of an epoch, which follow from the number of rows and the seed.

    `orders` are int64 tensors to draw the orders into; without them each pool has a new one.
    """
    random = torch.Generator().manual_seed(seed)
    n_groups = -(-n_rows // ROW_GROUP_ROWS)
    groups = torch.randperm(n_groups, generator=random).tolist()
    for start in range(0, n_groups, POOLED_GROUPS):
        pooled = tuple(groups[start : start + POOLED_GROUPS])
        n_pooled = sum(min(ROW_GROUP_ROWS, n_rows - group * ROW_GROUP_ROWS) for group in pooled)
        order = None if orders is None else next(orders)[:n_pooled]
        yield Pool(pooled, torch.randperm(n_pooled, generator=random, out=order))


def _global(pool: Pool, n_rows: int) -> Tensor:
    """Return a pool's order as numbers of rows of the whole split."""
    starts = [group * ROW_GROUP_ROWS for group in pool.groups]
    held = [torch.arange(start, min(start + ROW_GROUP_ROWS, n_rows)) for start in starts]
    return torch.cat(held)[pool.order]


def _cut(
    held: Iterator[tuple[Pool, TensorSplit, Tensor]], bounds: Bounds, first_step: int
) -> Iterator[TensorSplit]:
    """Cut batches out of pools, across their borders."""
    step, offset = first_step, 0
    begun: list[TensorSplit] = []
    for pool, rows, order in held:
        end = offset + len(pool.order)
        order_there = (
            order.to(rows.device) if step < len(bounds) and bounds[step][0] < end else None
        )
        while order_there is not None and step < len(bounds):
            start, stop = max(bounds[step][0], offset), min(bounds[step][1], end)
            if start >= stop:
                break
            begun.append(rows.take(order_there[start - offset : stop - offset]))
            if stop < bounds[step][1]:
                break  # the rest lies in the next pool
            yield begun[0] if len(begun) == 1 else _joined(begun)
            begun, step = [], step + 1
        offset = end
        del rows, order, order_there  # before the next pool comes


def _joined(parts: Sequence[TensorSplit]) -> TensorSplit:
    weights = [part.weight for part in parts if part.weight is not None]
    return TensorSplit(
        torch.cat([part.x_cat for part in parts]),
        torch.cat([part.x_num for part in parts]),
        torch.cat([part.y for part in parts]),
        torch.cat(weights) if weights else None,
    )
