"""Mean and deviation of training rows that come in batches, and the scale they make.

Source: Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance".
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline_lib.storage.json_files import Json

_EPSILON = float(np.finfo(np.float64).eps)
_BLOCK = 65_536
# Farther than this from the mean a number says no more; a network stays finite with it.
_MAX_DEVIATIONS = 1e6


@dataclass(frozen=True)
class Scale:
    """(value − mean) / deviation within ±1e6."""

    mean: float = 0.0
    deviation: float = 1.0

    def apply(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return scaled numbers, same shape; NaN stays NaN."""
        with np.errstate(over="ignore"):
            scaled = numbers - self.mean
            scaled /= self.deviation
        return np.clip(scaled, -_MAX_DEVIATIONS, _MAX_DEVIATIONS, out=scaled)

    def to_json(self) -> dict[str, Json]:
        """Return mean and deviation."""
        return {"mean": self.mean, "deviation": self.deviation}


class Moments:
    """Mean and population deviation of numbers; where a batch ends does not count, to the bit."""

    def __init__(self) -> None:
        self._n, self._mean, self._squares = 0, 0.0, 0.0
        self._waiting: list[npt.NDArray[np.float64]] = []
        self._n_waiting = 0

    def add(self, numbers: npt.NDArray[np.float64]) -> None:
        """Take numbers in, without NaN."""
        self._waiting.append(numbers)
        self._n_waiting += len(numbers)
        if self._n_waiting < _BLOCK:
            return
        # Blocks of one size make sums round the same way, however the numbers came.
        whole = np.concatenate(self._waiting) if len(self._waiting) > 1 else numbers
        last = len(whole) - len(whole) % _BLOCK
        for first in range(0, last, _BLOCK):
            self._merge(whole[first : first + _BLOCK])
        self._waiting, self._n_waiting = [whole[last:].copy()], len(whole) - last

    def _merge(self, block: npt.NDArray[np.float64]) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(block.mean())
            squares = float(np.square(block - mean).sum())
        n, delta = self._n + len(block), mean - self._mean
        self._mean += delta * (len(block) / n)
        self._squares += squares + delta * delta * (self._n * (len(block) / n))
        self._n = n

    def scale(self, *, n_rows: int | None = None) -> Scale:
        """Return the scale: 0 and 1 without numbers, deviation 1 for a constant.

        Args:
            n_rows: rows with and without a number, which bound what rounding makes of a constant.
        """
        rest, self._waiting, self._n_waiting = self._waiting, [], 0
        if any(len(part) for part in rest):
            self._merge(np.concatenate(rest))
        if not self._n or not math.isfinite(self._mean + self._squares):
            return Scale()
        variance = self._squares / self._n
        # What rounding alone makes of a constant; the bound is scikit-learn's.
        noise = (n_rows or self._n) * _EPSILON
        is_constant = variance <= noise * variance + (noise * self._mean) ** 2
        return Scale(self._mean, 1.0 if is_constant else math.sqrt(variance))
