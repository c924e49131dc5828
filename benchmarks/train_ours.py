"""Evergreen's side of the training benchmark: the same table, network and steps as the rivals'."""

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
from pipeline_lib.config.columns import Column, HashColumn, NumberColumn
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.encoding import N_RESERVED, ClassTarget, Encoder
from pipeline_lib.encoding.tensors import ROW_GROUP_ROWS, SplitWriter
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.training.batches import batch_bounds
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.rows import StreamedSplit, TensorSplit

_VAL_ROWS = 256
_LOADER_PASSES = 20
_ENCODED = "ours.parquet"


def write(data_folder: Path) -> Outcome:
    """Write `rows.parquet` as encoded splits are, by the product, for `stream` to read.

    A process of its own: what writing takes is no part of what reading takes.
    """
    start, n_rows = time.process_time(), 0
    target = ClassTarget("y", tuple(str(number) for number in range(N_CLASSES)))
    with (
        pq.ParquetFile(data_folder / "rows.parquet") as source,
        SplitWriter(data_folder / _ENCODED, _encoder(), target) as writer,
    ):
        for batch in source.iter_batches(ROW_GROUP_ROWS):
            codes = [batch.column(n).to_numpy().astype(np.int32) + N_RESERVED for n in CATEGORIES]
            numbers = [batch.column(n).to_numpy() for n in NUMBERS]
            writer.write([*codes, *numbers, batch.column("y").to_numpy()])
            n_rows += batch.num_rows
    return Outcome(time.process_time() - start, n_rows)


def small(data_folder: Path) -> Outcome:
    """Train all epochs on small tables, after a short training that does not count."""
    table = load_for_torch(data_folder)
    _train(_loop(table.head(WARM_UP_ROWS)))
    return _timed(table)


def small_bf16(data_folder: Path) -> Outcome:
    """Train as `small` does, with activations in bfloat16."""
    table = load_for_torch(data_folder)
    _train(_loop(table.head(WARM_UP_ROWS), precision="bf16"))
    return _timed(table, precision="bf16")


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
            for _batch in split.batches(batch_bounds(split.n_rows, BATCH_ROWS), seed=passes):
                pass

    take(1)
    start = time.process_time()
    take(_LOADER_PASSES)
    return Outcome(time.process_time() - start, split.n_rows * _LOADER_PASSES)


def stream(data_folder: Path) -> Outcome:
    """Bring every row of `rows.parquet` once in batches, in random order."""
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    rows = _streamed(data_folder)
    start = time.process_time()
    for _ in rows.batches(batch_bounds(rows.n_rows, BATCH_ROWS), seed=1):
        pass
    return Outcome(time.process_time() - start, rows.n_rows)


def stream_training(data_folder: Path) -> Outcome:
    """Train one epoch on `rows.parquet`."""
    table = load_for_torch(data_folder)
    pa.set_cpu_count(1)
    _train(_loop(table.head(WARM_UP_ROWS)))
    rows = _streamed(data_folder)
    start = time.process_time()
    loop = _loop(table.head(WARM_UP_ROWS), rows=rows, epochs=1)
    _train(loop)
    cpu_s = time.process_time() - start
    return Outcome(cpu_s, rows.n_rows, final_loss(_Shifted(loop.model), table))


def _streamed(data_folder: Path) -> StreamedSplit:
    return StreamedSplit(data_folder / _ENCODED, _encoder(), torch.device("cpu"))


def _encoder() -> Encoder:
    """Return an encoder as wide as the table; its codes are not asked for."""
    columns: dict[str, Column] = {name: HashColumn(n_buckets=2**20) for name in CATEGORIES}
    columns |= {name: NumberColumn(nullable=False) for name in NUMBERS}
    sample = pa.table({**{n: ["a", "b"] for n in CATEGORIES}, **{n: [0.0, 1.0] for n in NUMBERS}})
    return Encoder.fit(sample, columns, today="2026-01-01")


class _Shifted(nn.Module):
    """The model for codes that count from 0; ours leave room for null and unseen."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, x_cat: torch.Tensor, x_num: torch.Tensor) -> torch.Tensor:
        return self._model(x_cat + N_RESERVED, x_num)


def _timed(table: Table, **training: str) -> Outcome:
    loop = _loop(table, **training)
    start = time.process_time()
    _train(loop)
    cpu_s = time.process_time() - start
    return Outcome(cpu_s, table.n_rows * table.epochs, final_loss(_Shifted(loop.model), table))


def _train(loop: TrainingLoop) -> None:
    for _ in loop.epochs():
        pass


def _loop(
    table: Table,
    *,
    epochs: int | None = None,
    rows: StreamedSplit | None = None,
    **training: str,
) -> TrainingLoop:
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
        **training,
    }
    return TrainingLoop(
        model,
        rows or _split(table),
        _split(table.head(_VAL_ROWS)),
        task="multiclass",
        primary="accuracy",
        training=TrainingSettings.model_validate(settings),
        n_classes=N_CLASSES,
    )


def _split(table: Table) -> TensorSplit:
    x_cat, x_num, y = tensors(table)
    return TensorSplit((x_cat + N_RESERVED).to(torch.int32), x_num, y)


if __name__ == "__main__":
    everyone = (write, small, small_bf16, large, loader, stream, stream_training)
    run_contestant({contestant.__name__: contestant for contestant in everyone})
