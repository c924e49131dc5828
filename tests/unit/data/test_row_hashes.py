"""A row's hash, value by value, held against hashlib and plain integers."""

import struct
from datetime import date, datetime

import pyarrow as pa
import pytest

from pipeline_lib.data import row_hashes
from pipeline_lib.data.hashing import hash_words
from pipeline_lib.data.row_hashes import RowHasher
from tests.unit.data.plain_hashes import BITS, blake, splitmix64

_NULL = 0x6E756C6C


def _row(value_hash: int, seed: int = 7) -> int:
    return splitmix64(splitmix64(seed) + splitmix64(value_hash ^ blake("x")) & BITS)


def _hashes(values: pa.Array) -> list[int]:
    return RowHasher(["x"], 7).hash(pa.table({"x": values})).tolist()


def _bits(number: float) -> int:
    return struct.unpack("<Q", struct.pack("<d", number))[0]


_MIDNIGHT_US = 19_782 * 86_400_000_000  # 2024-02-29


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array(["é", "", None]), [blake("é"), blake(""), _NULL]),
        (pa.array([17, None, -3]), [blake("17"), _NULL, blake("-3")]),
        (pa.array([True, False, None]), [blake("true"), blake("false"), _NULL]),
        (pa.array([1.5, -0.0, None]), [splitmix64(_bits(1.5)), splitmix64(_bits(0.0)), _NULL]),
        (pa.array([float("nan"), float("inf")]), [_NULL, splitmix64(_bits(float("inf")))]),
        (pa.array([0.5], pa.float32()), [splitmix64(_bits(0.5))]),
        (
            pa.array([datetime(2024, 2, 29), None, datetime(1969, 12, 31, 23, 59, 59, 999_999)]),  # noqa: DTZ001
            [splitmix64(_MIDNIGHT_US), _NULL, splitmix64(BITS)],
        ),
        (pa.array([date(2024, 2, 29), None]), [splitmix64(_MIDNIGHT_US), _NULL]),
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
        assert _hashes(times.cast(arrow_type)) == [_row(splitmix64(_MIDNIGHT_US))]


def test_words_are_hashed_as_hashlib_does() -> None:
    words = ["", "a", "é" * 200, "\x00"]

    assert hash_words(words).tolist() == [blake(word) for word in words]


def test_a_hasher_that_remembers_nothing_more_gives_the_same_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_hashes, "_MAX_REMEMBERED", 3)
    batches = [[f"word {n % 7}" for n in range(first, first + 5)] for first in range(0, 40, 5)]
    hasher = RowHasher(["x"], 7)

    hashes = [hasher.hash(pa.table({"x": words})).tolist() for words in batches]

    assert hashes == [[_row(blake(word)) for word in words] for words in batches]
