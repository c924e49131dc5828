"""Layers of several members that share most of their weights.

Source: Gorishniy et al. 2025, arXiv:2410.24210 (TabM); Wen et al. 2020, arXiv:2002.06715
(BatchEnsemble).
"""

import math

import torch
from torch import Tensor, nn


class SharedLinear(nn.Module):
    """One weight matrix for all members; each has its own scale of the inputs, and its own bias.

    Args:
        n_members: how many there are.
        d_in: width of the input.
        d_out: width of the output.

    Shape:
        x: ``(n_rows, n_members, d_in)``, or ``(n_rows, 1, d_in)`` where all see the same;
        output: ``(n_rows, n_members, d_out)``.
    """

    def __init__(self, n_members: int, d_in: int, d_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(d_in, d_out, bias=False)
        self.scale = nn.Parameter(torch.ones(n_members, d_in))
        bound = 1 / math.sqrt(max(d_in, 1))
        self.bias = nn.Parameter(torch.empty(n_members, d_out).uniform_(-bound, bound))

    @torch.no_grad()
    def draw_signs(self) -> None:
        """Let scales begin as random signs, as those of a first layer do for members to differ."""
        if len(self.scale) > 1:
            self.scale.bernoulli_(0.5).mul_(2).sub_(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the members' outputs."""
        scaled = x * self.scale
        flat = self.linear(scaled.flatten(0, 1))
        return flat.view(*scaled.shape[:2], self.bias.shape[1]) + self.bias


class MemberHeads(nn.Module):
    """A linear map of its own for each member.

    Shape:
        x: ``(n_rows, n_members, d_in)``; output: ``(n_rows, n_members, d_out)``.
    """

    def __init__(self, n_members: int, d_in: int, d_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(d_in)
        self.weight = nn.Parameter(torch.empty(n_members, d_in, d_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_members, d_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return the members' outputs."""
        return torch.einsum("nmi,mio->nmo", x, self.weight) + self.bias
