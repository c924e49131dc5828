"""Loops of the training benchmark that need torch alone, each in a process of its own.

`floor`, `textbook` and the three optimizers train; see `train_feeding` for who only brings rows,
`peers` for who needs an environment of its own and `train_ours` for Evergreen.
"""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, SparseAdam
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.train_network import Network, final_loss, load_for_torch, tensors
from benchmarks.train_table import (
    BATCH_ROWS,
    D_HIDDEN,
    LEARNING_RATE,
    N_CLASSES,
    N_NUMBERS,
    WARM_UP_ROWS,
    Outcome,
    Table,
    embedding_width,
    run_contestant,
)

_Batch = tuple[Tensor, Tensor, Tensor]


def floor(folder: Path) -> Outcome:
    """Multiply the matrices of the Linear layers, forward and backward, and do nothing else."""
    table = load_for_torch(folder)
    d_in = sum(embedding_width(n) for n in table.cardinalities) + N_NUMBERS
    widths = [d_in, *D_HIDDEN, N_CLASSES]
    layers = [
        (torch.randn(BATCH_ROWS, d_in), torch.randn(d_in, d_out), torch.randn(BATCH_ROWS, d_out))
        for d_in, d_out in itertools.pairwise(widths)
    ]
    n_steps = table.n_rows // BATCH_ROWS * table.epochs

    def multiply(times: int) -> None:
        for _ in range(times):
            for x, w, grad in layers:
                x @ w
                grad @ w.T
                x.T @ grad

    multiply(20)
    start = time.process_time()
    multiply(n_steps)
    return Outcome(time.process_time() - start, n_steps * BATCH_ROWS)


def textbook(folder: Path) -> Outcome:
    """Train as a textbook does: DataLoader over a TensorDataset, `loss.item()` at each step."""
    table = load_for_torch(folder)

    def train(part: Table) -> Network:
        network = Network(part.cardinalities)
        loader = DataLoader(TensorDataset(*tensors(part)), batch_size=BATCH_ROWS, shuffle=True)
        optimizer = Adam(network.parameters(), lr=LEARNING_RATE)
        loss_of = nn.CrossEntropyLoss()
        for _ in range(part.epochs):
            running_loss = 0.0
            for x_cat, x_num, y in loader:
                optimizer.zero_grad()
                loss = loss_of(network(x_cat, x_num), y)
                loss.backward()
                optimizer.step()
                running_loss += loss.item()
        return network

    train(table.head(WARM_UP_ROWS))
    start = time.process_time()
    network = train(table)
    cpu_s = time.process_time() - start
    return Outcome(cpu_s, table.n_rows * table.epochs, final_loss(network, table))


def default_adam(folder: Path) -> Outcome:
    """Train by slices of a permutation, with Adam as `torch.optim.Adam` gives it."""
    table = load_for_torch(folder)
    network = Network(table.cardinalities)
    return _train_by_slices(table, network, [Adam(network.parameters(), lr=LEARNING_RATE)])


def fused_dense_adam(folder: Path) -> Outcome:
    """Do the same with Adam's fused kernel."""
    table = load_for_torch(folder)
    network = Network(table.cardinalities)
    adam = Adam(network.parameters(), lr=LEARNING_RATE, fused=True)
    return _train_by_slices(table, network, [adam])


def sparse(folder: Path) -> Outcome:
    """Do the same with sparse gradients and SparseAdam for the first embedding."""
    table = load_for_torch(folder)
    network = Network(table.cardinalities, n_sparse=1)
    (first, *rest) = network.parameters()
    optimizers: list[Optimizer] = [
        SparseAdam([first], lr=LEARNING_RATE),
        Adam(rest, lr=LEARNING_RATE, fused=True),
    ]
    return _train_by_slices(table, network, optimizers)


def _train_by_slices(table: Table, network: Network, optimizers: list[Optimizer]) -> Outcome:
    """Train an epoch that does not count, in which optimizers make their state, and one more."""
    loss_of = nn.CrossEntropyLoss()

    def step(batch: _Batch) -> None:
        x_cat, x_num, y = batch
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss_of(network(x_cat, x_num), y).backward()
        for optimizer in optimizers:
            optimizer.step()

    for batch in _slices(table):
        step(batch)
    start = time.process_time()
    for batch in _slices(table):
        step(batch)
    cpu_s = time.process_time() - start
    return Outcome(cpu_s, table.n_rows, final_loss(network, table))


def _slices(table: Table) -> Iterator[_Batch]:
    x_cat, x_num, y = tensors(table)
    for rows in torch.randperm(table.n_rows).split(BATCH_ROWS):
        yield x_cat.index_select(0, rows), x_num.index_select(0, rows), y.index_select(0, rows)


if __name__ == "__main__":
    run_contestant(
        {f.__name__: f for f in (floor, textbook, default_adam, fused_dense_adam, sparse)}
    )
