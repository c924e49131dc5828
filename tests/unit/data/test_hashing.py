"""Hashes that are stored or decide splits: bit for bit what they were in the first release."""

import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.data.hashing import fold, hash_text, hash_words, splitmix64
from pipeline_lib.data.row_hashes import RowHasher
from pipeline_lib.encoding.hashing import HashInput
from tests.unit.data import plain_hashes


def _text_hash(word: str) -> int:
    content = word.encode()
    if len(content) > 256:
        return plain_hashes.blake(word)
    hashed = plain_hashes.splitmix64(len(content))
    for start in range(0, len(content), 8):
        (eight,) = struct.unpack("<Q", content[start : start + 8].ljust(8, b"\0"))
        hashed = plain_hashes.splitmix64(hashed ^ eight)
    return hashed


def test_the_mixer_gives_the_published_outputs_of_seed_1234567() -> None:
    # https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    states = np.uint64(1234567) + np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)

    assert splitmix64(states).tolist() == published
    assert states[0] == 1234567  # not written to


@given(st.lists(st.text(max_size=40) | st.text("aé", min_size=100, max_size=300)))
def test_a_text_hash_takes_eight_bytes_at_a_time_through_the_mixer(words: list[str]) -> None:
    array = pa.array(["before", *words], pa.string()).slice(1)

    assert hash_text(array).tolist() == [_text_hash(word) for word in words]


@pytest.mark.parametrize("n", [0, 1, 16_384, 40_000])
def test_hashes_are_folded_alike_whatever_block_they_are_in(n: int) -> None:
    total = np.arange(n, dtype=np.uint64)
    bits = total * np.uint64(77)

    expected = splitmix64(total ^ bits)
    fold(total, bits)

    assert total.tolist() == expected.tolist()


def test_the_hashes_of_the_first_release_have_not_changed() -> None:
    words = pa.array(["", "a", "ärger", "12345678", "123456789", "x" * 256, "x" * 257])
    table = pa.table({"w": ["a", None, "b"], "n": [0.5, -0.0, None], "i": [1, 2, None]})

    assert hash_text(words).tolist() == [
        16294208416658607535,
        6774081908283191102,
        18001529405087197982,
        9501447833425779875,
        9003943604911055402,
        10257133855397062584,
        6064891987940721526,
    ]
    assert hash_words(["", "a", "ärger"]).tolist() == [
        16476032584258269876,
        4681665781835383343,
        17047970804461118883,
    ]
    assert RowHasher(["w", "n", "i"], 7).hash(table).tolist() == [
        16156550507450040646,
        18101507819311642191,
        9113262229189805894,
    ]
    assert HashInput("w", 1000).encode(table["w"]).tolist() == [345, 1, 335]
