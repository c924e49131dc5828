"""Codes from hashes: the same in every process, spread evenly, never 0."""

import hashlib

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.encoding.hashing import HashInput
from pipeline_lib.encoding.vocabulary import MISSING


def _code(word: str | None, n_buckets: int) -> int:
    if word is None:
        return MISSING
    digest = hashlib.blake2b(word.encode(), digest_size=8).digest()
    return 2 + int.from_bytes(digest, "big") % n_buckets


@given(st.lists(st.none() | st.text(max_size=5), max_size=30), st.integers(2, 2**24))
def test_a_code_is_the_words_hash_modulo_the_buckets(
    words: list[str | None], n_buckets: int
) -> None:
    codes = HashInput("x", n_buckets).encode(pa.array(words, pa.string()))

    assert codes.tolist() == [_code(word, n_buckets) for word in words]
    assert codes.dtype == np.int32


def test_these_words_keep_their_codes_for_ever() -> None:
    """Frozen: a change here gives every saved model other embeddings than it has learned."""
    codes = HashInput("x", 4096).encode(pa.array(["", "Köln", "user-1", None]))

    assert codes.tolist() == [694, 642, 394, 1]


def test_chunks_and_single_rows_have_the_codes_of_the_whole() -> None:
    words = pa.array([f"word {n % 9}" if n % 5 else None for n in range(40)])
    encoder = HashInput("x", 64)
    whole = encoder.encode(words).tolist()

    chunked = pa.chunked_array([words[:7], words[7:7], words[7:8], words[8:]])

    assert encoder.encode(chunked).tolist() == whole
    assert [int(encoder.encode(words[n : n + 1])[0]) for n in range(40)] == whole


def test_no_word_is_unseen_and_codes_stay_below_the_cardinality() -> None:
    encoder = HashInput("x", 7)

    codes = encoder.encode(pa.array([f"word {n}" for n in range(1000)]))

    assert set(codes.tolist()) == set(range(2, encoder.cardinality))


def test_buckets_are_filled_evenly() -> None:
    n_words, n_buckets = 100_000, 100

    codes = HashInput("x", n_buckets).encode(pa.array([f"user-{n}" for n in range(n_words)]))

    counts = np.bincount(codes - 2, minlength=n_buckets)
    chi_square = float(((counts - 1000) ** 2 / 1000).sum())
    assert abs(chi_square - 99) < 5 * (2 * 99) ** 0.5


def test_no_rows_have_no_codes() -> None:
    assert HashInput("x", 4).encode(pa.chunked_array([], pa.string())).tolist() == []
