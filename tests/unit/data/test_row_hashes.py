"""A row's hash, value by value, held against hashlib and plain integers."""

import hashlib
import struct
from datetime import date, datetime

import pyarrow as pa
import pytest

from pipeline_lib.data import row_hashes
from pipeline_lib.data.row_hashes import RowHasher, hash_words

_64_BITS = 2**64 - 1
_NULL = 0x6E756C6C


def _splitmix64(state: int) -> int:
    """Return the output that follows a state; written after Steele, Lea & Flood 2014, figure 17."""
    z = (state + 0x9E3779B97F4A7C15) & _64_BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _64_BITS
    return z ^ (z >> 31)


def _blake(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")


def _row(value_hash: int, seed: int = 7) -> int:
    return _splitmix64(_splitmix64(seed) + _splitmix64(value_hash ^ _blake("x")) & _64_BITS)


def _hashes(values: pa.Array) -> list[int]:
    return RowHasher(["x"], 7).hash(pa.table({"x": values})).tolist()


def _bits(number: float) -> int:
    return struct.unpack("<Q", struct.pack("<d", number))[0]


_MIDNIGHT_US = 19_782 * 86_400_000_000  # 2024-02-29


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["é", "", None]), [_blake("é"), _blake(""), _NULL]),
        (pa.array([17, None, -3]), [_blake("17"), _NULL, _blake("-3")]),
        (pa.array([True, False, None]), [_blake("true"), _blake("false"), _NULL]),
        (pa.array([1.5, -0.0, None]), [_splitmix64(_bits(1.5)), _splitmix64(_bits(0.0)), _NULL]),
        (pa.array([float("nan"), float("inf")]), [_NULL, _splitmix64(_bits(float("inf")))]),
        (pa.array([0.5], pa.float32()), [_splitmix64(_bits(0.5))]),
        (
            pa.array([datetime(2024, 2, 29), None, datetime(1969, 12, 31, 23, 59, 59, 999_999)]),  # noqa: DTZ001
            [_splitmix64(_MIDNIGHT_US), _NULL, _splitmix64(_64_BITS)],
        ),
        (pa.array([date(2024, 2, 29), None]), [_splitmix64(_MIDNIGHT_US), _NULL]),
        (pa.array([None, None], pa.string()), [_NULL, _NULL]),
    ],
    ids=["text", "whole", "boolean", "float", "nan", "float32", "time", "date", "nulls"],
)
def test_a_value_is_hashed_as_the_module_says(values: pa.Array, expected: list[int]) -> None:
    assert _hashes(values) == [_row(value) for value in expected]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_and_zone_of_a_time_do_not_count(unit: str) -> None:
    times = pa.array([datetime(2024, 2, 29)])  # noqa: DTZ001

    for arrow_type in (pa.timestamp(unit), pa.timestamp(unit, "UTC")):
        assert _hashes(times.cast(arrow_type)) == [_row(_splitmix64(_MIDNIGHT_US))]


def test_words_are_hashed_as_hashlib_does() -> None:
    words = ["", "a", "é" * 200, "\x00"]

    assert hash_words(words).tolist() == [_blake(word) for word in words]


def test_a_hasher_that_remembers_nothing_more_gives_the_same_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_hashes, "_MAX_REMEMBERED", 3)
    batches = [[f"word {n % 7}" for n in range(first, first + 5)] for first in range(0, 40, 5)]
    hasher = RowHasher(["x"], 7)

    hashes = [hasher.hash(pa.table({"x": words})).tolist() for words in batches]

    assert hashes == [[_row(_blake(word)) for word in words] for words in batches]
