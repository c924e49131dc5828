"""What a column's own settings ask of its values: that there is one, and that it is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.columns import (
    BooleanColumn,
    CategoryColumn,
    Column,
    DatetimeColumn,
    HashColumn,
    NumberColumn,
)
from pipeline_lib.config.times import format_problem
from pipeline_lib.data.values.casts import ReadColumn, arrow_type
from pipeline_lib.data.values.datetimes import read_bound, utc_as_local
from pipeline_lib.data.values.violations import BrokenRows, positions, rows_where
from pipeline_lib.data.values.zones import is_known_zone
from pipeline_lib.errors import ConfigError, ConfigProblem
from pipeline_lib.shown import hashed
from pipeline_lib.wording import examples

NULLABLE = "fill them in the source, or declare the column `nullable: true`"


@dataclass(frozen=True)
class ColumnRules:
    """The rules of one column, ready to look at any number of batches.

    `way_out` is what a message about rows without a value advises, `format_key`
    the setting that a datetime's format is from. Its `latest` without a clock is its day's end.

    Raises:
        ConfigError: a datetime's format or bound cannot be read.
    """

    name: str
    column: Column
    way_out: str = NULLABLE
    format_key: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.column, DatetimeColumn):
            _bounds(self.name, self.column, self.column.time_zone)
            if self.column.format and (problem := format_problem(self.column.format)):
                key = self.format_key or f"columns.{self.name}.format"
                raise _config_error(key, problem)

    def broken_rows(self, read: ReadColumn) -> list[BrokenRows]:
        """Return the rows whose value breaks a rule; what could not be read breaks none here."""
        values = read.values
        found: list[BrokenRows] = []
        if not self.column.nullable and values.null_count:
            found += without_value(read, "nullable", f"have no value; {self.way_out}")
        match self.column:
            case CategoryColumn(allowed=words) if words is not None:
                known = pc.is_in(values, value_set=pa.array(words, pa.string()))
                odd = pc.and_(pc.invert(known), pc.is_valid(values))
                few = map(hashed, words) if self.column.hides_values else words
                after = f"; allowed are {examples(few)}"
                found += rows_where(odd, values, "allowed", "hold ", after)
            case NumberColumn(minimum=low, maximum=high):
                shown = [None if bound is None else f"{bound:g}" for bound in (low, high)]
                found += _outside(values, low, high, shown)
            case DatetimeColumn():
                zone = _clock(read, self.column)
                low, high = _bounds(self.name, self.column, zone)
                shown = [self.column.earliest, self.column.latest]
                found += _outside(values, low, high, shown, zone)
            case CategoryColumn() | HashColumn() | BooleanColumn():
                pass
            case _:
                assert_never(self.column)
        return found


def without_value(read: ReadColumn, rule: str, message: str) -> list[BrokenRows]:
    """Return the rows that came without a value, not those whose value could not be read."""
    is_null = pc.is_null(read.values).to_numpy()
    for unreadable in read.broken:
        is_null[unreadable.rows] = False
    mask = pa.chunked_array([pa.array(is_null)])
    rows = positions(mask)
    return [BrokenRows(rule, rows, (), message)] if len(rows) else []


def _outside(
    values: pa.ChunkedArray,
    low: "float | datetime | None",
    high: "float | datetime | None",
    shown: list[str | None],
    zone: str | None = None,
) -> list[BrokenRows]:
    kind = values.type
    below = None if low is None else pc.less(values, pa.scalar(low, kind))
    above = None if high is None else pc.greater(values, pa.scalar(high, kind))
    if below is None and above is None:
        return []
    first, last = shown
    if below is None:
        odd, after = above, f", more than {last}"
    elif above is None:
        odd, after = below, f", less than {first}"
    else:
        odd, after = pc.or_(below, above), f", outside {first} to {last}"
    if zone is not None and pc.any(odd).as_py():
        values = utc_as_local(values, zone)
    return rows_where(odd, values, "range", "hold ", after)


def _clock(read: ReadColumn, column: DatetimeColumn) -> str | None:
    """Return the zone that bounds without one are of."""
    zone = column.time_zone or read.clocks.of_type
    return zone if zone is not None and is_known_zone(zone) else None


def _bounds(
    name: str, column: DatetimeColumn, zone: str | None
) -> tuple[datetime | None, datetime | None]:
    found: list[datetime | None] = []
    for key, text in (("earliest", column.earliest), ("latest", column.latest)):
        bound = None if text is None else read_bound(text, is_last=key == "latest", zone=zone)
        if text is not None and bound is None:
            rule = f"{text!r} is no ISO 8601 date or time"
            raise _config_error(f"columns.{name}.{key}", rule)
        found.append(bound)
    earliest, latest = found
    if earliest and latest and earliest > latest:
        rule = f"{column.earliest} is after `latest`, {column.latest}"
        raise _config_error(f"columns.{name}.earliest", rule)
    return earliest, latest


def _config_error(key: str, rule: str) -> ConfigError:
    return ConfigError([ConfigProblem("the contract", key, rule)])


def hidden_columns(columns: Mapping[str, Column]) -> frozenset[str]:
    """Return the columns whose values no message quotes."""
    return frozenset(name for name, column in columns.items() if column.hides_values)


def schema_of(columns: "dict[str, Column]") -> pa.Schema:
    """Return the Arrow schema of typed columns."""
    return pa.schema([(name, arrow_type(column)) for name, column in columns.items()])
