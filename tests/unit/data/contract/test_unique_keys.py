"""Keys that stand twice, found over any number of batches, and never where there are none."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.data.contract.unique_keys import KeyHashes, key_hashes

SMALL = st.none() | st.sampled_from(["", "a", "b", "ab", "0", "00"])
ROWS = st.lists(st.tuples(SMALL, st.none() | st.sampled_from([0.0, -0.0, 1.0, 1e300])), min_size=1)


def _table(rows: list[tuple[str | None, float | None]]) -> pa.Table:
    words, numbers = zip(*rows, strict=True)
    return pa.table({"w": pa.array(words, pa.string()), "x": pa.array(numbers, pa.float64())})


def _repeated(batches: list[pa.Table], key: list[str]) -> list[int]:
    hashes = KeyHashes(key)
    for batch in batches:
        hashes.add(batch)
    found = hashes.repeated(lambda: batches)
    return [] if found is None else found.rows.tolist()


@given(ROWS, st.integers(1, 5))
def test_rows_after_the_first_of_a_whole_key_repeat_it_wherever_batches_end(
    rows: list[tuple[str | None, float | None]], n_rows: int
) -> None:
    table = _table(rows)
    batches = [table.slice(start, n_rows) for start in range(0, len(rows), n_rows)]
    seen: Counter[tuple[str | None, float | None]] = Counter()
    expected: list[int] = []
    for position, row in enumerate(rows):
        if None not in row and seen[row]:
            expected.append(position)
        seen[row] += 1

    assert _repeated(batches, ["w", "x"]) == expected


def test_a_million_different_keys_repeat_none() -> None:
    table = pa.table({"id": pa.array(np.arange(1_000_000)).cast(pa.string())})

    assert len(np.unique(key_hashes(table, ["id"]))) == 1_000_000
    assert _repeated([table], ["id"]) == []


def test_keys_whose_hashes_are_equal_are_compared_themselves() -> None:
    first, other, a = 1.0, 2.0, _mixed_bits(3.0)
    # The hash of two numbers is mix(mix(mix(a)) ^ mix(b)), and the mixer can be run backwards.
    wanted = _mix(_mixed_bits(first)) ^ a ^ _mix(_mixed_bits(other))
    bits = np.uint64(_unmix(int(wanted)))
    colliding = pa.table({"x": [first, other], "y": [3.0, float(bits.view(np.float64))]})

    hashes = key_hashes(colliding, ["x", "y"])

    assert hashes[0] == hashes[1]
    assert _repeated([colliding], ["x", "y"]) == []
    assert _repeated([colliding, colliding], ["x", "y"]) == [2, 3]


def _mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
    return x ^ (x >> 31)


def _unmix(x: int) -> int:
    def unshift(y: int, by: int) -> int:
        x = y
        for _ in range(64 // by + 1):
            x = y ^ (x >> by)
        return x

    x = unshift(x, 31) * pow(0x94D049BB133111EB, -1, 2**64) % 2**64
    x = unshift(x, 27) * pow(0xBF58476D1CE4E5B9, -1, 2**64) % 2**64
    return (unshift(x, 30) - 0x9E3779B97F4A7C15) % 2**64


def _mixed_bits(number: float) -> int:
    return _mix(int(np.float64(number).view(np.uint64)))


def test_the_order_of_values_in_a_key_counts() -> None:
    table = pa.table({"a": ["x", "y"], "b": ["y", "x"]})

    assert _repeated([table], ["a", "b"]) == []


@pytest.mark.parametrize("kind", [pa.bool_(), pa.timestamp("us"), pa.string(), pa.float64()])
def test_a_key_of_any_type_is_found_across_batches(kind: pa.DataType) -> None:
    values = pa.array([0, 1, 1, None], pa.int64()).cast(
        pa.float64() if kind == pa.float64() else kind
    )
    batches = [pa.table({"row": values[:2]}), pa.table({"row": values[2:]})]

    assert _repeated(batches, ["row"]) == [2]


def test_what_repeats_comes_with_its_other_columns() -> None:
    table = pa.table({"id": ["a", "a", "b"], "label": ["x", "y", "z"]})
    hashes = KeyHashes(["id"])
    hashes.add(table)

    found = hashes.repeated(lambda: [table])

    assert found is not None
    assert found.table.to_pylist() == [{"id": "a", "label": "y"}]
