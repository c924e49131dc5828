"""Numbers become floats around zero, by parameters that only training rows have set."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_EPSILON = float(np.finfo(np.float64).eps)
# Farther than this from the mean a number says no more; a network stays finite with it.
_MAX_DEVIATIONS = 1e6


@dataclass(frozen=True)
class Standardizer:
    """(value − mean) / deviation within ±1e6; missing is 0, with an indicator if `nullable`."""

    column: str
    mean: float
    deviation: float
    nullable: bool

    @classmethod
    def fit(cls, column: str, values: pa.ChunkedArray, *, nullable: bool) -> "Standardizer":
        """Take mean and population deviation of training rows; a constant gets deviation 1."""
        mean: float = pc.mean(values).as_py() or 0.0
        deviation: float = pc.stddev(values, ddof=0).as_py() or 0.0
        if not (math.isfinite(mean) and math.isfinite(deviation)):
            mean, deviation = 0.0, 1.0
        # What rounding alone makes of a constant; the bound is scikit-learn's.
        noise = len(values) * _EPSILON
        if deviation**2 <= noise * deviation**2 + (noise * mean) ** 2:
            deviation = 1.0
        return cls(column, mean=mean, deviation=deviation, nullable=nullable)

    @property
    def width(self) -> int:
        """The number of inputs this column gives the network: 1, or 2 with the indicator."""
        return 2 if self.nullable else 1

    def encode(self, values: pa.ChunkedArray) -> npt.NDArray[np.float32]:
        """Return standardized values and, if nullable, 1.0 where one is missing.

        Args:
            values: of type float64, length ``n_rows``.

        Returns:
            Shape ``(n_rows, width)``.
        """
        numbers = values.fill_null(self.mean).to_numpy().astype(np.float64)
        scaled = ((numbers - self.mean) / self.deviation).clip(-_MAX_DEVIATIONS, _MAX_DEVIATIONS)
        scaled = scaled.astype(np.float32)
        if not self.nullable:
            return scaled[:, None]
        missing = pc.is_null(values).to_numpy().astype(np.float32)
        return np.stack([scaled, missing], axis=1)
