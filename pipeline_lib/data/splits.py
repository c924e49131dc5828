"""Who lands in train, val and test.

The hash split looks at nothing but the row itself: its key columns where the config names some,
else its features. The label does not count, so a corrected label does not move a row, and two
rows with equal features never stand on both sides. The hash is defined here and stays: BLAKE2b
of a word, the bits of a float, mixed by SplitMix64 and summed over columns.

Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators" (the mixer).
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config import HashSplit

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

_NULL = np.uint64(0x6E756C6C)


def assign_splits(table: pa.Table, by: Sequence[str], split: HashSplit) -> npt.NDArray[np.int8]:
    """Tell the split of each row.

    Args:
        table: the rows.
        by: the columns whose values decide; their order does not count.
        split: shares and seed.

    Returns:
        Positions in `SPLITS`, shape ``(n_rows,)``.
    """
    share = _row_hashes(table, by, split.seed) / np.float64(2**64)
    assigned = np.zeros(table.num_rows, np.int8)
    assigned[share < split.val + split.test] = SPLITS.index("val")
    assigned[share < split.test] = SPLITS.index("test")
    return assigned


def _row_hashes(table: pa.Table, by: Sequence[str], seed: int) -> npt.NDArray[np.uint64]:
    total = np.full(table.num_rows, _mix(np.array([seed], np.uint64))[0], np.uint64)
    for name in by:
        total += _mix(_value_hashes(table[name]) ^ _word_hash(name))
    return _mix(total)


def _value_hashes(values: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    is_null = pc.is_null(values).to_numpy()
    if pa.types.is_floating(values.type):
        numbers = values.fill_null(0).to_numpy().astype(np.float64) + 0.0  # -0.0 becomes 0.0
        hashes = _mix(numbers.view(np.uint64))
    else:
        encoded = values.cast(pa.string()).combine_chunks().dictionary_encode()
        words = np.array([_word_hash(w) for w in encoded.dictionary.to_pylist()], np.uint64)
        codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        hashes = words[codes] if len(words) else np.zeros(len(values), np.uint64)
    hashes[is_null] = _NULL
    return hashes


def _word_hash(word: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest()))


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
