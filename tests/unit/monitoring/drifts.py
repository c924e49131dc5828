"""Tables, profiles and past nights to compare, for tests of drift."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.columns import CategoryColumn, Column, DatetimeColumn, NumberColumn
from pipeline_lib.config.validation import DriftSettings
from pipeline_lib.monitoring.drift import compare
from pipeline_lib.monitoring.drift_report import DriftReport, DriftRow, NightRecord
from pipeline_lib.monitoring.profile import Profile, Profiler

NIGHT = date(2024, 6, 1)
SETTINGS = DriftSettings()


def profile_of(
    table: pa.Table, *, known: pa.Table | None = None, time: str | None = None
) -> Profile:
    """Profile columns by their types; the target is `y`, or a constant."""
    if "y" not in table.column_names:
        table = table.append_column("y", pa.array([0.0] * len(table), pa.float64()))
    columns: dict[str, Column] = {}
    for field in table.schema:
        if field.name != "y":
            columns[field.name] = (
                CategoryColumn()
                if pa.types.is_string(field.type)
                else DatetimeColumn()
                if pa.types.is_timestamp(field.type)
                else NumberColumn()
            )
    told = {
        name: pc.unique(known[name].drop_null())
        for name, column in columns.items()
        if known is not None and isinstance(column, CategoryColumn)
    }
    profiler = Profiler(columns, target="y", task="regression", time=time, known=told)
    profiler.add(table)
    return profiler.finish()


def compare_tables(
    before: pa.Table,
    now: pa.Table,
    *,
    history: Sequence[NightRecord] = (),
    settings: DriftSettings = SETTINGS,
) -> DriftReport:
    return compare(
        profile_of(before, known=before),
        profile_of(now, known=before),
        history=history,
        settings=settings,
        run_date=NIGHT,
    )


def row_of(report: DriftReport, aspect: str, column: str = "x") -> DriftRow:
    (row,) = [r for r in report.rows if (r.column, r.aspect) == (column, aspect)]
    return row


def past_night(
    day: int, *, n_rows: int = 1000, effect: float = 0.0, reference: str = "", matters: bool = False
) -> NightRecord:
    mattered = (("x", "distribution"),) if matters else ()
    effects = {"x": {"distribution": effect}}
    return NightRecord(NIGHT - timedelta(days=day), n_rows, reference, effects, mattered)


def profiles_moved_by(share: float) -> tuple[Profile, Profile]:
    random = np.random.default_rng(0)
    now = np.where(random.random(5000) < share, 5.0, random.normal(size=5000))
    return (
        profile_of(pa.table({"x": random.normal(size=5000)})),
        profile_of(pa.table({"x": now})),
    )
