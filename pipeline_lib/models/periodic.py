"""Periodic encoding of numbers: cosines of learned frequencies, mixed within each column."""

import math

import torch
from torch import Tensor, nn

# Outputs of a column, beside the number itself.
_WIDTH = 3


class Periodic(nn.Module):
    """Give each number's column a few linear maps of cosines of learned frequencies and phases.

    Args:
        n_columns: how many there are.
        n_frequencies: cosines of a column; 0 for no output.
        deviation: of first frequencies, in periods per unit.

    Shape:
        x: ``(n_rows, n_columns)``; output: ``(n_rows, width)``.

    Source: Gorishniy et al. 2022, arXiv:2203.05556; the form with phases and the number beside it
    is Holzmüller et al. 2024, arXiv:2407.04491 (PBLD in RealMLP).
    """

    def __init__(self, n_columns: int, n_frequencies: int, deviation: float) -> None:
        super().__init__()
        self.width = n_columns * _WIDTH if n_frequencies else 0
        n = n_columns if n_frequencies else 0
        bound = 1 / math.sqrt(max(n_frequencies, 1))
        self.frequencies = nn.Parameter(torch.empty(n, n_frequencies).normal_(std=deviation))
        self.phases = nn.Parameter(torch.empty(n, n_frequencies).uniform_(-math.pi, math.pi))
        self.weight = nn.Parameter(torch.empty(n, n_frequencies, _WIDTH).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n, _WIDTH).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps of cosines."""
        if not self.width:
            return x[:, :0]
        waves = torch.cos(2 * math.pi * self.frequencies * x.unsqueeze(2) + self.phases)
        return (torch.einsum("ncf,cfd->ncd", waves, self.weight) + self.bias).flatten(1)
