"""A number per row that follows from its values alone, and never changes.

A value's hash, by the type of its column:

- text, and what no line below names: BLAKE2b (8 bytes, big-endian) of its UTF-8; a whole number
  counts as its decimal digits, a boolean as `true` or `false`;
- a float: SplitMix64 of the bits of its float64, −0.0 as 0.0;
- a time: SplitMix64 of its microseconds since 1970, a date as its first one;
- no value, NaN included: a constant of its own.

A row's hash is SplitMix64 of the sum, over its columns, of SplitMix64(value XOR BLAKE2b of the
column's name), and of the mixed seed. Sums wrap at 64 bits. To change any of this moves test rows
of every user into the training rows of some.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.data.arrow import (
    different,
    float_bits,
    is_date_or_time,
    is_null,
    microseconds,
    one_array,
)
from pipeline_lib.data.hashing import NULL, Hashes, hash_words, splitmix64

# Words of a column whose hash is kept from batch to batch: at most about 25 MB a column.
_MAX_REMEMBERED = 131_072


class RowHasher:
    """Hashes rows batch by batch; where one batch ends and the next begins does not count."""

    def __init__(self, columns: Sequence[str], seed: int) -> None:
        self._names = dict(zip(columns, hash_words(columns), strict=True))
        self._known: dict[str, dict[str, int]] = {name: {} for name in columns}
        self._start = splitmix64(np.array([seed], np.uint64))[0]

    def hash(self, batch: pa.Table) -> Hashes:
        """Return a hash per row, shape ``(n_rows,)``.

        Args:
            batch: rows with all of the columns; others do not count.
        """
        total = np.full(batch.num_rows, self._start, np.uint64)
        for name, salt in self._names.items():
            total += self._column(name, one_array(batch[name]), salt)
        return splitmix64(total)

    def _column(self, name: str, values: pa.Array, salt: np.uint64) -> Hashes:
        if pa.types.is_floating(values.type):
            bits = float_bits(values)
            return _salted(splitmix64(bits), np.isnan(bits.view(np.float64)), salt)
        if is_date_or_time(values.type):
            bits = microseconds(values).view(np.uint64)
            return _salted(splitmix64(bits), is_null(values), salt)
        words, places = different(values.cast(pa.string()))
        per_word = np.append(self._word_hashes(name, words.to_pylist()), NULL)
        return splitmix64(per_word ^ salt)[places]

    def _word_hashes(self, name: str, words: list[str]) -> Hashes:
        known = self._known[name]
        if not known and len(words) > _MAX_REMEMBERED:
            return hash_words(words)
        found = list(map(known.get, words))
        new = [word for word, value in zip(words, found, strict=True) if value is None]
        if not new:
            return np.array(found, np.uint64)
        fresh = hash_words(new)
        if room := _MAX_REMEMBERED - len(known):
            known.update(zip(new[:room], fresh[:room].tolist(), strict=True))
        values = iter(fresh.tolist())
        return np.array([next(values) if v is None else v for v in found], np.uint64)


def _salted(hashes: Hashes, is_null: npt.NDArray[np.bool_], salt: np.uint64) -> Hashes:
    hashes[is_null] = NULL
    hashes ^= salt
    return splitmix64(hashes)
