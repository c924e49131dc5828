"""The rank of a category whose words have an order: a number that models see beside its code.

The words are listed in the config, or are numbers themselves. A word without a rank, and a missing
one, are marked by an indicator, as missing numbers are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.columns import Order
from pipeline_lib.data.values.datetimes import cast_or_null
from pipeline_lib.data.values.patterns import NUMBER
from pipeline_lib.encoding.moments import Scale
from pipeline_lib.storage.json_files import Json

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OrderInput:
    """(rank − mean) / deviation, and 1.0 where there is no rank.

    Attributes:
        column: its name.
        order: the words, the lowest first, whose ranks are 0, 1, 2 …; "numeric": each word is a
            number, which is its rank.
        scale: of listed words that of the ranks, as if each were as frequent; of numbers that of
            the training rows.
    """

    column: str
    order: Order
    scale: Scale

    @classmethod
    def fit(
        cls, column: str, order: Order, words: pa.Array, counts: npt.NDArray[np.int64]
    ) -> "OrderInput":
        """Learn the scale from words and the number of training rows of each, same length."""
        unscaled = cls(column, order, Scale())
        if order != "numeric":
            ranks, weights = np.arange(float(len(order))), np.ones(len(order))
        else:
            ranks = unscaled.ranks(words)
            held = np.isfinite(ranks) & (counts > 0)
            ranks, weights = ranks[held], counts[held].astype(np.float64)
        return cls(column, order, _scale(ranks, weights))

    @property
    def nullable(self) -> bool:
        """Whether the last float says what has no rank: always."""
        return True

    @property
    def width(self) -> int:
        """The number of floats per row: 2."""
        return 2

    def ranks(self, words: pa.Array) -> Floats:
        """Return the rank of each word, NaN for one that has none and for null; same length."""
        if self.order == "numeric":
            text = pc.utf8_trim_whitespace(words)
            numbers = cast_or_null(pa.chunked_array([text]), f"^{NUMBER}$", pa.float64())
            found: Floats = numbers.to_numpy().astype(np.float64)
            return np.where(np.isfinite(found), found, np.nan)
        places = pc.index_in(words, value_set=self._words)
        return places.cast(pa.float64()).to_numpy(zero_copy_only=False)

    def encode(self, values: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float32]:
        """Return scaled ranks and the indicator.

        Args:
            values: words, length ``n_rows``.

        Returns:
            Shape ``(n_rows, 2)``, finite.
        """
        chunks: list[pa.Array] = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
        parts = [np.empty((0, 2), np.float32)]
        for chunk in chunks:
            encoded = chunk.dictionary_encode()
            of_words = self.of_words(encoded.dictionary)
            codes = encoded.indices.fill_null(len(of_words) - 1).to_numpy(zero_copy_only=False)
            parts.append(of_words[codes])
        return np.concatenate(parts)

    def of_words(self, words: pa.Array) -> npt.NDArray[np.float32]:
        """Return the floats of each word, and as the last row those of a missing one.

        Shape:
            output: ``(n_words + 1, 2)``.
        """
        ranks = np.append(self.ranks(words), np.nan)
        encoded = np.zeros((len(ranks), 2), np.float32)
        has_none = np.isnan(ranks)
        encoded[~has_none, 0] = self.scale.apply(ranks[~has_none])
        encoded[:, 1] = has_none
        return encoded

    def to_json(self) -> dict[str, Json]:
        """Return mean and deviation."""
        return self.scale.to_json()

    @classmethod
    def from_json(cls, column: str, order: Order, spec: Mapping[str, Any]) -> "OrderInput":
        """Return the input that `to_json` described."""
        return cls(column, order, Scale(float(spec["mean"]), float(spec["deviation"])))

    @cached_property
    def _words(self) -> pa.Array:
        return pa.array(self.order, pa.string())


def _scale(ranks: Floats, weights: Floats) -> Scale:
    """Return mean and deviation; 0 and 1 without a rank, deviation 1 of a constant."""
    if not len(ranks):
        return Scale()
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.average(ranks, weights=weights))
        deviation = float(np.sqrt(np.average(np.square(ranks - mean), weights=weights)))
    if not np.isfinite(mean + deviation):
        return Scale()
    return Scale(mean, deviation if deviation > 0 else 1.0)
