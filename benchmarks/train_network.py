"""The network and the rows of the training benchmark as torch has them; needs numpy and torch."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.train_table import (
    D_HIDDEN,
    DROPOUT,
    LOSS_ROWS,
    N_CLASSES,
    N_NUMBERS,
    Table,
    embedding_width,
    log_loss,
)


class Network(nn.Module):
    """Embeddings and their dropout, blocks of Linear–ReLU–BatchNorm–Dropout, a linear head.

    Shape:
        x_cat: ``(n_rows, 10)`` int64;
        x_num: ``(n_rows, 5)`` float32;
        output: logits ``(n_rows, 5)``.
    """

    def __init__(self, cardinalities: Sequence[int], *, n_sparse: int = 0) -> None:
        """Build it; the first `n_sparse` embeddings give sparse gradients."""
        super().__init__()
        widths = [embedding_width(n) for n in cardinalities]
        self.embeddings = nn.ModuleList(
            nn.Embedding(n, width, sparse=position < n_sparse)
            for position, (n, width) in enumerate(zip(cardinalities, widths, strict=True))
        )
        self.embedding_dropout = nn.Dropout(DROPOUT)
        layers: list[nn.Module] = []
        d_in = sum(widths) + N_NUMBERS
        for d_hidden in D_HIDDEN:
            layers += [nn.Linear(d_in, d_hidden), nn.ReLU()]
            layers += [nn.BatchNorm1d(d_hidden), nn.Dropout(DROPOUT)]
            d_in = d_hidden
        self.layers = nn.Sequential(*layers, nn.Linear(d_in, N_CLASSES))

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        """Return logits."""
        parts = [embed(x_cat[:, i]) for i, embed in enumerate(self.embeddings)]
        embedded = self.embedding_dropout(torch.cat(parts, dim=1))
        return self.layers(torch.cat([embedded, x_num], dim=1))


def tensors(table: Table) -> tuple[Tensor, Tensor, Tensor]:
    """Return codes, numbers and classes."""
    return torch.from_numpy(table.x_cat), torch.from_numpy(table.x_num), torch.from_numpy(table.y)


@torch.no_grad()
def final_loss(network: nn.Module, table: Table) -> float:
    """Return the loss on the first training rows, dropout off."""
    first = table.head(LOSS_ROWS)
    x_cat, x_num, y = tensors(first)
    network.eval()
    return log_loss(functional.softmax(network(x_cat, x_num), dim=1).numpy(), y.numpy())


def load_for_torch(folder: Path) -> Table:
    """Read a table; leave torch one thread and a seed."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Table.load(folder)
