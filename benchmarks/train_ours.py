"""Evergreen's side of the training benchmark: the same table, network and steps as the rivals'.

Streaming reads the whole file for now: what it measures is a stand-in.
"""

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from benchmarks.train_network import final_loss, load_for_torch, tensors
from benchmarks.train_table import (
    BATCH_ROWS,
    CATEGORIES,
    D_HIDDEN,
    DROPOUT,
    LEARNING_RATE,
    N_CLASSES,
    N_NUMBERS,
    NUMBERS,
    WARM_UP_ROWS,
    Outcome,
    Table,
    run_contestant,
)
from pipeline_lib.config import TrainingSettings
from pipeline_lib.encoding import N_RESERVED
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.training.loop import TensorSplit, TrainingLoop

_VAL_ROWS = 256
_LOADER_PASSES = 20


def small(data_folder: Path) -> Outcome:
    """Train all epochs on small tables, after a short training that does not count."""
    table = load_for_torch(data_folder)
    _train(_loop(table.head(WARM_UP_ROWS)))
    return _timed(table)


def large(data_folder: Path) -> Outcome:
    """Train one epoch with a table of a million rows; a first epoch does not count."""
    table = load_for_torch(data_folder)
    loop = _loop(table, epochs=2)
    epochs = loop.epochs()
    next(epochs)
    start = time.process_time()
    next(epochs)
    cpu_s = time.process_time() - start
    return Outcome(cpu_s, table.n_rows, final_loss(_Shifted(loop.model), table))


def loader(data_folder: Path) -> Outcome:
    """Bring every row by slices of a permutation, as the loop does."""
    split = _split(load_for_torch(data_folder))

    def take(passes: int) -> None:
        for _ in range(passes):
            for rows in torch.randperm(split.n_rows).split(BATCH_ROWS):
                _ = split.x_cat[rows], split.x_num[rows], split.y[rows]

    take(1)
    start = time.process_time()
    take(_LOADER_PASSES)
    return Outcome(time.process_time() - start, split.n_rows * _LOADER_PASSES)


def stream(data_folder: Path) -> Outcome:
    """Bring every row of `rows.parquet` once in batches, in random order."""
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    start = time.process_time()
    split = _split(_read(data_folder / "rows.parquet", ()))
    for rows in torch.randperm(split.n_rows).split(BATCH_ROWS):
        _ = split.x_cat[rows], split.x_num[rows], split.y[rows]
    return Outcome(time.process_time() - start, split.n_rows)


def stream_training(data_folder: Path) -> Outcome:
    """Train one epoch on `rows.parquet`."""
    table = load_for_torch(data_folder)
    pa.set_cpu_count(1)
    _train(_loop(table.head(WARM_UP_ROWS)))
    start = time.process_time()
    streamed = _read(data_folder / "rows.parquet", table.cardinalities)
    loop = _loop(streamed)
    _train(loop)
    cpu_s = time.process_time() - start
    return Outcome(cpu_s, streamed.n_rows, final_loss(_Shifted(loop.model), table))


class _Shifted(nn.Module):
    """The model for codes that count from 0; ours leave room for null and unseen."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, x_cat: torch.Tensor, x_num: torch.Tensor) -> torch.Tensor:
        return self._model(x_cat + N_RESERVED, x_num)


def _timed(table: Table) -> Outcome:
    loop = _loop(table)
    start = time.process_time()
    _train(loop)
    cpu_s = time.process_time() - start
    return Outcome(cpu_s, table.n_rows * table.epochs, final_loss(_Shifted(loop.model), table))


def _train(loop: TrainingLoop) -> None:
    for _ in loop.epochs():
        pass


def _loop(table: Table, *, epochs: int | None = None) -> TrainingLoop:
    model = EmbeddingMLP(
        [n + N_RESERVED for n in table.cardinalities],
        n_numeric=N_NUMBERS,
        d_out=N_CLASSES,
        d_hidden=D_HIDDEN,
        dropout=DROPOUT,
        dropout_embedding=DROPOUT,
    )
    settings = {
        "epochs": epochs or table.epochs,
        "batch_size": BATCH_ROWS,
        "optimizer": {"kind": "adam", "learning_rate": LEARNING_RATE},
        "device": "cpu",
    }
    return TrainingLoop(
        model,
        _split(table),
        _split(table.head(_VAL_ROWS)),
        task="multiclass",
        primary="accuracy",
        training=TrainingSettings.model_validate(settings),
        n_classes=N_CLASSES,
    )


def _split(table: Table) -> TensorSplit:
    x_cat, x_num, y = tensors(table)
    return TensorSplit((x_cat + N_RESERVED).to(torch.int32), x_num, y)


def _read(path: Path, cardinalities: tuple[int, ...]) -> Table:
    rows = pq.read_table(path, use_threads=False)
    x_cat = np.stack([rows[name].to_numpy() for name in CATEGORIES], axis=1)
    x_num = np.stack([rows[name].to_numpy() for name in NUMBERS], axis=1)
    return Table(x_cat, x_num, rows["y"].to_numpy().astype(np.int64), cardinalities, 1)


if __name__ == "__main__":
    run_contestant({f.__name__: f for f in (small, large, loader, stream, stream_training)})
