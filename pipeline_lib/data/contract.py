"""What the table must look like: the config's `columns` and `data.target`, held against rows.

`conform` gives columns their declared types and is used by training and prediction alike;
`check_rows` adds the rules that only rows to learn from must keep.
"""

import math
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config import (
    CategoryColumn,
    Column,
    DataSettings,
    NumberColumn,
    ValidationSettings,
)
from pipeline_lib.errors import (
    MAX_EXAMPLES,
    ContractError,
    MissingColumnError,
    SourceError,
    Violation,
    examples,
)

_MAX_EXACT = float(2**53)


def require_columns(table: pa.Table, names: Sequence[str], *, source: str) -> None:
    """Check that columns are there.

    Raises:
        MissingColumnError: naming each that is not, and the nearest one that is.
        ContractError: a column stands twice.
    """
    present = table.column_names
    if double := [name for name in dict.fromkeys(names) if present.count(name) > 1]:
        raise ContractError(
            [Violation(name, "unique", table.num_rows, "stands twice") for name in double],
            source=source,
        )
    if missing := [name for name in names if name not in present]:
        raise MissingColumnError(missing, present=present, source=source)


def conform(table: pa.Table, columns: Mapping[str, Column], *, source: str) -> pa.Table:
    """Return the declared columns, in their order, with their declared types.

    Args:
        table: rows as they came; other columns are left out.
        columns: the contract by column name.
        source: what messages call the table.

    Returns:
        A table of the same length; categories of type string, numbers of type float64.

    Raises:
        MissingColumnError: a declared column is not there.
        ContractError: values that are not what their column is declared to hold.
    """
    require_columns(table, list(columns), source=source)
    typed: dict[str, pa.ChunkedArray] = {}
    violations: list[Violation] = []
    for name, column in columns.items():
        try:
            typed[name] = _typed(table[name], column)
        except _TypeClashError as clash:
            violations.append(Violation(name, clash.rule, clash.n_rows, str(clash)))
    if violations:
        raise ContractError(violations, source=source)
    return pa.table(typed)


def check_rows(
    table: pa.Table,
    columns: Mapping[str, Column],
    data: DataSettings,
    validation: ValidationSettings,
    *,
    source: str,
) -> pa.Table:
    """Return the rows to learn from, typed as `typed_rows` says, every rule kept.

    Raises:
        MissingColumnError: a feature, key column or the target is not there.
        ContractError: a value breaks a rule; each broken rule with column, count and examples.
        SourceError: there are fewer rows than `validation.min_rows`.
    """
    wanted_names = [*columns, data.target, *data.key, *([data.time] if data.time else [])]
    require_columns(table, wanted_names, source=source)
    if table.num_rows < validation.min_rows:
        raise SourceError(
            f"{source} has {table.num_rows} rows, fewer than `validation.min_rows` "
            f"({validation.min_rows})"
        )
    typed = typed_rows(table, columns, data, source=source)
    wanted = {**columns, data.target: target_column(data)}
    violations = [v for name, column in wanted.items() for v in _broken(name, typed[name], column)]
    if not violations and data.task != "regression":
        violations = _poor_classes(typed[data.target], data, validation)
    if violations:
        raise ContractError(violations, source=source)
    return typed


def typed_rows(
    table: pa.Table, columns: Mapping[str, Column], data: DataSettings, *, source: str
) -> pa.Table:
    """Return features, target and key columns with their types; a key counts as words.

    Raises:
        MissingColumnError: one of them is not there.
        ContractError: values that are not what their column is declared to hold.
    """
    keys: dict[str, Column] = {name: CategoryColumn() for name in data.key}
    return conform(table, {**keys, **columns, data.target: target_column(data)}, source=source)


def target_column(data: DataSettings) -> Column:
    """Return what the target has to look like."""
    return NumberColumn() if data.task == "regression" else CategoryColumn(allowed=data.classes)


class _TypeClashError(Exception):
    def __init__(self, message: str, n_rows: int, rule: str = "type") -> None:
        super().__init__(message)
        self.n_rows, self.rule = n_rows, rule


def _typed(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_null(values.type):
        values = values.cast(pa.string())
    if isinstance(column, CategoryColumn):
        return _as_words(values)
    return _finite(_as_numbers(values))


def _as_words(values: pa.ChunkedArray) -> pa.ChunkedArray:
    arrow_type = values.type
    if pa.types.is_floating(arrow_type):
        # pandas turns a column of whole numbers with a gap into floats: 2.0 was written 2.
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, arrow_type), values)
        whole = pc.and_(
            pc.equal(pc.floor(values), values), pc.less(pc.abs(values), pa.scalar(_MAX_EXACT))
        )
        odd = values.filter(pc.invert(whole))
        if len(odd):
            raise _TypeClashError(
                f"{len(odd)} rows hold numbers that are not whole, such as "
                f"{examples(_some(odd))}; a category is text or a whole number",
                len(odd),
            )
        return values.cast(pa.int64()).cast(pa.string())
    plain = (pa.types.is_integer, pa.types.is_boolean, pa.types.is_string)
    if any(test(arrow_type) for test in plain) or pa.types.is_large_string(arrow_type):
        return values.cast(pa.string())
    raise _TypeClashError(f"has the type {arrow_type}, which no category can have", len(values))


def _as_numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    arrow_type = values.type
    if pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type):
        text = pc.utf8_trim_whitespace(values)
        try:
            return text.cast(pa.float64())
        except pa.ArrowInvalid:
            odd = [word for word in text.drop_null().to_pylist() if not _is_number(word)]
            raise _TypeClashError(
                f"{len(odd)} rows hold text that is no number, such as {examples(_some(odd))}",
                len(odd),
            ) from None
    numeric = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    if any(test(arrow_type) for test in numeric):
        return values.cast(pa.float64(), safe=False)
    raise _TypeClashError(f"has the type {arrow_type}, which is no number", len(values))


def _finite(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the numbers with NaN as null; an infinite one is a clash."""
    numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    odd = numbers.filter(pc.is_inf(numbers))
    if len(odd):
        message = f"{len(odd)} rows hold {examples(_some(odd))}, which is not finite"
        raise _TypeClashError(message, len(odd), "finite")
    return numbers


def _is_number(word: str) -> bool:
    try:
        pa.array([word]).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _some(values: "pa.ChunkedArray | list[str]") -> list[object]:
    """Return a few different values, the most frequent first come."""
    every: list[object] = [*values] if isinstance(values, list) else values.to_pylist()
    return list(dict.fromkeys(every))[: MAX_EXAMPLES + 1]


def _broken(name: str, values: pa.ChunkedArray, column: Column) -> list[Violation]:
    found: list[Violation] = []

    def add(rule: str, bad: pa.ChunkedArray, message: str) -> None:
        if len(bad):
            text = f"{len(bad)} rows {message}".replace("{examples}", examples(_some(bad)))
            found.append(Violation(name, rule, len(bad), text))

    if values.null_count and not column.nullable:
        add(
            "nullable",
            values.filter(pc.is_null(values)),
            "have no value; fill them in the source, or declare the column `nullable: true`",
        )
    match column:
        case CategoryColumn():
            if column.allowed is not None:
                known = pc.is_in(values, value_set=pa.array(column.allowed, pa.string()))
                odd = values.filter(pc.and_(pc.invert(known), pc.is_valid(values)))
                add(
                    "allowed",
                    odd,
                    f"hold {{examples}}; allowed are {examples(column.allowed)}",
                )
        case NumberColumn():
            low = -math.inf if column.minimum is None else column.minimum
            high = math.inf if column.maximum is None else column.maximum
            inside = pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))
            add(
                "range",
                values.filter(pc.invert(inside)),
                f"hold {{examples}}, outside {low:g} to {high:g}",
            )
    return found


def _poor_classes(
    labels: pa.ChunkedArray, data: DataSettings, validation: ValidationSettings
) -> list[Violation]:
    counts = {str(e["values"]): int(e["counts"]) for e in labels.value_counts().to_pylist()}
    found: list[Violation] = []
    if len(counts) < 2:
        only = examples(counts)
        message = f"holds one class only, {only}; there is nothing to learn"
        found.append(Violation(data.target, "classes", len(labels), message))
    if data.task == "binary" and len(counts) > 2:
        message = (
            f"holds {len(counts)} classes ({examples(counts)}); a binary task has 2. "
            "Set `data.task: multiclass`"
        )
        found.append(Violation(data.target, "classes", len(labels), message))
    for label, n_rows in counts.items():
        if n_rows < validation.min_rows_per_class:
            rows = f"{n_rows} {'row' if n_rows == 1 else 'rows'}"
            message = (
                f"class {examples([label])} has {rows}; at least "
                f"{validation.min_rows_per_class} are needed (`validation.min_rows_per_class`). "
                "Drop the class, merge it with another, or gather more rows"
            )
            found.append(Violation(data.target, "min_rows_per_class", n_rows, message))
    return found
