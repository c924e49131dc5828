"""Profiles of tables and columns of tests."""

import itertools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline_lib.config.columns import (
    BooleanColumn,
    CategoryColumn,
    Column,
    DatetimeColumn,
    NumberColumn,
)
from pipeline_lib.monitoring.profile import (
    CategoryProfile,
    ColumnProfile,
    NumberProfile,
    Profile,
    Profiler,
)

KINDS: dict[str, tuple[Column, pa.DataType]] = {
    "category": (CategoryColumn(), pa.string()),
    "number": (NumberColumn(), pa.float64()),
    "boolean": (BooleanColumn(), pa.bool_()),
    "datetime": (DatetimeColumn(), pa.timestamp("us")),
}


def profiled(
    table: pa.Table,
    columns: dict[str, Column],
    *,
    borders: Sequence[int] = (),
    time: str | None = None,
    known: dict[str, pa.Array] | None = None,
) -> Profile:
    table = table.append_column("the target", pa.array([0.0] * len(table), pa.float64()))
    profiler = Profiler(columns, target="the target", task="regression", time=time, known=known)
    edges = [0, *sorted(borders), len(table)]
    for start, end in itertools.pairwise(edges):
        profiler.add(table.slice(start, end - start))
    return profiler.finish()


def column_profile(values: Sequence[object] | np.ndarray, kind: str = "category") -> ColumnProfile:
    column, arrow_type = KINDS[kind]
    return profiled(pa.table({"x": pa.array(values, arrow_type)}), {"x": column}).columns["x"]


def category_profile(values: Sequence[object] | np.ndarray) -> CategoryProfile:
    profile = column_profile(values)
    assert isinstance(profile, CategoryProfile)
    return profile


def number_profile(values: Sequence[object] | np.ndarray) -> NumberProfile:
    profile = column_profile(values, "number")
    assert isinstance(profile, NumberProfile)
    return profile
