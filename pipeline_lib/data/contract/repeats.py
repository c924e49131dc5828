"""How often rows repeat, and whether a table is k copies of itself: 8 bytes a row.

Rows are equal that have the same values, typed, in every column that the config names, the target
included. Columns that it does not name do not count: an index or a time of loading, which an
export adds, makes no row another one for the network. Where the rows lie, beside each other, in a
second file or anywhere, does not count either.

Rows are told apart by 64-bit hashes; two different rows share one once in forty million tables of
a million rows, and then a count is off by one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.data.row_hashes import Hashes, microseconds, one_array
from pipeline_lib.storage import Json

MIN_DISTINCT = 100
"""Different rows from which equal counts are no chance: 100 even counts are one in 2^100."""

_NULL = np.uint64(0x6E756C6C)
_ALL, _ONE = np.uint64(2**64 - 1), np.uint64(1)
_BLOCK, _LOOK_ROWS = 16_384, 4_096
_LONG_BYTES = 1024  # longer texts are hashed one by one
# Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators": two of its rounds.
_ROUNDS = (
    (np.uint64(0xBF58476D1CE4E5B9), np.uint64(32)),
    (np.uint64(0x94D049BB133111EB), np.uint64(29)),
)
# A table that was loaded twice, and got a few new rows since, is no exact copy any more.
_MANY = 0.9


@dataclass(frozen=True)
class Repeats:
    """How often rows repeat.

    Attributes:
        n_rows: rows that may be trained on.
        n_distinct: different ones among them.
        n_repeating: different ones that occur more than once.
        copies: greatest number that divides how often each of them occurs.
    """

    n_rows: int
    n_distinct: int
    n_repeating: int
    copies: int

    @property
    def n_repeated(self) -> int:
        """Rows that an earlier row is equal to."""
        return self.n_rows - self.n_distinct

    @property
    def is_copied(self) -> bool:
        """Whether the table is some rows several times over."""
        return self.copies >= 2 and self.n_distinct >= MIN_DISTINCT

    @property
    def n_surplus(self) -> int:
        """Rows beyond the first copy, if it is copied."""
        return self.n_rows - self.n_rows // self.copies if self.is_copied else 0

    def copies_sentence(self) -> str:
        """Return what is said of a table that is copied."""
        multiple = "" if self.n_distinct * self.copies == self.n_rows else "a multiple of "
        return (
            f"these rows are {self.copies} copies of the same {self.n_rows // self.copies:,}: each "
            f"of {self.n_distinct:,} different rows occurs {multiple}{self.copies} times in the "
            "columns that the config names"
        )

    def note(self) -> str | None:
        """Return a sentence about rows that repeat, if there are any."""
        if not self.n_repeated:
            return None
        share = self.n_repeated / self.n_rows
        shown = f"{share:.1%}" if share >= 0.001 else "less than 0.1%"
        is_many = self.n_distinct >= MIN_DISTINCT and self.n_repeating > _MANY * self.n_distinct
        look = ": look whether a part of the table was loaded twice" if is_many else ""
        return (
            f"{self.n_repeated:,} of {self.n_rows:,} rows ({shown}) repeat an earlier row in every "
            f"column that the config names{look}"
        )

    def to_json(self) -> dict[str, Json]:
        """Return the counts."""
        return {**asdict(self), "n_repeated": self.n_repeated, "is_copied": self.is_copied}


class RowCounts:
    """Counts equal rows over a stream."""

    def __init__(self, columns: Sequence[str]) -> None:
        """Start with no rows; `columns` are those that count."""
        self._columns = list(columns)
        self._parts: list[Hashes] = []

    def add(self, typed: pa.Table) -> None:
        """Take in a batch whose columns have their declared types."""
        self._parts.append(hash_rows(typed, self._columns))

    def repeats(self) -> Repeats:
        """Say how often the rows repeat."""
        hashes = self._hashes()
        n_rows = len(hashes)
        hashes.sort()
        is_first = np.ones(n_rows, np.bool_)
        np.not_equal(hashes[1:], hashes[:-1], out=is_first[1:])
        n_distinct = int(np.count_nonzero(is_first))
        if n_distinct == n_rows:
            return Repeats(n_rows, n_distinct, 0, 1)
        counts = _run_lengths(is_first)
        return Repeats(
            n_rows, n_distinct, int(np.count_nonzero(counts > 1)), int(np.gcd.reduce(counts))
        )

    def surplus(self, copies: int) -> npt.NDArray[np.int64]:
        """Return which of the added rows, counted from 0, are not of the first copy; ascending.

        Of a row that occurs n times the first n / `copies` stay.
        """
        hashes = self._hashes()
        order = np.argsort(hashes, kind="stable")
        is_first = np.ones(len(order), np.bool_)
        ordered = hashes[order]
        np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
        counts = _run_lengths(is_first)
        rank = np.arange(len(order)) - np.repeat(np.flatnonzero(is_first), counts)
        return np.sort(order[rank >= np.repeat(counts // copies, counts)])

    def _hashes(self) -> Hashes:
        return np.concatenate([np.empty(0, np.uint64), *self._parts])


def hash_rows(typed: pa.Table, columns: Sequence[str]) -> Hashes:
    """Return a hash of each row, shape ``(n_rows,)``; equal rows have equal ones."""
    total = np.zeros(typed.num_rows, np.uint64)
    for name in columns:
        values = one_array(typed[name])
        bits = _word_bits(values) if pa.types.is_string(values.type) else _bits(values)
        bits[pc.is_null(values, nan_is_null=True).to_numpy(zero_copy_only=False)] = _NULL
        _fold(total, bits)
    return total


def _bits(values: pa.Array) -> Hashes:
    """Return 64 bits per number, time or boolean, −0.0 as 0.0."""
    if pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        return (numbers + 0.0).view(np.uint64)
    if pa.types.is_boolean(values.type):
        whole = values.cast(pa.uint64()).fill_null(0)
        return whole.to_numpy(zero_copy_only=False).copy()
    return microseconds(values).view(np.uint64).copy()


def _word_bits(values: pa.Array) -> Hashes:
    """Return a hash per text; where the first rows show few different ones, of each one once."""
    few = values.slice(0, _LOOK_ROWS)
    if pc.count_distinct(few).as_py() > len(few) // 8:
        return _text_bits(values)
    encoded = values.dictionary_encode()
    places = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
    bits = _text_bits(encoded.dictionary)
    return bits[places] if len(bits) else np.zeros(len(values), np.uint64)


def _text_bits(values: pa.Array) -> Hashes:
    """Return a hash per text: of its length and its UTF-8, 8 bytes at a time."""
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int32)[values.offset :][: len(values) + 1].astype(np.int64)
    text = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    ends, text = ends - ends[0], text[ends[0] : ends[-1]]
    words = np.append(text, np.zeros(16 + -len(text) % 8, np.uint8)).view("<u8")
    starts, rest = ends[:-1], np.diff(ends)
    # Spread over all bits: the first 8 bytes are laid over it, and "b" is no "a" of another length.
    total = rest.view(np.uint64) * _ROUNDS[0][0]
    long = np.flatnonzero(rest > _LONG_BYTES)
    digests = [_digest(text[ends[at] : ends[at + 1]]) for at in long.tolist()]
    rest[long] = 0
    rows: npt.NDArray[np.int64] | None = None  # of those with text left; all at first
    while len(rest):
        word = _words_at(words, starts) & (_ALL >> (8 * np.clip(8 - rest, 0, 7)).view(np.uint64))
        word[rest <= 0] = 0
        if rows is None:
            _fold(total, word)
        else:
            part = total[rows]
            _fold(part, word)
            total[rows] = part
        longer = np.flatnonzero(rest > 8)
        rows = longer if rows is None else rows[longer]
        starts, rest = starts[longer] + 8, rest[longer] - 8
    total[long] = digests
    return total


def _digest(word: npt.NDArray[np.uint8]) -> int:
    """Return 64 bits of one long text: a step of all rows for 8 bytes of one would take hours."""
    return int.from_bytes(blake2b(word.tobytes(), digest_size=8).digest(), "little")


def _words_at(words: Hashes, starts: npt.NDArray[np.int64]) -> Hashes:
    """Return the 8 bytes from each byte on: of two aligned words, which numpy reads fast."""
    places = starts >> 3
    bits = ((starts & 7) << 3).view(np.uint64)
    # Shifted in two steps: by 64 bits at once means nothing.
    return (words[places] >> bits) | ((words[places + 1] << (np.uint64(63) - bits)) << _ONE)


def _fold(total: Hashes, bits: Hashes) -> None:
    """Mix 64 bits more into each hash, in place and in blocks that fit a cache."""
    spare = np.empty(min(len(total), _BLOCK), np.uint64)
    for start in range(0, len(total), _BLOCK):
        part = total[start : start + _BLOCK]
        shifted = spare[: len(part)]
        part ^= bits[start : start + _BLOCK]
        for factor, shift in _ROUNDS:
            part *= factor
            np.right_shift(part, shift, out=shifted)
            part ^= shifted


def _run_lengths(is_first: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    return np.diff(np.append(np.flatnonzero(is_first), len(is_first)))
