"""Words become codes without a vocabulary: 1 is missing, 2 and up the word's hash.

Code 0, unseen, is never given: no word is new to a hash. The hash is BLAKE2b, 8 bytes read
big-endian, modulo the number of buckets; it is the same in every process and version.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.data.arrow import different
from pipeline_lib.data.hashing import hash_words
from pipeline_lib.encoding.vocabulary import MISSING, N_RESERVED


@dataclass(frozen=True)
class HashInput:
    """A column of words whose codes are hashes; words that share a bucket share a code."""

    column: str
    n_buckets: int

    @property
    def cardinality(self) -> int:
        """The number of codes, both reserved ones included."""
        return N_RESERVED + self.n_buckets

    def encode(self, values: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int32]:
        """Return codes in ``range(1, cardinality)``, shape ``(n_rows,)``.

        Args:
            values: words, of type string.
        """
        if len(values) == 1:  # one row at prediction: no dictionary to build
            word: str | None = values[0].as_py()
            return np.array([MISSING], np.int32) if word is None else self._codes([word])
        chunks: list[pa.Array] = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
        codes = [self._encode_chunk(chunk) for chunk in chunks]
        return np.concatenate(codes) if codes else np.empty(0, np.int32)

    def _encode_chunk(self, chunk: pa.Array) -> npt.NDArray[np.int32]:
        words, places = different(chunk)
        return np.append(self._codes(words.to_pylist()), np.int32(MISSING))[places]

    def _codes(self, words: list[str]) -> npt.NDArray[np.int32]:
        return (hash_words(words) % np.uint64(self.n_buckets)).astype(np.int32) + N_RESERVED
