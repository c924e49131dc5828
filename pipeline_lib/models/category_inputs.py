"""Codes as the numbers that a network sees: few categories one-hot, many by embeddings."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline_lib.encoding.vocabulary import N_RESERVED, UNSEEN

# Standard deviation of fresh embeddings: at 1, torch's own, they outweigh scaled numbers.
_EMBEDDING_DEVIATION = 0.1
_N_BINARY = N_RESERVED + 2


class CategoryInputs(nn.Module):
    """One-hot columns where categories are few, embeddings where they are many.

    The unseen code is all zeros in one-hot columns. Two categories are one column of -1 and 1,
    beside the one of the missing code. In training each embedded code is replaced by the unseen
    one with a probability: so its vector learns what an average category is like, and no category
    is relied on alone.

    Args:
        cardinalities: codes of each column, reserved ones included.
        one_hot_max: most categories of a one-hot column.
        d_embedding: width of an embedding.
        p_unseen: probability of the replacement.

    Shape:
        x_cat: ``(n_rows, n_columns)`` int32 or int64 codes; output: ``(n_rows, width)``, the
        one-hot columns first.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        *,
        one_hot_max: int,
        d_embedding: int,
        p_unseen: float,
    ) -> None:
        super().__init__()
        largest = one_hot_max + N_RESERVED
        self.one_hot = tuple(i for i, n in enumerate(cardinalities) if n <= largest)
        self.embedded = tuple(i for i, n in enumerate(cardinalities) if n > largest)
        self._cardinalities, self._p_unseen = tuple(cardinalities), p_unseen
        self.embeddings = nn.ModuleList(
            nn.Embedding(cardinalities[i], d_embedding) for i in self.embedded
        )
        for table in self.tables:
            nn.init.normal_(table.weight, std=_EMBEDDING_DEVIATION)
        self.width = sum(self.width_of(i) for i in self.one_hot) + d_embedding * len(self.embedded)

    @property
    def tables(self) -> list[nn.Embedding]:
        """The embeddings of the columns that have one, in the order of `embedded`."""
        return [module for module in self.embeddings if isinstance(module, nn.Embedding)]

    def width_of(self, column: int) -> int:
        """Return the number of columns that a one-hot column becomes."""
        n_codes = self._cardinalities[column]
        return n_codes - 2 if n_codes == _N_BINARY else n_codes - 1

    @torch.no_grad()
    def begin(self) -> None:
        """Let the vectors of the unseen codes begin at zero."""
        for table in self.tables:
            table.weight[UNSEEN] = 0

    @torch.no_grad()
    def fill_untrained(self, counts: Sequence[Tensor]) -> None:
        """Give embedded codes without a training row the vector of the unseen code.

        Args:
            counts: training rows per code of each column, shape ``(cardinality,)``.
        """
        for column, table in zip(self.embedded, self.tables, strict=True):
            table.weight[counts[column] == 0] = table.weight[UNSEEN].clone()

    def untrained(self, counts: Sequence[Tensor]) -> Tensor:
        """Return which columns of the output were 0 in all training rows, shape ``(width,)``.

        Args:
            counts: as for `fill_untrained`.
        """
        parts: list[Tensor] = []
        for column in self.one_hot:
            none = counts[column][1:] == 0
            if self._cardinalities[column] == _N_BINARY:
                none = torch.stack([none[0], none[1] & none[2]])
            parts.append(none)
        width = self.width - sum(len(part) for part in parts)
        device = counts[0].device if counts else None
        return torch.cat([*parts, torch.zeros(width, dtype=torch.bool, device=device)])

    def forward(self, x_cat: Tensor, dtype: torch.dtype) -> list[Tensor]:
        """Return the parts of the output."""
        codes = x_cat.t().contiguous()  # once, or each lookup copies its column
        parts: list[Tensor] = []
        for column in self.one_hot:
            n_codes = self._cardinalities[column]
            of_column = codes[column].unsqueeze(1)
            hot = (of_column == torch.arange(1, n_codes, device=codes.device)).to(dtype)
            if n_codes == _N_BINARY:
                hot = torch.cat([hot[:, :1], hot[:, 2:] - hot[:, 1:2]], dim=1)
            parts.append(hot)
        kept = self._kept(x_cat)
        for row, (column, table) in enumerate(zip(self.embedded, self.tables, strict=True)):
            # UNSEEN is 0
            parts.append(table(codes[column] if kept is None else codes[column] * kept[row]))
        return parts

    def _kept(self, x_cat: Tensor) -> Tensor | None:
        """Return which embedded codes stay, ``(n_embedded, n_rows)``; None where all do.

        They are drawn by torch's generator, which each training step seeds.
        """
        if not (self.training and self._p_unseen and self.embedded):
            return None
        shape = (len(self.embedded), len(x_cat))
        return torch.rand(shape, device=x_cat.device) >= self._p_unseen
