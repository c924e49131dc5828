"""Hashes of 64 bits that are the same in every process, on every machine and in every release.

Splits, ledgers, profiles and encoded columns are made of them: to change one moves test rows of
every user into the training rows of some.

Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators" (the mixer).
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.data.arrow import text_bytes, text_offsets

Hashes = npt.NDArray[np.uint64]

NULL = np.uint64(0x6E756C6C)
"""What stands for no value."""

_BLAKE2B = hashlib.blake2b(digest_size=8)
# Longer words go through BLAKE2b: one long text makes no step of the loop for each of its eights.
_VECTOR_BYTES = 256
_TAIL_MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
_BLOCK = 16_384  # hashes, 128 KiB: a block and its copy stay in a core's cache


class Digest(Protocol):
    """A hash of the standard library that takes bytes."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take in bytes."""
        ...


def splitmix64(x: Hashes) -> Hashes:
    """Return the output of the mixer that follows each state, same shape."""
    return _mix_in_place(x.copy())


def fold(total: Hashes, bits: Hashes) -> None:
    """Mix 64 bits more into each hash, in place; the order in which this is done counts.

    Args:
        total: of shape ``(n,)``; written to.
        bits: of the same shape.
    """
    for start in range(0, len(total), _BLOCK):
        part = total[start : start + _BLOCK]
        part ^= bits[start : start + _BLOCK]
        _mix_in_place(part)


def hash_words(words: Sequence[str]) -> Hashes:
    """Return BLAKE2b of each word's UTF-8, 8 bytes read big-endian; shape ``(n_words,)``.

    >>> [f"{value:x}" for value in hash_words(["a", ""]).tolist()]
    ['40f89e395b66422f', 'e4a6a0577479b2b4']
    """
    digests: list[bytes] = []
    for word in words:
        state = _BLAKE2B.copy()
        state.update(word.encode())
        digests.append(state.digest())
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def hash_text(words: pa.Array) -> Hashes:
    """Return a hash of each word's UTF-8, faster than `hash_words` and another one.

    Eight bytes at a time go through the mixer, after the length; words above 256 bytes go through
    BLAKE2b.

    Args:
        words: of Arrow type string; length ``n``.

    Returns:
        Shape ``(n,)``; what stands for a null is arbitrary.
    """
    offsets = text_offsets(words)
    text = np.frombuffer(text_bytes(words), np.uint8)
    text = np.concatenate([text, np.zeros(8, np.uint8)])
    eights = np.ndarray((len(text) - 7,), "<u8", text, strides=(1,))
    start = offsets[:-1].astype(np.int64) - int(offsets[0])
    length = np.diff(offsets).astype(np.int64)
    hashes = splitmix64(length.astype(np.uint64))
    rest = np.flatnonzero((length > 0) & (length <= _VECTOR_BYTES))
    done = 0
    while len(rest):
        chunk = eights[start[rest] + done] & _TAIL_MASKS[np.minimum(length[rest] - done, 8)]
        hashes[rest] = splitmix64(hashes[rest] ^ chunk)
        done += 8
        rest = rest[length[rest] > done]
    for i in np.flatnonzero(length > _VECTOR_BYTES).tolist():
        state = _BLAKE2B.copy()
        state.update(text[start[i] : start[i] + length[i]].tobytes())
        hashes[i] = int.from_bytes(state.digest())
    return hashes


def add_words(digest: Digest, words: pa.Array) -> None:
    """Take the lengths and then the bytes of words, none of them null, into a digest."""
    digest.update(pc.binary_length(words).to_numpy(zero_copy_only=False).tobytes())
    digest.update(text_bytes(words))


def _mix_in_place(x: Hashes) -> Hashes:
    x += np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
