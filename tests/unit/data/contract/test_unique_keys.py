"""Keys that stand twice, found over any number of batches, and never where there are none."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.data.contract.repeats import hash_rows
from pipeline_lib.data.contract.unique_keys import KeyHashes
from tests.unit.data.plain_hashes import splitmix64

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

    assert len(np.unique(hash_rows(table, ["id"]))) == 1_000_000
    assert _repeated([table], ["id"]) == []


def test_keys_whose_hashes_are_equal_are_compared_themselves() -> None:
    first, other, last = 1.0, 2.0, 3.0
    # A row's hash is mix(mix(a) ^ b): two first numbers leave one second number that collides.
    bits = _mixed_bits(first) ^ int(np.float64(last).view(np.uint64)) ^ _mixed_bits(other)
    colliding = pa.table(
        {"x": [first, other], "y": [last, float(np.uint64(bits).view(np.float64))]}
    )

    hashes = hash_rows(colliding, ["x", "y"])

    assert hashes[0] == hashes[1]
    assert _repeated([colliding], ["x", "y"]) == []
    assert _repeated([colliding, colliding], ["x", "y"]) == [2, 3]


def _mixed_bits(number: float) -> int:
    return splitmix64(int(np.float64(number).view(np.uint64)))


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
