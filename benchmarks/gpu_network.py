"""The network of the GPU benchmark: `pipeline_lib.models.EmbeddingMLP`, which needs torch alone.

Importing `pipeline_lib.models` brings pydantic, which a machine with a GPU may not have. A test
holds the copy to the original: the same parameters, the same logits, the same order of draws. The
one addition is `sparse_from`: tables at least so long give sparse gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

N_RESERVED = 2
SPARSE_FROM = 10_000
_SMALL = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5115)


@dataclass(frozen=True)
class Shape:
    """What decides the network: cardinality of each code column, numbers, classes, widths."""

    cardinalities: tuple[int, ...] = _SMALL
    n_numeric: int = 5
    n_classes: int = 4
    d_hidden: tuple[int, ...] = (200, 100, 50)

    @classmethod
    def of(cls, table: str, *, quick: bool = False) -> "Shape":
        """Return the "small" shape, 9,000 embedding rows, or the "large" with a million more.

        Args:
            table: "small" or "large".
            quick: make the long table one of 20,000 rows, for a look on a CPU.
        """
        small = cls()
        if table == "small":
            return small
        longest = 20_000 if quick else 1_000_000
        return replace(small, cardinalities=(*small.cardinalities[:-1], longest))

    @property
    def d_embeddings(self) -> tuple[int, ...]:
        """The width of each embedding."""
        return tuple(embedding_width(n) for n in self.cardinalities)

    @property
    def d_in(self) -> int:
        """The width of the first layer's input."""
        return sum(self.d_embeddings) + self.n_numeric

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of every linear layer, the head last."""
        widths = (self.d_in, *self.d_hidden, self.n_classes)
        return list(pairwise(widths))


def embedding_width(cardinality: int) -> int:
    """Return min(50, (n_categories + 1) // 2), at least 1; reserved codes are no categories.

    >>> [embedding_width(cardinality) for cardinality in (2, 5, 6, 2000)]
    [1, 2, 2, 50]
    """
    return min(50, (max(cardinality - N_RESERVED, 1) + 1) // 2)


class EmbeddingMLP(nn.Module):
    """Embeddings, concatenation, dropout, blocks of Linear–ReLU–BatchNorm–Dropout, linear head.

    Shape:
        x_cat: ``(n_rows, n_category_columns)`` int32; x_num: ``(n_rows, n_numeric)`` floats;
        output: logits ``(n_rows, n_classes)``.
    """

    def __init__(self, shape: Shape, *, dropout: float, sparse_from: int | None = None) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(
            nn.Embedding(n, width, sparse=sparse_from is not None and n >= sparse_from)
            for n, width in zip(shape.cardinalities, shape.d_embeddings, strict=True)
        )
        self.dropout_embedding = nn.Dropout(dropout)
        blocks: list[nn.Module] = []
        for d_in, d_out in shape.layers[:-1]:
            blocks += [
                nn.Linear(d_in, d_out),
                nn.ReLU(),
                nn.BatchNorm1d(d_out),
                nn.Dropout(dropout),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(*shape.layers[-1])

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        """Return logits."""
        parts = [embed(x_cat[:, position]) for position, embed in enumerate(self.embeddings)]
        x = torch.cat([self.dropout_embedding(torch.cat(parts, dim=1)), x_num], dim=1)
        return self.head(self.blocks(x))

    def sparse_weights(self) -> Sequence[nn.Parameter]:
        """Return the weights whose gradients are sparse."""
        return [table.weight for table in self.embeddings if table.sparse]
