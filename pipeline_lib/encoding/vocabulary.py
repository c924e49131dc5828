"""Category ↔ code, per column. 0 is unseen, 1 is missing, categories start at 2.

A vocabulary only ever grows at its end: fitted on later rows it keeps every code it gave. Words
are mapped by value, never by a frame's own category codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.data.arrow import different
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.encoding.words import count_words
from pipeline_lib.errors import UnknownCategoryError

UNSEEN = 0
MISSING = 1
N_RESERVED = 2

State = Literal["active", "rare", "retired"]


def _no_words() -> pa.Array:
    return pa.array([], pa.string())


def _no_counts() -> npt.NDArray[np.int64]:
    return np.empty(0, np.int64)


def _no_days() -> "npt.NDArray[np.datetime64]":
    return np.empty(0, "datetime64[D]")


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The categories of one column; the one at position i has code i + 2.

    `counts` and `n_missing` are of the training rows of the last fit, `first_seen` and
    `last_seen` the days on which training rows first and last held a category. One with fewer
    than `min_count` of them is rare and encoded as unseen; one with none is retired and keeps its
    code for the day it comes back.

    Shape:
        categories: Arrow strings ``(n,)``, all different, no null; counts ``(n,)``; first_seen
        and last_seen ``(n,)`` datetime64[D].
    """

    column: str
    categories: pa.Array = field(default_factory=_no_words)
    counts: npt.NDArray[np.int64] = field(default_factory=_no_counts)
    first_seen: "npt.NDArray[np.datetime64]" = field(default_factory=_no_days)
    last_seen: "npt.NDArray[np.datetime64]" = field(default_factory=_no_days)
    n_missing: int = 0
    min_count: int = 1

    @classmethod
    def of(cls, column: str, words: Sequence[str]) -> "Vocabulary":
        """Return a vocabulary of words without counts.

        >>> Vocabulary.of("safety", ["high", "low"]).decode([2, 3, 1, 0])
        ['high', 'low', None, None]
        """
        n = len(words)
        days = np.full(n, np.datetime64("NaT", "D"))
        return cls(column, pa.array(words, pa.string()), np.zeros(n, np.int64), days, days)

    @property
    def cardinality(self) -> int:
        """The number of codes, both reserved ones included."""
        return N_RESERVED + len(self.categories)

    @property
    def is_rare(self) -> npt.NDArray[np.bool_]:
        """Which categories have training rows, but fewer than `min_count`; shape ``(n,)``."""
        return (self.counts > 0) & (self.counts < self.min_count)

    @property
    def is_retired(self) -> npt.NDArray[np.bool_]:
        """Which categories have no training row; shape ``(n,)``."""
        return self.counts == 0

    def states(self) -> list[State]:
        """Return the state of each category."""
        numbers = np.where(self.is_retired, 2, self.is_rare.astype(np.int64))
        names: tuple[State, ...] = ("active", "rare", "retired")
        return [names[number] for number in numbers]

    @property
    def codes(self) -> npt.NDArray[np.int32]:
        """What each category is encoded as: its own code, a rare one's 0; shape ``(n,)``."""
        own = np.arange(N_RESERVED, self.cardinality, dtype=np.int32)
        return np.where(self.is_rare, np.int32(UNSEEN), own)

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return dict(zip(self.categories.to_pylist(), self.codes.tolist(), strict=True))

    @cached_property
    def known(self) -> KnownWords:
        """The categories, in whose spelling typed values are read."""
        return KnownWords(self.categories)

    def fit(
        self,
        values: pa.ChunkedArray,
        *,
        today: str,
        min_count: int = 1,
        max_size: int | None = None,
    ) -> "Vocabulary":
        """Return the vocabulary grown by the categories of a column's training rows, type string.

        Other arguments are those of `grow`.
        """
        words, counts = count_words(values)
        return self.grow(words, counts, today=today, min_count=min_count, max_size=max_size)

    def grow(
        self,
        words: pa.Array,
        counts: npt.NDArray[np.int64],
        *,
        today: str,
        min_count: int = 1,
        max_size: int | None = None,
    ) -> "Vocabulary":
        """Return the vocabulary grown by counted words.

        Args:
            words: different words, length n.
            counts: training rows without a value, then those of each word, shape ``(n + 1,)``.
            today: day that new categories are noted with (ISO 8601).
            min_count: training rows a category needs; rarer ones are encoded as unseen.
            max_size: most categories there may ever be, the most frequent first; those that have
                a code keep it.
        """
        known = pc.index_in(words, value_set=self.categories).fill_null(-1).to_numpy()
        is_known, of_words = known >= 0, counts[1:]
        earlier = np.zeros(len(self.categories), np.int64)
        earlier[known[is_known]] = of_words[is_known]
        new = np.flatnonzero(~is_known & (of_words >= min_count))
        if max_size is not None and len(self.categories) + new.size > max_size:
            room = max(0, max_size - len(self.categories))
            by_word = _sorted_by_word(words, new)
            new = by_word[np.argsort(-of_words[by_word], kind="stable")][:room]
        new = _sorted_by_word(words, new)
        day = np.datetime64(today, "D")
        days = np.full(new.size, day)
        return replace(
            self,
            categories=pa.concat_arrays([self.categories, words.take(pa.array(new))]),
            counts=np.concatenate([earlier, of_words[new]]),
            first_seen=np.concatenate([self.first_seen, days]),
            last_seen=np.concatenate([np.where(earlier > 0, day, self.last_seen), days]),
            n_missing=int(counts[0]),
            min_count=min_count,
        )

    def extends(self, earlier: "Vocabulary") -> bool:
        """Report whether every code of another vocabulary means the same in this one.

        >>> Vocabulary.of("safety", ["high", "low"]).extends(Vocabulary.of("safety", ["high"]))
        True
        """
        return self.categories.slice(0, len(earlier.categories)).equals(earlier.categories)

    def codes_of(self, words: pa.Array) -> npt.NDArray[np.int32]:
        """Return the code of each of many different words, shape ``(n,)``; unseen ones get 0."""
        known = pc.index_in(words, value_set=self.categories).fill_null(-1).to_numpy()
        return np.append(self.codes, np.int32(UNSEEN))[known]

    def encode(
        self,
        values: pa.ChunkedArray,
        *,
        on_unknown: Literal["bucket", "error"] = "bucket",
        hidden: bool = False,
    ) -> npt.NDArray[np.int32]:
        """Turn categories into codes.

        Args:
            values: the column, of type string; length ``n_rows``.
            on_unknown: "bucket" gives unseen categories code 0, "error" raises.
            hidden: whether an error quotes hashes in place of categories.

        Returns:
            Codes in ``range(cardinality)``, shape ``(n_rows,)``.

        Raises:
            UnknownCategoryError: a category is unseen and ``on_unknown`` is "error".
        """
        chunks = [self._encode_chunk(chunk) for chunk in values.chunks]
        codes = np.concatenate(chunks) if chunks else np.empty(0, np.int32)
        if on_unknown == "error" and (codes == UNSEEN).any():
            unseen = values.filter(pa.array(codes == UNSEEN)).value_counts()
            known = self.categories.slice(0, 100).to_pylist()
            unknown = unseen.field("values").to_pylist()
            rows = int(pc.sum(unseen.field("counts")).as_py())
            raise UnknownCategoryError(self.column, unknown, rows, known, hidden=hidden)
        return codes

    def decode(self, codes: Sequence[int]) -> list[str | None]:
        """Turn codes back into categories; missing and unseen become None."""
        return [
            self.categories[int(c) - N_RESERVED].as_py() if c >= N_RESERVED else None for c in codes
        ]

    def _encode_chunk(self, chunk: pa.Array) -> npt.NDArray[np.int32]:
        if len(chunk) == 1:  # one row at prediction: no dictionary to build
            word = chunk[0].as_py()
            code = MISSING if word is None else self._code_of.get(word, UNSEEN)
            return np.array([code], np.int32)
        words, places = different(chunk)
        codes = [self._code_of.get(word, UNSEEN) for word in words.to_pylist()]
        return np.array([*codes, MISSING], np.int32)[places]


def _sorted_by_word(words: pa.Array, positions: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return positions[pc.sort_indices(words.take(pa.array(positions))).to_numpy()]
