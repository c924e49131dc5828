"""Who only brings rows to a training: from memory at random, or from Parquet through a buffer."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from benchmarks.train_network import Network, final_loss, load_for_torch, tensors
from benchmarks.train_table import (
    BATCH_ROWS,
    CATEGORIES,
    LEARNING_RATE,
    NUMBERS,
    WARM_UP_ROWS,
    Outcome,
    run_contestant,
)

BUFFER_ROWS = 10_000
# Slices are so fast that one pass is over before a clock can tell.
_SLICE_PASSES = 20
_Row = tuple[Tensor, Tensor, int]


def dataloader(folder: Path) -> Outcome:
    """Take every row once from a DataLoader over a TensorDataset."""
    table = load_for_torch(folder)

    def take(n_rows: int) -> None:
        dataset = TensorDataset(*tensors(table.head(n_rows)))
        for _ in DataLoader(dataset, batch_size=BATCH_ROWS, shuffle=True):
            pass

    take(WARM_UP_ROWS)
    start = time.process_time()
    take(table.n_rows)
    return Outcome(time.process_time() - start, table.n_rows)


def slices(folder: Path) -> Outcome:
    """Take every row by `index_select` with slices of a permutation."""
    table = load_for_torch(folder)
    columns = tensors(table)

    def take(passes: int) -> None:
        for _ in range(passes):
            for rows in torch.randperm(table.n_rows).split(BATCH_ROWS):
                for column in columns:
                    column.index_select(0, rows)

    take(1)
    start = time.process_time()
    take(_SLICE_PASSES)
    return Outcome(time.process_time() - start, table.n_rows * _SLICE_PASSES)


class ShuffleBuffer(IterableDataset[_Row]):
    """Rows of a Parquet file one by one, each drawn from a buffer that the next row refills."""

    def __init__(self, path: Path, *, buffer_rows: int = BUFFER_ROWS, n_rows: int = 0) -> None:
        """Keep where to read; stop after `n_rows`, 0 means at the end."""
        self._path, self._buffer_rows, self._n_rows = path, buffer_rows, n_rows

    def __iter__(self) -> Iterator[_Row]:
        """Yield codes ``(10,)``, numbers ``(5,)`` and the class of one row."""
        buffer: list[_Row] = []
        for position, row in enumerate(self._rows()):
            if self._n_rows and position == self._n_rows:
                break
            if len(buffer) < self._buffer_rows:
                buffer.append(row)
                continue
            drawn = random.randrange(self._buffer_rows)
            yield buffer[drawn]
            buffer[drawn] = row
        random.shuffle(buffer)
        yield from buffer

    def _rows(self) -> Iterator[_Row]:
        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches(batch_size=BUFFER_ROWS, use_threads=False):
                for row in batch.to_pylist():
                    x_cat = torch.tensor([row[name] for name in CATEGORIES])
                    x_num = torch.tensor([row[name] for name in NUMBERS])
                    yield x_cat, x_num, row["y"]


def shuffle_buffer(folder: Path) -> Outcome:
    """Take every row of a Parquet file through a buffer of rows."""
    return _through_buffer(folder, lambda *_: None)


def shuffle_buffer_training(folder: Path) -> Outcome:
    """Train one epoch on them, as the textbook does."""
    table = load_for_torch(folder)
    network = Network(table.cardinalities)
    optimizer, loss_of = Adam(network.parameters(), lr=LEARNING_RATE), nn.CrossEntropyLoss()

    def step(x_cat: Tensor, x_num: Tensor, y: Tensor) -> None:
        optimizer.zero_grad()
        loss = loss_of(network(x_cat, x_num), y)
        loss.backward()
        optimizer.step()
        loss.item()

    outcome = _through_buffer(folder, step)
    return Outcome(outcome.cpu_s, outcome.n_rows, final_loss(network, table))


def _through_buffer(folder: Path, use: Callable[[Tensor, Tensor, Tensor], None]) -> Outcome:
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    random.seed(0)
    path = folder / "rows.parquet"

    def take(n_rows: int) -> int:
        dataset, n_taken = ShuffleBuffer(path, n_rows=n_rows), 0
        for batch in DataLoader(dataset, batch_size=BATCH_ROWS):
            use(*batch)
            n_taken += len(batch[-1])
        return n_taken

    take(WARM_UP_ROWS)
    start = time.process_time()
    n_rows = take(0)
    return Outcome(time.process_time() - start, n_rows)


if __name__ == "__main__":
    run_contestant(
        {f.__name__: f for f in (dataloader, slices, shuffle_buffer, shuffle_buffer_training)}
    )
