"""Who lands where: for ever the same, whatever happens around a row."""

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.splits import HashSplit
from pipeline_lib.data.car_evaluation import ATTRIBUTES, car_evaluation
from pipeline_lib.data.splits.assign import SPLITS, assign_splits
from tests.unit.data.plain_hashes import BITS, blake, splitmix64

SPLIT = HashSplit(val=0.15, test=0.15, seed=0)
BY = ("color", "size")

Value = str | float | None
rows = st.lists(
    st.tuples(
        st.none() | st.text(max_size=4) | st.sampled_from(["null", "None", "nan", ""]),
        st.none() | st.floats(allow_nan=False),
    ),
    min_size=1,
    max_size=30,
)


def _table(values: Sequence[tuple[str | None, float | None]]) -> pa.Table:
    colors, sizes = zip(*values, strict=True)
    return pa.table({"color": pa.array(colors, pa.string()), "size": pa.array(sizes, pa.float64())})


def _assigned(values: Sequence[tuple[str | None, float | None]]) -> list[int]:
    return assign_splits(_table(values), BY, SPLIT).tolist()


def _split_by_hand(row: dict[str, Value], split: HashSplit) -> int:
    """Return a row's split in plain integers, after the module's own description."""
    total = splitmix64(split.seed)
    for name, value in row.items():
        if value is None:
            hashed = 0x6E756C6C
        elif isinstance(value, float):
            hashed = splitmix64(struct.unpack("<Q", struct.pack("<d", value + 0.0))[0])
        else:
            hashed = blake(value)
        total = (total + splitmix64(hashed ^ blake(name))) & BITS
    share = splitmix64(total) / 2**64
    if share < split.test:
        return SPLITS.index("test")
    return SPLITS.index("val" if share < split.val + split.test else "train")


def test_the_mixer_written_here_gives_the_published_outputs() -> None:
    # https://prng.di.unimi.it/splitmix64.c with seed 1234567
    gamma = 0x9E3779B97F4A7C15
    states = [1234567 + n * gamma & BITS for n in range(3)]

    outputs = [splitmix64(state) for state in states]

    assert outputs == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(rows, st.integers(0, 2**31 - 1))
def test_the_split_is_the_one_computed_by_hand(
    values: list[tuple[str | None, float | None]], seed: int
) -> None:
    split = HashSplit(val=0.3, test=0.3, seed=seed)

    assigned = assign_splits(_table(values), BY, split)

    by_hand = [_split_by_hand(dict(zip(BY, row, strict=True)), split) for row in values]
    assert assigned.tolist() == by_hand


def test_these_rows_stay_where_they_are_for_ever() -> None:
    """Frozen: a change here moves test rows of every user into somebody's training rows."""
    table = pa.table({"word": [*(f"row {i}" for i in range(15)), None]})

    assigned = assign_splits(table, ["word"], HashSplit(val=0.3, test=0.3, seed=0))

    assert "".join("tVT"[split] for split in assigned) == "VTtTTVTTTVTVtVtV"


@pytest.mark.parametrize(("val", "test"), [(0.15, 0.15), (0.1, 0.3), (0.01, 0.01)])
def test_the_shares_are_those_asked_for_within_four_deviations(val: float, test: float) -> None:
    n_rows = 100_000
    table = pa.table({"id": pa.array(range(n_rows))})

    assigned = assign_splits(table, ["id"], HashSplit(val=val, test=test))

    counts = np.bincount(assigned, minlength=3)
    for position, share in enumerate((1 - val - test, val, test)):
        deviation = (n_rows * share * (1 - share)) ** 0.5
        assert abs(counts[position] - n_rows * share) < 4 * deviation


def test_the_car_table_is_split_in_about_70_15_15() -> None:
    assigned = assign_splits(car_evaluation(), list(ATTRIBUTES), SPLIT)

    counts = np.bincount(assigned, minlength=3)
    assert counts.sum() == 1728
    assert abs(counts[0] - 0.7 * 1728) < 80
    assert min(counts[1], counts[2]) > 200


@given(rows, st.randoms(use_true_random=False))
def test_a_row_keeps_its_split_whatever_stands_around_it(
    values: list[tuple[str | None, float | None]], random: object
) -> None:
    before = dict(zip(values, _assigned(values), strict=True))
    shuffled = [*values, ("new row", 1.0), (None, None)]
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    after = dict(zip(shuffled, _assigned(shuffled), strict=True))

    assert {row: after[row] for row in values} == before


@given(rows)
def test_equal_features_never_straddle_two_splits(
    values: list[tuple[str | None, float | None]],
) -> None:
    assigned = _assigned(values * 2)

    assert assigned[: len(values)] == assigned[len(values) :]


def test_a_corrected_label_moves_no_row() -> None:
    table = car_evaluation()
    corrected = table.set_column(6, "output", pa.array(["acc"] * 1728))

    before = assign_splits(table, list(ATTRIBUTES), SPLIT)

    assert (assign_splits(corrected, list(ATTRIBUTES), SPLIT) == before).all()


def test_the_order_of_columns_moves_no_row() -> None:
    table = car_evaluation()
    turned = table.select(list(reversed(table.column_names)))

    before = assign_splits(table, list(ATTRIBUTES), SPLIT)

    assert (assign_splits(turned, list(reversed(ATTRIBUTES)), SPLIT) == before).all()


@pytest.mark.parametrize("way", ["chunks", "slices", "dictionary", "large_string"])
def test_how_arrow_stores_a_column_moves_no_row(way: str) -> None:
    table = car_evaluation()
    before = assign_splits(table, list(ATTRIBUTES), SPLIT)

    match way:
        case "chunks":
            other = pa.concat_tables([table[:100], table[100:101], table[101:]])
        case "slices":
            other = pa.concat_tables([table, table])[1728:]
        case "dictionary":
            other = pa.table({n: table[n].dictionary_encode() for n in table.column_names})
        case _:
            other = table.cast(pa.schema([(n, pa.large_string()) for n in table.column_names]))

    assert (assign_splits(other, list(ATTRIBUTES), SPLIT) == before).all()


def _different(by: Sequence[str], one: pa.Table, other: pa.Table) -> bool:
    """Tell whether any of 64 seeds puts two single rows in different splits."""

    def all_seeds(table: pa.Table) -> list[int]:
        splits = (HashSplit(val=0.3, test=0.3, seed=seed) for seed in range(64))
        return [int(assign_splits(table, by, split)[0]) for split in splits]

    return all_seeds(one) != all_seeds(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((None, 1.0), ("null", 1.0)),
        ((None, 1.0), ("", 1.0)),
        (("None", 1.0), ("null", 1.0)),
        (("a", None), ("a", 0.0)),
        (("é", 1.0), ("e\u0301", 1.0)),
        (("a", 1.0), ("a ", 1.0)),
    ],
)
def test_rows_that_differ_in_a_value_are_hashed_apart(
    one: tuple[str | None, float | None], other: tuple[str | None, float | None]
) -> None:
    assert _different(BY, _table([one]), _table([other]))


def test_a_value_that_changes_columns_is_hashed_apart() -> None:
    one, other = pa.table({"a": ["x"], "b": ["y"]}), pa.table({"a": ["y"], "b": ["x"]})

    assert _different(["a", "b"], one, other)


def test_zero_and_minus_zero_are_one_value() -> None:
    assert not _different(BY, _table([("a", 0.0)]), _table([("a", -0.0)]))


def test_another_seed_is_another_split() -> None:
    table = car_evaluation()

    assigned = [
        assign_splits(table, list(ATTRIBUTES), HashSplit(seed=seed)).tolist() for seed in (0, 1, 2)
    ]

    assert assigned[0] != assigned[1] != assigned[2] != assigned[0]


def test_a_table_without_rows_has_no_assignments() -> None:
    empty: npt.NDArray[np.int8] = assign_splits(_table([("a", 1.0)])[:0], BY, SPLIT)

    assert empty.tolist() == []


def test_a_larger_test_share_only_takes_rows_in() -> None:
    table = pa.table({"id": pa.array(range(2000))})

    small = assign_splits(table, ["id"], HashSplit(val=0.1, test=0.1))
    large = assign_splits(table, ["id"], HashSplit(val=0.1, test=0.2))

    test = SPLITS.index("test")
    assert set(np.flatnonzero(small == test)) < set(np.flatnonzero(large == test))
