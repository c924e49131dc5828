"""The textbook's network: embeddings of the categories, then a multilayer perceptron."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline_lib.encoding import N_RESERVED
from pipeline_lib.models.dropout import Dropout


def embedding_width(cardinality: int, d_max: int = 50) -> int:
    """Return the textbook's width, min(d_max, (n_categories + 1) // 2), at least 1.

    The two reserved codes are no categories and do not widen the embedding.

    >>> [embedding_width(cardinality) for cardinality in (2, 5, 6, 2000)]
    [1, 2, 2, 50]
    """
    n_categories = max(cardinality - N_RESERVED, 1)
    return min(d_max, (n_categories + 1) // 2)


class EmbeddingMLP(nn.Module):
    """Embeddings, concatenation, dropout, blocks of Linear–ReLU–BatchNorm–Dropout, linear head.

    Shape:
        x_cat: ``(n_rows, n_category_columns)`` int32 or int64 codes;
        x_num: ``(n_rows, n_numeric)`` float32;
        output: logits ``(n_rows, d_out)``.

    Args:
        cardinalities: codes per category column, reserved ones included.
        n_numeric: width of `x_num`.
        d_out: number of logits.
        d_hidden: width of each block.
        d_embedding_max: widest embedding.
        dropout: p after each block.
        dropout_embedding: p on the concatenated embeddings.
        d_embeddings: width of each embedding, where `embedding_width` does not decide.

    Source: Guo & Berkhahn 2016, arXiv:1604.06737 (entity embeddings).
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        *,
        n_numeric: int,
        d_out: int,
        d_hidden: Sequence[int] = (200, 100, 50),
        d_embedding_max: int = 50,
        dropout: float = 0.4,
        dropout_embedding: float = 0.4,
        d_embeddings: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        widths = d_embeddings or [embedding_width(n, d_embedding_max) for n in cardinalities]
        self.embeddings = nn.ModuleList(
            nn.Embedding(n, width) for n, width in zip(cardinalities, widths, strict=True)
        )
        self.dropout_embedding = Dropout(dropout_embedding, inplace=True, n_spared=n_numeric)
        d_in = sum(widths) + n_numeric
        blocks: list[nn.Module] = []
        for d_block in d_hidden:
            blocks += [
                nn.Linear(d_in, d_block),
                nn.ReLU(inplace=True),
                nn.BatchNorm1d(d_block),
                Dropout(dropout, inplace=True),
            ]
            d_in = d_block
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(d_in, d_out)

    @property
    def tables(self) -> list[nn.Embedding]:
        """The embedding of each category column."""
        return [module for module in self.embeddings if isinstance(module, nn.Embedding)]

    @property
    def d_embeddings(self) -> tuple[int, ...]:
        """The width of each embedding."""
        return tuple(table.embedding_dim for table in self.tables)

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        """Return logits."""
        codes = x_cat.t().contiguous()  # once, or each lookup copies its column
        parts = [embed(codes[position]) for position, embed in enumerate(self.embeddings)]
        x = x_num
        if parts:  # one concatenation: numbers pass through the dropout unchanged
            x = self.dropout_embedding(torch.cat([*parts, x_num], dim=1))
        return self.head(self.blocks(x))

    @torch.no_grad()
    def fill_untrained(self, counts: Sequence[Tensor]) -> None:
        """Give every code that no training row holds the mean vector of those rows.

        An embedding that no gradient reached is noise; the mean makes an unseen or missing
        category count as an average one.

        Args:
            counts: training rows per code, for each column of `x_cat`; shape ``(cardinality,)``.
        """
        for table, held in zip(self.tables, counts, strict=True):
            weight = table.weight
            n_rows = held.to(weight)
            weight[n_rows == 0] = (n_rows @ weight) / n_rows.sum()
