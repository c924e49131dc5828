"""Distinct words of a column, numbered in the order in which they came; strings are read once.

A batch is dictionary-encoded where its file has not done so already. Its rows keep the batch's
own numbers; only the dictionaries of many batches are brought together, several at a time.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.data.hashing import add_words

WordNumbers = npt.NDArray[np.int32]
_ENCODED = pa.dictionary(pa.int32(), pa.string())
# Below this many words it is cheaper to wait for more than to build a hash table for them.
_MIN_PENDING = 65_536


class WordTable:
    """Words by number; a null is number 0, the first word number 1.

    Dictionaries are merged when they hold as many words together as the table, so that the
    table's own words are hashed a bounded number of times however many batches there are.

    Args:
        on_numbers: called for each batch, in order, with the common number of each of its own
            numbers; not before `finish` for the last ones.
    """

    def __init__(self, on_numbers: Callable[[WordNumbers], None] | None = None) -> None:
        self.words: pa.Array = pa.array([], pa.string())
        self._on_numbers = on_numbers or _forget
        self._pending: list[pa.Array] = []
        self._n_pending = 0

    def __len__(self) -> int:
        return len(self.words)

    def add(self, values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.unsignedinteger]:
        """Take in a batch; return its own number of each value, shape ``(n_rows,)``.

        Args:
            values: of type string, or a dictionary of strings.
        """
        encoded = _dictionary(values)
        words, indices = encoded.dictionary, encoded.indices
        if indices.null_count:
            indices = indices.fill_null(-1)
        self._pending.append(words)
        self._n_pending += len(words)
        if self._n_pending >= max(len(self.words), _MIN_PENDING):
            self.finish()
        numbers: npt.NDArray[np.signedinteger] = indices.to_numpy(zero_copy_only=False)
        return (numbers + 1).astype(np.min_scalar_type(len(words)))

    def finish(self) -> None:
        """Number the words of all batches so far."""
        pending, self._pending, self._n_pending = self._pending, [], 0
        for numbers in self._merge(pending):
            self._on_numbers(numbers)

    def merge(self, words: pa.Array) -> WordNumbers:
        """Take in words without a null; return 0 and each one's number, shape ``(n + 1,)``."""
        return self._merge([words])[0]

    def _merge(self, dictionaries: list[pa.Array]) -> list[WordNumbers]:
        # Words known and new in one hash table of Arrow's; known ones keep their place in front.
        merged = pa.concat_arrays([self.words, *dictionaries]).dictionary_encode()
        every, start = merged.indices.to_numpy(), len(self.words)
        self.words = merged.dictionary
        numbers: list[WordNumbers] = []
        for words in dictionaries:
            own = every[start : start + len(words)] + np.int32(1)
            numbers.append(np.concatenate([np.zeros(1, np.int32), own]))
            start += len(words)
        return numbers


def _forget(numbers: WordNumbers) -> None:
    """Do nothing: merging words one set at a time needs no numbers of batches."""
    del numbers


def count_words(values: pa.ChunkedArray) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Return the different words of a column, and the rows of nulls and then of each word."""
    numbers: list[WordNumbers] = []
    table = WordTable(numbers.append)
    own = table.add(values)
    table.finish()
    counts = np.zeros(len(table) + 1, np.int64)
    np.add.at(counts, numbers[0], np.bincount(own, minlength=len(numbers[0])))
    return table.words, counts


def digest_of_words(words: pa.Array) -> str:
    """Return the sha256 of words without nulls, their order included."""
    digest = hashlib.sha256()
    add_words(digest, words)
    return digest.hexdigest()


def _dictionary(values: pa.Array | pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a batch as one dictionary of strings, none of them null, with indices of int32."""
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    encoded = [_dictionary_of_chunk(chunk) for chunk in chunks]
    if len(encoded) == 1:
        return encoded[0]
    together = pa.chunked_array(encoded, _ENCODED).unify_dictionaries().chunks
    return pa.concat_arrays(together) if together else pa.array([], _ENCODED)


def _dictionary_of_chunk(values: pa.Array) -> pa.DictionaryArray:
    if pa.types.is_dictionary(values.type):
        words = values.dictionary
        if words.type == pa.string() and not words.null_count:
            # The file's writer chose the width; int32 has room for what others add.
            return pa.DictionaryArray.from_arrays(values.indices.cast(pa.int32()), words)
        values = words.cast(pa.string()).take(values.indices)
    return values.cast(pa.string()).dictionary_encode()
