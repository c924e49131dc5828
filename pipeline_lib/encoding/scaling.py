"""Floats become floats around zero, by parameters that only training rows have set.

A missing number becomes what the scaling's middle becomes: the mean's, or the median's. Where the
column is nullable a last float says 1.0 where one is missing.

Sources: scikit-learn's StandardScaler and QuantileTransformer; Holzmüller, Grinsztajn & Steinwart
2024, "Better by default", arXiv:2407.04491 (robust scaling with a smooth clip).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.encoding.moments import Moments, Scale
from pipeline_lib.encoding.quantile_sketch import Floats, QuantileSketch
from pipeline_lib.storage.json_files import Json

# Beyond, squares of scaled numbers would overflow; the smooth clip has long been reached.
_MAX_SCALED = 1e100
# Nearer to 0 the slope between two quantiles would overflow.
_LEAST_NUMBER = 1e-290
# How near to 0 and 1 a rank may come before it becomes normal; scikit-learn's bound, ±5.2.
_LEAST_SHARE = 1e-7


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
        fitter = StandardFitter(column, nullable=nullable)
        fitter.add(values)
        return fitter.finish()

    @property
    def width(self) -> int:
        """The number of inputs this column gives the network: 1, or 2 with the indicator."""
        return 1 + self.nullable

    def encode(self, values: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float32]:
        """Return standardized values and, if nullable, 1.0 where one is missing.

        Args:
            values: numbers, length ``n_rows``.

        Returns:
            Shape ``(n_rows, width)``.
        """
        scale = Scale(self.mean, self.deviation)
        return _encode(values, scale.apply, nullable=self.nullable)

    def to_json(self) -> dict[str, Json]:
        """Return mean and deviation."""
        return {"mean": self.mean, "deviation": self.deviation}


class StandardFitter:
    """Learns a `Standardizer` from training rows."""

    def __init__(self, column: str, *, nullable: bool) -> None:
        self._column, self._nullable = column, nullable
        self._moments, self._n_rows = Moments(), 0

    def add(self, values: pa.ChunkedArray) -> None:
        """Look at training rows."""
        self._moments.add(known_numbers(values))
        self._n_rows += len(values)

    def finish(self) -> Standardizer:
        """Return what was learned."""
        scale = self._moments.scale(n_rows=self._n_rows)
        return Standardizer(self._column, scale.mean, scale.deviation, self._nullable)


@dataclass(frozen=True)
class RobustScaler:
    """Training median 0, inter-quartile range 1, and x / √(1 + (x / clip)²) of that.

    Where both quartiles are equal, half the range of the training rows stands for theirs, as in
    the paper; a constant keeps its unit, where the paper has 0.
    """

    column: str
    median: float
    spread: float
    clip: float
    nullable: bool

    @property
    def width(self) -> int:
        """The number of floats per row: 1, or 2 with the indicator."""
        return 1 + self.nullable

    def encode(self, values: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float32]:
        """Return scaled values, as `Standardizer.encode` does."""
        return _encode(values, self._scaled, nullable=self.nullable)

    def _scaled(self, numbers: Floats) -> Floats:
        with np.errstate(over="ignore"):
            scaled = numbers - self.median
            scaled /= self.spread
        np.clip(scaled, -_MAX_SCALED, _MAX_SCALED, out=scaled)
        bound = scaled / self.clip
        bound *= bound
        bound += 1.0
        scaled /= np.sqrt(bound, out=bound)
        return scaled

    def to_json(self) -> dict[str, Json]:
        """Return median and spread."""
        return {"median": self.median, "spread": self.spread}


class RobustFitter:
    """Learns a `RobustScaler` from training rows; quantiles as `QuantileSketch` has them."""

    def __init__(self, column: str, *, clip: float, nullable: bool) -> None:
        self._column, self._clip, self._nullable = column, clip, nullable
        self._sketch = QuantileSketch()

    def add(self, values: pa.ChunkedArray) -> None:
        """Look at training rows."""
        self._sketch.add(known_numbers(values))

    def finish(self) -> RobustScaler:
        """Return what was learned."""
        median, spread = 0.0, 1.0
        if self._sketch.n:
            shares = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
            # Halves first: the difference of two extremes need not be finite.
            low, first, middle, third, high = (self._sketch.quantiles(shares) / 2).tolist()
            median = middle * 2
            spread = (third - first) * 2 or (high - low) or 1.0
        return RobustScaler(self._column, median, spread, self._clip, self._nullable)


@dataclass(frozen=True)
class QuantileScaler:
    """The rank among training rows in 0…1, or the normal number that has this rank.

    Between two training quantiles the rank grows linearly; of values that many training rows
    share it is the middle of their ranks, at both ends the end. A constant is in the middle.
    """

    column: str
    quantiles: tuple[float, ...]
    output: Literal["normal", "uniform"]
    nullable: bool

    @property
    def width(self) -> int:
        """The number of floats per row: 1, or 2 with the indicator."""
        return 1 + self.nullable

    @cached_property
    def _curve(self) -> tuple[Floats, Floats, Floats, Floats]:
        quantiles = np.array(self.quantiles)
        shares = np.linspace(0.0, 1.0, len(quantiles))
        return quantiles, shares, -quantiles[::-1], -shares[::-1]

    @cached_property
    def _of_median(self) -> float:
        n, ordered = len(self.quantiles), self.quantiles
        median = ordered[(n - 1) // 2] / 2 + ordered[n // 2] / 2
        return float(self._scaled(np.array([median]))[0])

    def encode(self, values: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float32]:
        """Return scaled values, as `Standardizer.encode` does; missing as the median."""
        return _encode(values, self._scaled, nullable=self.nullable, missing=self._of_median)

    def _scaled(self, numbers: Floats) -> Floats:
        quantiles, shares, mirrored, mirrored_shares = self._curve
        first, last = self.quantiles[0], self.quantiles[-1]
        if first == last:
            ranks = 0.5 + 0.5 * np.sign(numbers - first)
        else:
            ranks = np.interp(numbers, quantiles, shares)
            ranks -= np.interp(-numbers, mirrored, mirrored_shares)
            ranks *= 0.5
            ranks[numbers >= last] = 1.0
            ranks[numbers <= first] = 0.0
        if self.output == "uniform":
            return ranks
        np.clip(ranks, _LEAST_SHARE, 1 - _LEAST_SHARE, out=ranks)
        from scipy.special import ndtri

        return np.asarray(ndtri(ranks), np.float64)

    def to_json(self) -> dict[str, Json]:
        """Return the training quantiles, evenly spaced from minimum to maximum."""
        return {"quantiles": list(self.quantiles)}


class QuantileFitter:
    """Learns a `QuantileScaler` from training rows; quantiles as `QuantileSketch` has them."""

    def __init__(
        self,
        column: str,
        *,
        n_quantiles: int,
        output: Literal["normal", "uniform"],
        nullable: bool,
    ) -> None:
        self._column, self._nullable = column, nullable
        self._n_quantiles: int = n_quantiles
        self._output: Literal["normal", "uniform"] = output
        self._sketch = QuantileSketch()

    def add(self, values: pa.ChunkedArray) -> None:
        """Look at training rows."""
        self._sketch.add(known_numbers(values))

    def finish(self) -> QuantileScaler:
        """Return what was learned."""
        quantiles = np.zeros(1)
        if self._sketch.n:
            n_quantiles = min(self._n_quantiles, self._sketch.n)
            quantiles = self._sketch.quantiles(np.linspace(0.0, 1.0, n_quantiles))
        quantiles[np.abs(quantiles) < _LEAST_NUMBER] = 0.0
        return QuantileScaler(self._column, tuple(quantiles.tolist()), self._output, self._nullable)


def known_numbers(values: pa.ChunkedArray | pa.Array) -> Floats:
    """Return the numbers that are not missing, as float64."""
    numbers = _numbers(values)
    missing = np.isnan(numbers)
    return numbers[~missing] if missing.any() else numbers


def _numbers(values: pa.ChunkedArray | pa.Array) -> Floats:
    """Return numbers as float64, NaN where one is missing; not to be written to."""
    if len(values) == 1:  # one row at prediction: what is quick for many is slow for one
        value: float | None = values[0].as_py()
        return np.array([np.nan if value is None else value], np.float64)
    if not pa.types.is_float64(values.type):
        values = values.cast(pa.float64(), safe=False)
    return values.to_numpy(zero_copy_only=False)


def _encode(
    values: pa.ChunkedArray | pa.Array,
    scaled: Callable[[Floats], Floats],
    *,
    nullable: bool,
    missing: float = 0.0,
) -> npt.NDArray[np.float32]:
    numbers = _numbers(values)
    encoded = np.empty((len(numbers), 1 + nullable), np.float32, order="F")
    encoded[:, 0] = scaled(numbers)
    is_missing = np.isnan(numbers)
    if is_missing.any():
        encoded[is_missing, 0] = missing
    if nullable:
        encoded[:, 1] = is_missing
    return encoded
