"""A number per row that follows from its values alone, and never changes.

A value's hash, by the type of its column:

- text, and what no line below names: BLAKE2b (8 bytes, big-endian) of its UTF-8; a whole number
  counts as its decimal digits, a boolean as `true` or `false`;
- a float: SplitMix64 of the bits of its float64, −0.0 as 0.0;
- a time: SplitMix64 of its microseconds since 1970, a date as its first one;
- no value, NaN included: a constant of its own.

A row's hash is SplitMix64 of the sum, over its columns, of SplitMix64(value XOR BLAKE2b of the
column's name), and of the mixed seed. Sums wrap at 64 bits. To change any of this moves test rows
of every user into somebody's training rows.

Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators" (the mixer).
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Hashes = npt.NDArray[np.uint64]

_NULL = np.uint64(0x6E756C6C)
# Words of a column whose hash is kept from batch to batch: at most about 25 MB a column.
_MAX_REMEMBERED = 131_072
_BLAKE2B = hashlib.blake2b(digest_size=8)


def hash_words(words: Sequence[str]) -> Hashes:
    """Return BLAKE2b of each word, 8 bytes read big-endian; shape ``(n_words,)``."""
    digests: list[bytes] = []
    for word in words:
        state = _BLAKE2B.copy()
        state.update(word.encode())
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def microseconds(times: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return microseconds since 1970 of timestamps or dates, null as 0; shape ``(n_rows,)``."""
    unit = pa.timestamp("us", getattr(times.type, "tz", None))
    whole = times.cast(unit, safe=False).cast(pa.int64()).fill_null(0)
    return whole.to_numpy(zero_copy_only=False)


def splitmix64(x: Hashes) -> Hashes:
    """Return the output of the mixer that follows each state, same shape."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


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
            numbers = values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
            bits = (numbers + 0.0).view(np.uint64)  # -0.0 becomes 0.0
            return _salted(splitmix64(bits), np.isnan(numbers), salt)
        if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
            is_null = pc.is_null(values).to_numpy(zero_copy_only=False)
            return _salted(splitmix64(microseconds(values).view(np.uint64)), is_null, salt)
        encoded = values.cast(pa.string()).dictionary_encode()
        words: list[str] = encoded.dictionary.to_numpy(zero_copy_only=False).tolist()
        per_word = np.append(self._word_hashes(name, words), _NULL)
        places = encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
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


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column of a batch in one piece, without a dictionary."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _salted(hashes: Hashes, is_null: npt.NDArray[np.bool_], salt: np.uint64) -> Hashes:
    hashes[is_null] = _NULL
    hashes ^= salt
    return splitmix64(hashes)
