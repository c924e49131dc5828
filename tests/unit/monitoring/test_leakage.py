"""Columns that know the target: found with their numbers, and honest ones left in peace."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.columns import CategoryColumn, NumberColumn
from pipeline_lib.config.data import Task
from pipeline_lib.monitoring.formulas import find_formulas
from pipeline_lib.monitoring.leakage import Leak, find_leaks, leaks_in

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
N = 4000


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def words(codes: np.ndarray, prefix: str = "w") -> pa.Array:
    return pa.array([f"{prefix}{code}" for code in codes.tolist()])


def leaks(task: Task, target: object, **features: object) -> dict[str, Leak]:
    """Return the leaks by their first column; the target is called `y`."""
    found = find_leaks(pa.table({**features, "y": target}), list(features), "y", task)
    return {leak.columns[0]: leak for leak in found}


def test_a_column_that_agrees_with_the_class_nearly_always_is_a_leak_and_tells_how_often() -> None:
    y = random().integers(0, 2, N)
    wrong = random(1).permutation(N) < N // 200  # half a percent

    found = leaks("binary", words(y), late=words(np.where(wrong, 1 - y, y), "late"))

    base = max(y.mean(), 1 - y.mean())
    assert found["late"].kind == "predicts"
    assert found["late"].score == pytest.approx((0.995 - base) / (1 - base), abs=1e-3)
    assert "99.50%" in found["late"].reason


def test_a_column_that_is_right_in_95_percent_of_rows_is_a_strong_feature_and_no_leak() -> None:
    y = random().integers(0, 2, N)
    wrong = random(1).random(N) < 0.05

    assert leaks("binary", words(y), strong=words(np.where(wrong, 1 - y, y))) == {}


def test_of_a_rare_class_it_counts_how_many_of_its_rows_are_found() -> None:
    y = (random().permutation(N) < 40).astype(int)  # one percent
    half_known = np.where(random(1).random(N) < 0.5, y, 0)

    found = leaks("binary", words(y), known=words(y, "k"), half=words(half_known, "h"))

    assert set(found) == {
        "known"
    }  # `half` is right in 99.5 % of rows, as nobody would be surprised


def test_whether_a_value_is_there_can_be_the_leak() -> None:
    y = random().integers(0, 2, N)
    reasons = random(1).integers(0, 7, N)
    cancelled = pa.array(
        [f"r{r}" if is_gone else None for r, is_gone in zip(reasons, y, strict=True)]
    )

    assert leaks("binary", words(y), cancel_reason=cancelled)["cancel_reason"].kind == "predicts"


def test_an_id_cannot_cheat_by_remembering_each_row() -> None:
    y = random().integers(0, 2, N)

    found = leaks("binary", words(y), row=words(np.arange(N)))

    assert found["row"].kind == "id"
    assert found["row"].score == 1.0


def test_an_id_cannot_cheat_where_every_row_stands_three_times() -> None:
    y = random().integers(0, 2, N)
    thrice = np.tile(np.arange(N), 3)

    assert leaks("binary", words(y[thrice]), row=words(thrice)) == {}


def test_an_entity_with_many_rows_of_one_class_is_a_leak() -> None:
    patients = random().integers(0, 100, N)
    illness = random(1).integers(0, 2, 100)

    found = leaks(
        "binary", words(illness[patients]), patient=words(patients), age=random(2).random(N)
    )

    assert set(found) == {"patient"}


def test_a_renaming_of_the_classes_is_a_copy_that_shows_the_words() -> None:
    y = random().integers(0, 3, N)

    found = leaks("multiclass", words(y, "class"), code=words(y + 10, "c"), number=y * 5)

    assert found["code"].kind == found["number"].kind == "copy"
    assert "'c10' is 'class0'" in found["code"].reason


def test_a_number_above_a_threshold_is_a_leak() -> None:
    income = random().lognormal(10, 1, N)

    found = leaks("binary", words((income > np.quantile(income, 0.9)).astype(int)), income=income)

    assert found["income"].kind == "predicts"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda a, b, _: a + b, "y = a + b"),
        (lambda a, b, _: b - a, "y = b - a"),
        (lambda a, _, c: 2 * a - 0.5 * c + 3, "y = 2 × a + 3 - 0.5 × c"),
        (lambda a, b, _: a * b, "y = a × b"),
        (lambda a, _, c: 100 * a / c, "y = 100 × a / c"),
    ],
)
def test_columns_that_make_the_target_are_named_in_a_formula(make: object, text: str) -> None:
    a, b, c, other = (random(seed).lognormal(2, 1, N) for seed in range(4))

    found = leaks("regression", make(a, b, c), a=a, b=b, c=c, other=other)  # type: ignore[operator]

    (leak,) = found.values()
    assert leak.kind == "formula"
    assert leak.reason == f"{text}, exactly"
    assert leak.score == pytest.approx(1)


@given(
    chosen=st.lists(st.integers(0, 7), min_size=2, max_size=5, unique=True),
    seed=st.integers(0, 2**16),
)
def test_a_sum_names_exactly_the_columns_that_were_added(chosen: list[int], seed: int) -> None:
    x = random(seed).normal(size=(200, 8))
    weights = random(seed + 1).choice([-3, -1, 1, 2, 5], len(chosen))
    y = x[:, chosen] @ weights

    found = leaks("regression", y, **{f"x{i}": x[:, i] for i in range(8)})

    (leak,) = found.values()
    assert leak.columns == tuple(f"x{i}" for i in sorted(chosen))


def test_a_sum_of_rounded_numbers_is_found_and_called_rounded() -> None:
    net, tax = random().uniform(5, 500, N), random(1).uniform(1, 50, N)

    found = leaks("regression", np.round(net + tax, 1), net=net, tax=tax)

    assert found["net"].reason == "y = net + tax, all but rounded"


def test_a_copy_beside_a_sum_does_not_hide_it() -> None:
    a, b = random().normal(size=N), random(1).normal(size=N)

    found = leaks("regression", a + b, a=a, b=b, cents=100 * (a + b))

    assert {leak.kind: leak.columns for leak in found.values()} == {
        "copy": ("cents",),
        "formula": ("a", "b"),
    }
    assert found["cents"].reason == "y = 0.01 × cents, exactly"


def test_a_copy_on_another_scale_is_found_by_its_order() -> None:
    y = random().lognormal(3, 2, N)

    assert leaks("regression", y, decibel=10 * np.log10(y + 7) + 1)["decibel"].kind == "copy"


def test_a_noisy_copy_with_a_heavy_tail_is_found() -> None:
    y = random().lognormal(3, 2, N)

    found = leaks("regression", y, logged=np.log(y) + random(1).normal(0, 0.05, N))

    assert found["logged"].kind == "predicts"


def test_what_explains_94_percent_of_the_variance_is_a_strong_feature() -> None:
    x = random().normal(size=N)
    noise = random(1).normal(0, np.sqrt(0.06 / 0.94), N)

    assert leaks("regression", x + noise, x=x) == {}


def test_as_many_columns_as_rows_add_up_to_anything_and_are_no_formula() -> None:
    x = random().normal(size=(60, 80))

    assert (
        leaks("regression", random(1).normal(size=60), **{f"x{i}": x[:, i] for i in range(80)})
        == {}
    )


def test_a_counter_is_an_id_and_a_measure_with_only_different_values_is_none() -> None:
    found = leaks(
        "regression", random().normal(size=N), instant=np.arange(1, N + 1), size=random(1).random(N)
    )

    assert set(found) == {"instant"}
    assert found["instant"].kind == "id"


def test_a_constant_and_an_empty_column_are_told_apart() -> None:
    found = leaks(
        "binary",
        words(random().integers(0, 2, N)),
        same=pa.array(["x"] * N),
        empty=pa.array([None] * N, pa.string()),
        flag=pa.array(["x", None] * (N // 2)),
    )

    assert found["same"].sentence == "'same': always 'x'"
    assert {name: leak.reason for name, leak in found.items()} == {
        "same": "always 'x'",
        "empty": "no value in any row",
    }


def test_rows_without_a_target_do_not_count() -> None:
    y = [None if i % 3 == 0 else f"c{i % 2}" for i in range(N)]
    x = [f"x{i}" if label is None else label for i, label in enumerate(y)]

    assert leaks("binary", pa.array(y), x=pa.array(x))["x"].kind == "copy"


def test_missing_numbers_do_not_hide_a_sum() -> None:
    a, b = random().normal(size=N), random(1).normal(size=N)
    gaps = np.where(random(2).random(N) < 0.05, np.nan, a)

    assert leaks("regression", a + b, a=gaps, b=b)["a"].columns == ("a", "b")


def test_a_time_is_no_leak_because_its_neighbours_are_alike() -> None:
    walk = random().normal(size=N).cumsum()
    when = pa.array(np.arange(N) * 3_600_000_000, pa.timestamp("us"))

    assert leaks("regression", walk, when=when) == {}


def test_few_rows_prove_nothing() -> None:
    assert leaks("binary", words(np.arange(30) % 2), x=words(np.arange(30) % 2)) == {}


def test_the_same_rows_are_looked_at_every_time() -> None:
    y = random().integers(0, 2, 120_000)
    x = words(np.where(random(1).random(len(y)) < 0.004, 1 - y, y))

    assert leaks("binary", words(y), x=x) == leaks("binary", words(y), x=x) != {}


def test_a_config_s_columns_are_looked_at_and_no_others() -> None:
    y = random().integers(0, 2, N)
    typed = pa.table({"a": words(y), "b": words(y), "n": random(1).random(N), "y": words(y)})

    found = leaks_in(typed, {"a": CategoryColumn(), "n": NumberColumn()}, "y", "binary")

    assert [leak.columns for leak in found] == [("a",)]


@pytest.mark.parametrize(
    ("file", "target", "task", "expected"),
    [
        ("bike_hour", "cnt", "regression", {("instant",), ("casual", "registered")}),
        ("diamonds", "price", "regression", set()),
        ("adult_income", " income", "binary", set()),
        ("open_payments", "status", "binary", set()),
        ("car_evaluation", "output", "multiclass", set()),
    ],
)
def test_of_real_tables_only_what_leaks_is_told(
    file: str, target: str, task: Task, expected: set[tuple[str, ...]]
) -> None:
    path = DATA / f"{file}.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    table = pa_csv.read_csv(path)

    found = find_leaks(table, [n for n in table.column_names if n != target], target, task)

    assert {leak.columns for leak in found} == expected


def test_numbers_whose_squares_are_infinite_are_in_no_formula() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=400)

    huge = find_formulas("y", np.exp(x) * 1e200, {"x": x})
    beside = find_formulas("y", 2 * x, {"x": x, "huge": x * 1e200})

    assert huge == []
    assert [formula.weights for formula in beside] == [{"x": 2.0}]
