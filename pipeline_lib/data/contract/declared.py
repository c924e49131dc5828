"""Rows read as the contract declares them: which columns, and with which types.

Used by training and prediction alike; which rows break a rule is `checker`'s business.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pyarrow as pa

from pipeline_lib.config.columns import CategoryColumn, Column, DatetimeColumn, NumberColumn
from pipeline_lib.config.data import DataSettings
from pipeline_lib.data.contract.column_clocks import times_without_zone
from pipeline_lib.data.contract.column_rules import hidden_columns
from pipeline_lib.data.values.casts import ReadColumn, read_column
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.data.values.violations import BrokenRules
from pipeline_lib.data.values.written import UnreadableColumnError, is_typed_text
from pipeline_lib.errors import (
    ConfigError,
    ConfigProblem,
    ContractError,
    MissingColumnError,
    Violation,
)
from pipeline_lib.wording import repeated

# The rules of a column, in the order in which they are reported.
_COLUMN_RULES = ("type", "exact", "finite", "nullable", "allowed", "range", "key", "unique")


def require_columns(
    table: pa.Table | pa.RecordBatch,
    names: Sequence[str],
    *,
    source: str,
    named: Callable[[str], str] | None = None,
) -> None:
    """Check that columns are there; `named` gives the setting that names one.

    Raises:
        MissingColumnError: naming each that is not, and the nearest one that is.
        ContractError: a column stands twice.
    """
    present: list[str] = table.schema.names
    wanted = dict.fromkeys(names)
    if double := [name for name in repeated(present) if name in wanted]:
        raise ContractError(
            [Violation(name, "unique", table.num_rows, "stands twice") for name in double],
            source=source,
        )
    known = set(present)
    if missing := [name for name in wanted if name not in known]:
        raise MissingColumnError(missing, present=present, source=source, named=named)


def conform(
    table: pa.Table,
    columns: Mapping[str, Column],
    *,
    source: str,
    zones: Mapping[str, str] | None = None,
    known: Mapping[str, KnownWords] | None = None,
) -> pa.Table:
    """Return the declared columns, in their order, with their declared types.

    Arguments and errors as in `read_conforming`.

    Returns:
        A table of the same length; categories of type string, numbers of type float64, booleans
        of type bool, dates and times of type timestamp[us] in UTC.
    """
    read = read_conforming(table, columns, source=source, zones=zones, known=known)
    return pa.table({name: column.values for name, column in read.items()})


def read_conforming(
    table: pa.Table,
    columns: Mapping[str, Column],
    *,
    source: str,
    zones: Mapping[str, str] | None = None,
    known: Mapping[str, KnownWords] | None = None,
) -> dict[str, ReadColumn]:
    """Read the declared columns, in their order; every value has its declared type.

    Args:
        table: rows as they came; other columns are left out.
        columns: the contract by column name.
        source: what messages call the table.
        zones: the time zones of columns in which times need one.
        known: words whose spelling typed values take, by column; as those of a ledger.

    Raises:
        MissingColumnError: a declared column is not there.
        ContractError: values that are not what their column is declared to hold.
    """
    require_columns(table, list(columns), source=source)
    read = read_declared(table, columns, source=source, known=known)
    hidden = hidden_columns(columns)
    findings = BrokenRules(rules_in_order(columns), hidden=hidden)
    for name, column in read.items():
        for broken in column.broken:
            findings.add(name, "stop", broken, first_row=0, keep_rows=False)
    violations = [*findings.violations(["stop"]), *times_without_zone(read, zones or {}, hidden)]
    if violations:
        raise ContractError(violations, source=source)
    return read


def typed_rows(
    table: pa.Table, columns: Mapping[str, Column], data: DataSettings, *, source: str
) -> pa.Table:
    """Return key, time, features, weight and target with their types; a key counts as words.

    Raises:
        MissingColumnError: one of them is not there.
        ContractError: values that are not what their column is declared to hold.
    """
    return conform(table, declared_columns(columns, data), source=source)


def target_column(data: DataSettings) -> Column:
    """Return what the target has to look like."""
    if data.task == "regression":
        return NumberColumn(severity=data.severity)
    return CategoryColumn(allowed=data.classes, severity=data.severity)


def weight_column(data: DataSettings) -> dict[str, Column]:
    """Return what the weight of each row has to look like, by its name; nothing without one."""
    if data.weight is None:
        return {}
    return {data.weight: NumberColumn(minimum=0, severity=data.severity)}


def declared_columns(columns: Mapping[str, Column], data: DataSettings) -> dict[str, Column]:
    """Return what each column that the config names has to look like, the target as the last.

    Before it stand key, time, features and, if there is one, the weight.

    Raises:
        ConfigError: `data.time` is a feature of another kind than datetime.
    """
    declared: dict[str, Column] = {name: CategoryColumn() for name in data.key}
    if data.time is not None:
        declared[data.time] = DatetimeColumn(format=data.time_format)
        feature = columns.get(data.time)
        if feature is not None and not isinstance(feature, DatetimeColumn):
            rule = f"is `data.time`, so its kind is datetime, not {feature.kind}"
            raise ConfigError([ConfigProblem("the contract", f"columns.{data.time}", rule)])
    return {**declared, **columns, **weight_column(data), data.target: target_column(data)}


def read_declared(
    batch: pa.Table | pa.RecordBatch,
    columns: Mapping[str, Column],
    *,
    source: str,
    known: Mapping[str, KnownWords] | None = None,
) -> dict[str, ReadColumn]:
    """Read columns that are there; whole columns that cannot be read are reported at once."""
    read: dict[str, ReadColumn] = {}
    violations: list[Violation] = []
    for name, column in columns.items():
        values = batch[name]
        chunked = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
        try:
            read[name] = read_column(
                chunked,
                column,
                known=(known or {}).get(name),
                typed_text=is_typed_text(batch.schema.field(name)),
            )
        except UnreadableColumnError as error:
            violations.append(Violation(name, "type", batch.num_rows, str(error)))
    if violations:
        raise ContractError(violations, source=source)
    return read


def rules_in_order(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return each column with each of its rules, as they are reported."""
    return [(name, rule) for name in dict.fromkeys(names) for rule in _COLUMN_RULES]
