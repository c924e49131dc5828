"""Category ↔ code, per column. 0 is unseen, 1 is missing, categories start at 2.

A vocabulary only ever grows at its end: fitted on later rows it keeps every code it gave. Words
are mapped by value, never by a frame's own category codes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.errors import UnknownCategoryError

UNSEEN = 0
MISSING = 1
N_RESERVED = 2


@dataclass(frozen=True)
class Vocabulary:
    """The categories of one column; the one at position i has code i + 2.

    `counts` and `n_missing` are of the training rows of the last fit, `first_seen` the dates
    (ISO 8601) on which each category got its code.
    """

    column: str
    categories: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    first_seen: tuple[str, ...] = ()
    n_missing: int = 0

    @property
    def cardinality(self) -> int:
        """The number of codes, both reserved ones included."""
        return N_RESERVED + len(self.categories)

    @cached_property
    def _code_of(self) -> dict[str, int]:
        return {word: code for code, word in enumerate(self.categories, start=N_RESERVED)}

    def fit(self, values: pa.ChunkedArray, *, today: str, min_count: int = 1) -> "Vocabulary":
        """Return the vocabulary grown by the categories of training rows.

        Args:
            values: the column's training rows, of type string.
            today: date that new categories are noted with.
            min_count: rows a new category needs to get a code; rarer ones stay unseen.
        """
        counted = Counter[str]()
        for entry in values.value_counts().to_pylist():
            if entry["values"] is not None:
                counted[str(entry["values"])] += int(entry["counts"])
        new = sorted(
            word for word, n in counted.items() if n >= min_count and word not in self._code_of
        )
        categories = self.categories + tuple(new)
        return replace(
            self,
            categories=categories,
            counts=tuple(counted.get(word, 0) for word in categories),
            first_seen=self.first_seen + (today,) * len(new),
            n_missing=values.null_count,
        )

    def encode(
        self, values: pa.ChunkedArray, *, on_unknown: Literal["bucket", "error"] = "bucket"
    ) -> npt.NDArray[np.int32]:
        """Turn categories into codes.

        Args:
            values: the column, of type string; length ``n_rows``.
            on_unknown: "bucket" gives unseen categories code 0, "error" raises.

        Returns:
            Codes in ``range(cardinality)``, shape ``(n_rows,)``.

        Raises:
            UnknownCategoryError: a category is unseen and ``on_unknown`` is "error".
        """
        chunks = [self._encode_chunk(chunk) for chunk in values.chunks]
        codes = np.concatenate(chunks) if chunks else np.empty(0, np.int32)
        if on_unknown == "error" and (codes == UNSEEN).any():
            rows = np.flatnonzero(codes == UNSEEN)
            unknown = list(dict.fromkeys(values.take(pa.array(rows)).to_pylist()))
            raise UnknownCategoryError(self.column, unknown, len(rows), self.categories)
        return codes

    def decode(self, codes: Sequence[int]) -> list[str | None]:
        """Turn codes back into categories; missing and unseen become None.

        >>> Vocabulary("safety", ("high", "low")).decode([2, 3, 1, 0])
        ['high', 'low', None, None]
        """
        return [self.categories[c - N_RESERVED] if c >= N_RESERVED else None for c in codes]

    def _encode_chunk(self, chunk: pa.Array) -> npt.NDArray[np.int32]:
        if len(chunk) == 1:  # one row at prediction: no dictionary to build
            word = chunk[0].as_py()
            code = MISSING if word is None else self._code_of.get(word, UNSEEN)
            return np.array([code], np.int32)
        encoded = chunk.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        code_of = np.array([self._code_of.get(w, UNSEEN) for w in words] + [MISSING], np.int32)
        positions = encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        return code_of[positions]
