"""A profile is the same whatever the batches, small, and read back as it was written."""

import json
import math
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.columns import (
    BooleanColumn,
    CategoryColumn,
    NumberColumn,
)
from pipeline_lib.errors import StorageError
from pipeline_lib.monitoring.profile import (
    Profile,
)
from tests.unit.monitoring.profiles import KINDS, profiled


@given(st.lists(st.integers(0, 3000), max_size=5), st.integers(0, 2**32 - 1))
def test_batch_borders_change_nothing(borders: list[int], seed: int) -> None:
    from pipeline_lib.monitoring import profile as module

    # Given pages of 1,000 rows, so that a few rows fill several
    random = np.random.default_rng(seed)
    n_rows = 3000
    table = pa.table(
        {
            "word": pa.array(random.integers(0, 2000, n_rows).astype(str)),
            "number": pa.array(random.normal(size=n_rows), mask=random.random(n_rows) < 0.1),
            "flag": random.random(n_rows) < 0.5,
        }
    )
    columns = {"word": CategoryColumn(), "number": NumberColumn(), "flag": BooleanColumn()}
    known = {"word": pa.array(["1", "2"])}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAGE_ROWS", 1000)
        at_once = profiled(table, columns, known=known)
        in_parts = profiled(table, columns, borders=borders, known=known)

    assert in_parts == at_once


@given(
    st.dictionaries(
        st.text(max_size=5) | st.sampled_from(["..", "a|b", "accuracy", "\n"]),
        st.sampled_from(sorted(KINDS)),
        max_size=4,
    ),
    st.integers(0, 30),
)
def test_json_leads_back_to_the_same_profile(kinds: dict[str, str], n_rows: int) -> None:
    random = np.random.default_rng(n_rows)
    numbers = [None if random.random() < 0.2 else i for i in random.integers(-9, 9, n_rows)]
    values = {
        "category": [None if n is None else f"w{n}" for n in numbers],
        "number": [None if n is None else n / 3 for n in numbers],
        "boolean": [None if n is None else bool(n > 0) for n in numbers],
        "datetime": [
            None if n is None else datetime.fromisoformat(f"2020-01-{10 + n:02}") for n in numbers
        ],
    }
    table = pa.table(
        [pa.array(values[kind], KINDS[kind][1]) for kind in kinds.values()], names=list(kinds)
    )
    if not kinds:
        table = pa.table({"other": pa.nulls(n_rows)})

    profile = profiled(table, {name: KINDS[kind][0] for name, kind in kinds.items()})

    text = json.dumps(profile.to_json(), allow_nan=False)
    assert Profile.from_json(json.loads(text)) == profile
    assert Profile.from_json(json.loads(text)).digest == profile.digest


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: p.pop("n_rows"), "n_rows"),
        (lambda p: p.update(version=2), "version 2"),
        (lambda p: p.update(more=1), "more"),
        (lambda p: p["columns"]["x"].update(n_null=7), "do not add up"),
        (lambda p: p["columns"]["x"]["buckets"].pop(), "256"),
        (lambda p: p["columns"]["y"]["leaves"]["shifts"].append(1), "different lengths"),
        (lambda p: p["columns"]["y"]["leaves"].update(prefixes=[5, 4]), "out of order"),
        (lambda p: p["columns"]["y"].update(mean=math.nan), "mean"),
    ],
)
def test_a_damaged_profile_is_refused_with_its_reason(damage, said: str) -> None:
    table = pa.table({"x": ["a", "b"], "y": [1.0, 2.0]})
    tree = profiled(table, {"x": CategoryColumn(), "y": NumberColumn()}).to_json()
    damage(tree)

    with pytest.raises(StorageError, match=said):
        Profile.from_json(tree)


@pytest.mark.parametrize("value", [None, [], "text", 3])
def test_what_is_no_profile_at_all_is_refused(value) -> None:
    with pytest.raises(StorageError, match="version None"):
        Profile.from_json(value)


def test_300_000_long_words_and_numbers_stay_below_20_kilobytes_each() -> None:
    numbers = np.random.default_rng(0).standard_cauchy(300_000)
    table = pa.table({"x": [f"{'😀' * 60}{i}" for i in range(300_000)], "y": numbers})

    profile = profiled(table, {"x": CategoryColumn(), "y": NumberColumn()})

    columns = profile.to_json()["columns"]
    assert all(len(json.dumps(columns[name])) < 30_000 for name in ("x", "y"))
    assert all(len(json.dumps(columns[n], ensure_ascii=False).encode()) < 20_000 for n in "xy")


def test_no_rows_make_an_empty_profile() -> None:
    table = pa.table({"x": pa.array([], pa.string()), "y": pa.array([], pa.float64())})

    profile = profiled(table, {"x": CategoryColumn(), "y": NumberColumn()})

    assert profile.n_rows == 0
    assert Profile.from_json(profile.to_json()) == profile
