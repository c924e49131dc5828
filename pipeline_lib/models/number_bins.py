"""Piecewise-linear encoding of numbers: how far a number is through each of its column's bins."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

# Of a bin: its inverse is still a float32.
_LEAST_WIDTH = 1e-30


class PiecewiseLinear(nn.Module):
    """Encode each number by the bins of its column.

    Bin t of x is ``clip((x - border_t) / (border_{t+1} - border_t), 0, 1)``: 1 for bins below x, 0
    above, a share in its own. A column with one bin, or none, has no columns in the output.

    Args:
        n_borders: borders of each column; 0 where it is not encoded.

    Shape:
        x: ``(n_rows, n_columns)``; output: ``(n_rows, width)``.

    Source: Gorishniy et al. 2022, arXiv:2203.05556 (embeddings for numerical features).
    """

    def __init__(self, n_borders: Sequence[int]) -> None:
        super().__init__()
        self.n_borders = tuple(n_borders)
        self.width = sum(max(n - 1, 0) for n in n_borders)
        self.starts: Tensor
        self.factors: Tensor
        self.register_buffer("starts", torch.empty(self.width))
        self.register_buffer("factors", torch.empty(self.width))
        columns = [column for column, n in enumerate(n_borders) for _ in range(max(n - 1, 0))]
        # A buffer: made anew at each step it would be copied to a GPU each time.
        self.columns: Tensor
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64))

    def set_borders(self, borders: Sequence[npt.NDArray[np.float64]]) -> None:
        """Take the borders of each column, ascending; shapes as `n_borders` says."""
        kept = [border for border in borders if len(border) > 1]
        if not kept:
            return
        starts = np.concatenate([border[:-1] for border in kept])
        widths = np.concatenate([np.diff(border) for border in kept])
        factors = 1 / np.maximum(widths, _LEAST_WIDTH)
        self.starts.copy_(torch.from_numpy(starts))
        self.factors.copy_(torch.from_numpy(factors))

    def forward(self, x: Tensor) -> Tensor:
        """Return the shares of bins."""
        spread = x.index_select(1, self.columns)
        return ((spread - self.starts) * self.factors).clamp_(0.0, 1.0)


def borders_of(values: npt.NDArray[np.float32], n_bins: int) -> npt.NDArray[np.float64]:
    """Return ascending borders of at most `n_bins` bins; none for fewer than three values.

    They are quantiles of the rows. Where one value stands in many rows some of them coincide: then
    quantiles of the different values fill the gap.
    """
    different = np.unique(values.astype(np.float64))
    if len(different) < 3 or n_bins < 2:
        return np.empty(0)
    levels = np.linspace(0, 1, n_bins + 1)
    borders = np.unique(np.quantile(values.astype(np.float64), levels))
    missing = n_bins + 1 - len(borders)
    if missing > 0:
        more = np.quantile(different, np.linspace(0, 1, missing + 2)[1:-1])
        borders = np.unique(np.concatenate([borders, more]))
    # Two borders next to each other would make a step of a slope.
    least = (borders[-1] - borders[0]) * 1e-6
    return borders[np.concatenate([[True], np.diff(borders) > least])]
