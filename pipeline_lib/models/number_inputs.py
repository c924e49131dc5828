"""Numbers as a network sees them: centered, bent, in bins, in waves; learned from training rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline_lib.models.estimator import BatchSource
from pipeline_lib.models.number_bins import PiecewiseLinear, borders_of
from pipeline_lib.models.periodic import Periodic

# Quantiles of more rows than this differ by less than noise; of wide tables it is fewer rows.
_SAMPLE_ROWS = 100_000
_SAMPLE_CELLS = 20_000_000
_BATCH_ROWS = 65_536
# Scaled numbers are bent smoothly so that none is beyond this.
_LARGEST = 3.0
# Before that, extreme ones stay finite.
_MOST = 1e30


@dataclass(frozen=True)
class TrainingNumbers:
    """What training rows say of numbers.

    `sample` is `x_num` of rows at equal distances, shape ``(n_sampled, n_numeric)``; `lowest` and
    `highest` are those of the target.
    """

    sample: npt.NDArray[np.float32]
    lowest: float
    highest: float

    @classmethod
    def of(cls, rows: BatchSource, n_numeric: int) -> "TrainingNumbers":
        """Read all rows once; what is kept is bounded, and the same wherever they lie."""
        n_kept = max(1, min(_SAMPLE_ROWS, _SAMPLE_CELLS // max(n_numeric, 1)))
        stride, offset = -(-rows.n_rows // n_kept), 0
        parts, extremes = list[npt.NDArray[np.float32]](), list[tuple[float, float]]()
        for batch in rows.in_order(_BATCH_ROWS):
            # A copy: a batch that is gone does not stay in memory for the few rows kept of it.
            parts.append(batch.x_num[-offset % stride :: stride].cpu().numpy().copy())
            extremes.append((float(batch.y.min()), float(batch.y.max())))
            offset += len(batch.x_num)
        lowest, highest = min(low for low, _ in extremes), max(high for _, high in extremes)
        return cls(np.concatenate(parts), lowest, highest)

    def borders(self, n_bins: int) -> list[npt.NDArray[np.float64]]:
        """Return the borders of each column's bins, see `borders_of`."""
        return [borders_of(column, n_bins) for column in self.sample.T]


class NumberInputs(nn.Module):
    """Each number itself, how far it is through each of its bins, and its waves.

    The number is centered by the median, divided by the interquartile range, and bent:
    ``x / sqrt(1 + (x / 3)²)``. One that is constant in the training rows stays at 0 whatever comes.

    Args:
        n_borders: borders of the bins of each column.
        n_frequencies: waves of each column; 0 for none.
        frequency_deviation: of the waves' first frequencies.

    Shape:
        x_num: ``(n_rows, n_columns)`` float32; output: ``(n_rows, width)``.
    """

    def __init__(
        self, n_borders: Sequence[int], n_frequencies: int, frequency_deviation: float
    ) -> None:
        super().__init__()
        n_columns = len(n_borders)
        self.center: Tensor
        self.factor: Tensor
        self.register_buffer("center", torch.zeros(n_columns))
        self.register_buffer("factor", torch.ones(n_columns))
        self.bins = PiecewiseLinear(n_borders)
        self.periodic = Periodic(n_columns, n_frequencies, frequency_deviation)
        self.width = n_columns + self.bins.width + self.periodic.width

    @torch.no_grad()
    def begin(self, numbers: TrainingNumbers, n_bins: int) -> None:
        """Take centers, ranges and borders from training rows."""
        columns = numbers.sample.T.astype(np.float64)
        if not len(columns):
            return
        for position, column in enumerate(columns):
            lower, center, upper = np.quantile(column, (0.25, 0.5, 0.75))
            spread = float(upper - lower or column.std())
            self.center[position] = center
            self.factor[position] = min(1 / spread, _MOST) if spread > 0 else 0.0
        self.bins.set_borders(numbers.borders(n_bins))

    def forward(self, x_num: Tensor) -> list[Tensor]:
        """Return the parts of the output."""
        scaled = ((x_num - self.center) * self.factor).clamp(-_MOST, _MOST)
        bent = scaled / torch.hypot(torch.ones_like(scaled), scaled / _LARGEST)
        return [bent, self.bins(x_num), self.periodic(bent)]
