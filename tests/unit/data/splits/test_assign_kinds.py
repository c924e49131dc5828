"""Splits by class, group, time and word, batch by batch, and what is said of rare classes."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from pipeline_lib.config.data import DataSettings
from pipeline_lib.config.sources import CsvFile
from pipeline_lib.config.splits import (
    GroupSplit,
    HashSplit,
    PredefinedSplit,
    Split,
    StratifiedSplit,
    TimeSplit,
)
from pipeline_lib.data.car_evaluation import ATTRIBUTES, car_evaluation
from pipeline_lib.data.splits.assign import SPLITS, Assignment, SplitAssigner, assign_splits
from pipeline_lib.errors import ContractError

TRAIN, VAL, TEST, UNUSED = 0, 1, 2, -1
LABELS = DataSettings(source=CsvFile(path="x.csv"), target="y", task="multiclass", time="at")
NUMBERS = DataSettings(source=CsvFile(path="x.csv"), target="y", task="regression")
DAYS = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(100)]


def _table(labels: Sequence[str | float | None], **columns: Sequence[object]) -> pa.Table:
    """Return rows that are all different, with a label each."""
    columns = {"id": [str(n) for n in range(len(labels))], **columns}
    return pa.table({**columns, "y": labels})


def _at(times: Sequence[datetime | None]) -> pa.Table:
    naive = [None if at is None else at.replace(tzinfo=None) for at in times]
    return pa.table(
        {"at": pa.array(naive, pa.timestamp("us")), "y": [f"{n % 2}" for n in range(len(times))]}
    )


def _assign(
    table: pa.Table, split: Split, *, data: DataSettings = LABELS, cuts: Sequence[int] = ()
) -> Assignment:
    """Assign the rows in batches that end at `cuts`."""
    assigner = SplitAssigner(split, by=["id"], data=data)
    borders = [0, *sorted(cuts), table.num_rows]
    for first, last in pairwise(borders):
        assigner.add(table[first:last])
    return assigner.finish()


def _labels(*, seed: int = 0, **counts: int) -> list[str]:
    labels = [word for word, n in counts.items() for _ in range(n)]
    return np.random.default_rng(seed).permutation(labels).tolist()


def _per_split(assigned: npt.NDArray[np.int8], labels: Sequence[object]) -> dict[str, Counter]:
    return {
        name: Counter(label for label, place in zip(labels, assigned, strict=True) if place == n)
        for n, name in enumerate(SPLITS)
    }


@pytest.mark.parametrize(
    "split",
    [
        HashSplit(val=0.3, test=0.3),
        StratifiedSplit(val=0.3, test=0.3),
        GroupSplit(val=0.3, test=0.3, columns=("shop", "city")),
        TimeSplit(val_days=20, test_days=20, gap_days=2),
        PredefinedSplit(column="fold"),
    ],
    ids=lambda split: split.kind,
)
@given(cuts=st.lists(st.integers(0, 100), max_size=5))
def test_where_batches_end_does_not_count(split: Split, cuts: list[int]) -> None:
    folds = [["train", "val", "test", "later", None][n * 7 % 5] for n in range(100)]
    table = _at(DAYS)
    table = table.append_column("id", pa.array([f"row {n}" for n in range(100)]))
    table = table.append_column("shop", pa.array([f"shop {n % 17}" for n in range(100)]))
    table = table.append_column(
        "city", pa.array([f"{n % 3}" if n % 5 else None for n in range(100)])
    )
    table = table.append_column("fold", pa.array(folds))

    at_once, in_parts = _assign(table, split), _assign(table, split, cuts=cuts)

    assert in_parts.splits.tolist() == at_once.splits.tolist()
    assert (in_parts.counts, in_parts.warnings) == (at_once.counts, at_once.warnings)


@pytest.mark.parametrize("kind", [HashSplit, StratifiedSplit, GroupSplit])
@pytest.mark.parametrize("data", [LABELS, NUMBERS], ids=["classes", "regression"])
def test_the_order_of_rows_does_not_count(kind: type, data: DataSettings) -> None:
    random = np.random.default_rng(0)
    y = random.normal(size=500) if data is NUMBERS else random.choice(["a", "b"], 500).tolist()
    split = kind(columns=("id",)) if kind is GroupSplit else kind()
    table, order = _table(y), random.permutation(500)

    before = _assign(table, split, data=data).splits
    after = _assign(table.take(pa.array(order)), split, data=data).splits

    assert (after == before[order]).all()


@pytest.mark.parametrize("split", [HashSplit(), GroupSplit(columns=("id",))])
def test_new_rows_move_none_of_a_hash_or_group_split(split: Split) -> None:
    table = _table(_labels(a=700, b=300))

    before, after = _assign(table[:600], split), _assign(table, split)

    assert (after.splits[:600] == before.splits).all()


@pytest.mark.parametrize(("val", "test"), [(0.15, 0.15), (0.1, 0.25), (0.3, 0.01)])
def test_a_stratified_split_has_the_class_counts_of_scikit_learn_but_for_one_row(
    val: float, test: float
) -> None:
    labels = _labels(a=1210, b=384, c=69, d=65)
    assigned = _assign(_table(labels), StratifiedSplit(val=val, test=test)).splits

    n_rows = len(labels)
    shuffled = StratifiedShuffleSplit(1, test_size=round(n_rows * test), random_state=0)
    rest, tests = next(shuffled.split(np.zeros(n_rows), labels))
    shuffled = StratifiedShuffleSplit(1, test_size=round(n_rows * val), random_state=0)
    _, vals = next(shuffled.split(rest, [labels[row] for row in rest]))
    expected = {"val": rest[vals], "test": tests}
    ours = _per_split(assigned, labels)
    for name, rows in expected.items():
        theirs = Counter(labels[row] for row in rows)
        assert all(abs(ours[name][label] - theirs[label]) <= 1 for label in "abcd"), name


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(3, 60), min_size=1),
    st.sampled_from([(0.15, 0.15), (0.4, 0.5), (0.01, 0.3)]),
    st.integers(0, 9),
)
def test_a_class_with_three_rows_is_in_every_split_with_its_share(
    counts: dict[str, int], shares: tuple[float, float], seed: int
) -> None:
    val, test = shares
    labels = _labels(**counts)

    assigned = _assign(_table(labels), StratifiedSplit(val=val, test=test, seed=seed))

    found = _per_split(assigned.splits, labels)
    for label, n_rows in counts.items():
        for name, share in (("val", val), ("test", test)):
            assert found[name][label] >= 1
            assert abs(found[name][label] - n_rows * share) <= 1.001 or found[name][label] == 1
        assert found["train"][label] >= 1


@pytest.mark.parametrize("n_rows", [1, 2])
@pytest.mark.parametrize("shares", [(0.15, 0.15), (0.5, 0.45)])
def test_a_class_of_one_or_two_rows_has_one_to_train_on(
    n_rows: int, shares: tuple[float, float]
) -> None:
    labels = ["rare"] * n_rows + ["usual"] * 50

    assigned = _assign(_table(labels), StratifiedSplit(val=shares[0], test=shares[1]))

    assert _per_split(assigned.splits, labels)["train"]["rare"] >= 1


def test_equal_rows_of_a_class_stay_together_in_a_stratified_split() -> None:
    ids = [str(n // 7) for n in range(700)]

    assigned = _assign(_table(["a"] * 700, id=ids), StratifiedSplit()).splits

    assert all(len(set(assigned[n : n + 7])) == 1 for n in range(0, 700, 7))
    assert abs(np.count_nonzero(assigned == TEST) - 105) <= 4


def test_a_stratified_regression_has_a_tenth_of_each_split_in_each_decile() -> None:
    y = np.random.default_rng(0).lognormal(size=5000)

    assigned = _assign(_table(y), StratifiedSplit(val=0.2, test=0.1), data=NUMBERS).splits

    deciles = np.searchsorted(np.quantile(y, np.arange(1, 10) / 10), y)
    for place, expected in ((VAL, 100), (TEST, 50)):
        counts = np.bincount(deciles[assigned == place], minlength=10)
        assert np.abs(counts - expected).max() <= 1


@pytest.mark.parametrize("n_rows", [20, 37])
def test_a_small_regression_has_the_shares_asked_for(n_rows: int) -> None:
    y = np.random.default_rng(0).normal(size=n_rows)

    counts = _assign(_table(y), StratifiedSplit(val=0.2, test=0.2), data=NUMBERS).counts

    assert abs(counts["val"] - 0.2 * n_rows) <= 3
    assert abs(counts["test"] - 0.2 * n_rows) <= 3


def test_a_regression_with_one_value_in_most_rows_is_split_by_its_shares() -> None:
    y = [0.0] * 900 + [float(n) for n in range(1, 101)]

    counts = _assign(_table(y), StratifiedSplit(val=0.2, test=0.1), data=NUMBERS).counts

    assert abs(counts["val"] - 200) <= 2
    assert abs(counts["test"] - 100) <= 2


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.none() | st.integers(0, 9)), min_size=1))
def test_rows_of_one_group_are_in_one_split(groups: list[tuple[str, int | None]]) -> None:
    shops, cities = zip(*groups, strict=True)
    table = pa.table({"shop": shops, "city": pa.array(cities, pa.int64()).cast(pa.string())})

    assigned = assign_splits(table, [], GroupSplit(columns=("shop", "city")))

    places: dict[tuple[str, int | None], set[int]] = {}
    for group, place in zip(groups, assigned.tolist(), strict=True):
        places.setdefault(group, set()).add(place)
    assert all(len(place) == 1 for place in places.values())


def test_a_group_split_is_the_hash_split_of_its_columns() -> None:
    table = car_evaluation()

    by_group = assign_splits(table, list(ATTRIBUTES), GroupSplit(columns=("doors", "safety")))

    assert (by_group == assign_splits(table, ["doors", "safety"], HashSplit())).all()


def test_the_shares_of_groups_are_those_asked_for_within_four_deviations() -> None:
    n_groups = 20_000
    table = pa.table({"shop": [str(n) for n in range(n_groups)]})

    assigned = assign_splits(table, [], GroupSplit(columns=("shop",), val=0.1, test=0.2))

    for place, share in ((VAL, 0.1), (TEST, 0.2)):
        deviation = (n_groups * share * (1 - share)) ** 0.5
        assert abs(np.count_nonzero(assigned == place) - n_groups * share) < 4 * deviation


def test_cut_dates_are_the_first_days_of_val_and_test() -> None:
    split = TimeSplit(val_from=date(2024, 2, 1), test_from=date(2024, 3, 1))
    midnight = datetime(2024, 2, 1, tzinfo=UTC)
    table = _at([*DAYS, midnight - timedelta(microseconds=1)])

    assigned = _assign(table, split).splits

    assert assigned[:100].tolist() == [TRAIN] * 31 + [VAL] * 29 + [TEST] * 40
    assert assigned[100] == TRAIN


def test_lengths_are_counted_back_from_the_newest_row() -> None:
    split = TimeSplit(val_days=7, test_days=3)

    assigned = _assign(_at(DAYS[::-1]), split).splits

    assert assigned.tolist() == [TEST] * 3 + [VAL] * 7 + [TRAIN] * 90


@pytest.mark.parametrize(
    "split",
    [
        TimeSplit(val_days=7, test_days=3, gap_days=2),
        TimeSplit(val_from=date(2024, 3, 31), test_from=date(2024, 4, 7), gap_days=2),
    ],
    ids=["lengths", "dates"],
)
def test_nobody_uses_the_rows_of_the_gaps(split: TimeSplit) -> None:
    assigned = _assign(_at(DAYS), split)

    expected = [TRAIN] * 88 + [UNUSED] * 2 + [VAL] * 5 + [UNUSED] * 2 + [TEST] * 3
    assert assigned.splits.tolist() == expected
    assert assigned.n_unused == 4
    assert assigned.counts == {"train": 88, "val": 5, "test": 3}


def test_rows_of_one_instant_are_not_parted() -> None:
    times = [day for day in DAYS for _ in range(3)]

    assigned = _assign(_at(times), TimeSplit(val_days=6.5, test_days=3.5)).splits

    assert (assigned.reshape(100, 3) == assigned[::3, None]).all()


def test_times_before_1970_are_the_oldest() -> None:
    times = [datetime(1905, 5, 5, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC), *DAYS]

    assigned = _assign(_at(times), TimeSplit(val_days=7, test_days=90)).splits

    assert assigned.tolist() == [TRAIN] * 5 + [VAL] * 7 + [TEST] * 90


def test_rows_without_a_time_are_refused_with_their_count() -> None:
    table = _at([*DAYS, None, None])

    with pytest.raises(ContractError, match=r"column 'at': 2 rows have no time") as caught:
        _assign(table, TimeSplit(val_days=7, test_days=7), cuts=[101])

    assert caught.value.violations[0].n_rows == 2


def test_words_name_the_split_and_rows_with_others_are_counted() -> None:
    folds = ["train", "dev", "eval", "train", "holdout", None, "later", "later", "fit"]
    split = PredefinedSplit(column="fold", train=("train", "fit"), val=("dev",), test=("eval",))

    assigned = _assign(_table([1.0] * 9, fold=folds), split, data=NUMBERS)

    assert assigned.splits.tolist() == [TRAIN, VAL, TEST, TRAIN, *[UNUSED] * 4, TRAIN]
    (warning,) = assigned.warnings
    assert "3 rows hold another word, 'later', 'holdout'" in warning
    assert "1 row holds none" in warning


def test_a_thousand_other_words_make_a_short_warning() -> None:
    folds = ["train", "val", "test", *(f"word {n}" for n in range(5000))]

    assigned = _assign(
        _table([1.0] * 5003, fold=folds), PredefinedSplit(column="fold"), data=NUMBERS
    )

    assert "5,000 rows hold another word" in assigned.warnings[0]
    assert len(assigned.warnings[0]) < 250


def _refusal(table: pa.Table, split: Split) -> str:
    with pytest.raises(ContractError) as caught:
        _assign(table, split)
    return str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: (_table(["a"] * 3), HashSplit(val=0.001, test=0.001)),
            r"column 'y': no row falls into val and test: `split` takes val 0.001 and test 0.001 "
            r"by the hash of id. Gather more different rows, or take larger shares",
        ),
        (
            lambda: (_table(["a"] * 2), StratifiedSplit()),
            r"no row falls into val and test: `split` takes val 0.15 and test 0.15 of each class",
        ),
        (
            lambda: (_table(["a"] * 50, shop=["x", "y"] * 25), GroupSplit(columns=("shop",))),
            r"column 'shop': no row falls into .*: .* of 2 groups by the hash of shop. "
            r"Gather more groups",
        ),
        (
            lambda: (_at(DAYS), TimeSplit(val_from=date(2024, 2, 1), test_from=date(2025, 1, 1))),
            r"column 'at': no row falls into test: the rows are from 2024-01-01 00:00 to "
            r"2024-04-09 00:00, and `split` has val from 2024-02-01 00:00 and test from "
            r"2025-01-01 00:00. Change the cuts",
        ),
        (
            lambda: (_at(DAYS), TimeSplit(val_days=50, test_days=80)),
            r"no row falls into train: .* Change the lengths",
        ),
        (
            lambda: (_at(DAYS), TimeSplit(val_days=5, test_days=5, gap_days=9)),
            r"no row falls into val: .* after gaps of 9 days. Change the lengths or "
            r"`split.gap_days`",
        ),
        (
            lambda: (
                _table(["a"] * 3, fold=["train", "valid", "test"]),
                PredefinedSplit(column="fold"),
            ),
            r"column 'fold': no row falls into val: .* val as 'val', test as 'test'; it also "
            r"holds 'valid'. Set the words in `split`",
        ),
    ],
    ids=["hash", "stratified", "group", "dates", "lengths", "gap", "predefined"],
)
def test_an_empty_split_is_refused_with_what_to_do(
    make: Callable[[], tuple[pa.Table, Split]], message: str
) -> None:
    table, split = make()

    assert re.search(message, _refusal(table, split))


def test_a_table_without_rows_is_refused_where_the_target_is_known() -> None:
    with pytest.raises(ContractError, match=r"no row falls into train and val and test"):
        SplitAssigner(HashSplit(), by=["id"], data=LABELS).finish()


def _folds(**counts: tuple[int, int, int]) -> pa.Table:
    """Return rows with as many of each class in train, val and test."""
    rows = [(word, SPLITS[n]) for word, c in counts.items() for n in range(3) for _ in range(c[n])]
    labels, folds = zip(*rows, strict=True)
    return _table(labels, fold=folds)


def test_a_class_with_few_rows_in_a_split_is_named_with_its_numbers() -> None:
    table = _folds(good=(60, 20, 20), vgood=(60, 2, 3), bad=(500, 0, 2))

    warnings = _assign(table, PredefinedSplit(column="fold")).warnings

    assert warnings == (
        "class 'vgood' has 2 of its 65 rows in val",
        "class 'bad' has 0 of its 502 rows in val and 2 of its 502 rows in test",
    )


def test_a_class_with_much_less_than_the_share_of_a_split_is_named() -> None:
    table = _folds(a=(500, 200, 200), b=(500, 9, 200))

    warnings = _assign(table, PredefinedSplit(column="fold")).warnings

    assert warnings == ("class 'b' has 9 of its 709 rows in val",)


def test_five_rare_classes_are_named_and_the_others_counted() -> None:
    table = _folds(usual=(50, 20, 20), **{f"rare{n}": (9, 0, 5) for n in range(8)})

    warnings = _assign(table, PredefinedSplit(column="fold")).warnings

    assert len(warnings) == 6
    assert warnings[-1] == "3 more classes have few rows in a split"


def test_classes_of_a_size_are_nothing_to_warn_of() -> None:
    labels = _labels(a=1210, b=384, c=69, d=65)

    assert _assign(_table(labels), StratifiedSplit()).warnings == ()


def test_more_classes_than_a_byte_holds_are_told_apart() -> None:
    labels = [f"class {n % 300}" for n in range(3000)]

    assigned = _assign(_table(labels), StratifiedSplit(val=0.2, test=0.3), cuts=[150, 1000]).splits

    found = _per_split(assigned, labels)
    assert set(found["test"].values()) == {3}
    assert set(found["val"].values()) == {2}


def test_a_table_in_memory_is_assigned_as_its_batches_are() -> None:
    table = _table(_labels(a=300, b=100))

    assigned = assign_splits(table, ["id"], StratifiedSplit(), data=LABELS)

    assert (assigned == _assign(table, StratifiedSplit(), cuts=[7, 200]).splits).all()
