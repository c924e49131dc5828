"""TableLike that lie in memory, in the forms that people have them in: one reading for all of them.

A dict or a list of dicts keeps the Python types of its values: a whole number beside a None stays
one, where a DataFrame would have made it a float.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeAlias, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline_lib.config.columns import Column
from pipeline_lib.data.sources.mixed import array_by_value, column_door
from pipeline_lib.data.values.zones import array_of_times
from pipeline_lib.errors import ContractError, UsageError, Violation, door
from pipeline_lib.shown import hashed
from pipeline_lib.wording import MAX_EXAMPLES, examples, repeated

TableLike: TypeAlias = (
    pd.DataFrame | pa.Table | Mapping[str, object] | Sequence[Mapping[str, object]]
)
_ACCEPTED = (
    "rows may be a pandas DataFrame, a pyarrow Table, a list of dicts (one per row), or a dict "
    "(of lists: columns; of single values: one row)"
)


def tabular(rows: TableLike, *, columns: Sequence[str] = ()) -> pd.DataFrame | pa.Table:
    """Return rows as a DataFrame or a Table; either of them comes back as it is.

    Args:
        rows: in one of the forms of `TableLike`. A key that a dict in a list lacks is a null.
        columns: what an empty list has no rows of.

    Raises:
        UsageError: `rows` has another form, or columns of different lengths.
    """
    given: object = rows
    if isinstance(given, pd.DataFrame) and given.columns.nlevels > 1:
        raise UsageError(
            f"the columns of this DataFrame have {given.columns.nlevels} levels; give each one "
            "name: `rows.columns = ['_'.join(map(str, names)) for names in rows.columns]`"
        )
    if isinstance(given, pd.DataFrame | pa.Table):
        return given
    if isinstance(given, pa.RecordBatch):
        return pa.Table.from_batches([given])
    if isinstance(given, Mapping):
        return _of_columns(cast("Mapping[object, object]", given))
    if isinstance(given, list | tuple):
        return _of_records(cast("Sequence[object]", given), columns)
    raise UsageError(f"{_ACCEPTED}; this is {_hint(given)}")


def as_table(
    rows: TableLike, *, source: str, features: Mapping[str, Column] | None = None
) -> pa.Table:
    """Return rows as a Table.

    Args:
        rows: in one of the forms that `TableLike` names.
        source: named in errors.
        features: columns whose values may have several types; see `data.mixed`.

    Raises:
        UsageError: as in `tabular`.
        ContractError: there are no rows, or a column stands twice or has values of no one type.
    """
    with door(no_table):
        return _as_table(rows, source, features)


def no_table(why: str) -> UsageError:
    """Return what to say of rows that no table can be made of."""
    return UsageError(f"the rows cannot be read as a table: {why}")


def _as_table(rows: TableLike, source: str, features: Mapping[str, Column] | None) -> pa.Table:
    found = tabular(rows)
    if isinstance(found, pa.Table):
        return found
    frame = cast("pd.DataFrame", found)
    if not len(frame):
        raise ContractError([Violation("", "rows", 0, "there are no rows")], source=source)
    names = [str(name) for name in frame.columns]
    twice = repeated(names)
    violations = [Violation(name, "unique", len(frame), "stands twice") for name in twice]
    arrays: list[pa.Array] = []
    for place, name in enumerate(names if not twice else []):
        feature, values = (features or {}).get(name), frame.iloc[:, place]
        try:
            if feature is not None:
                arrays.append(array_by_value(name, values, feature, source=source))
                continue
            with column_door(name, len(frame), source):
                try:
                    arrays.append(_array(values))
                except (pa.ArrowException, OverflowError, TypeError, ValueError):
                    violations.append(_of_several_types(name, values, hidden=False))
        except ContractError as error:
            violations += error.violations
    if violations:
        raise ContractError(violations, source=source)
    return pa.table(arrays, names=names)


def _array(values: pd.Series) -> pa.Array:
    """Return a column as Arrow; Python's datetimes keep what they say of their zone."""
    if values.dtype == object:
        first = next((value for value in values.tolist() if not pd.isna(value)), None)
        times = array_of_times(values.tolist()) if isinstance(first, datetime) else None
        if times is not None:
            return times
    array = pa.Array.from_pandas(values)
    if pa.types.is_date(array.type) and any(isinstance(value, datetime) for value in values):
        raise TypeError  # Arrow has dropped their clock
    return array


def _of_several_types(name: str, values: pd.Series, *, hidden: bool) -> Violation:
    firsts: dict[str, object] = {}
    for value in cast("list[object]", values.dropna().tolist()):
        firsts.setdefault(type(value).__name__, value)
    few = map(hashed, firsts.values()) if hidden else firsts.values()
    message = (
        f"holds values that no one type has, such as {examples(few)} "
        f"({', '.join(list(firsts)[:MAX_EXAMPLES])}); make them one type"
    )
    return Violation(name, "type", len(values), message)


def _of_columns(given: Mapping[object, object]) -> pd.DataFrame:
    """Return the rows of a dict of columns, or the one row of a dict of single values."""
    columns = {str(name): _column(str(name), values) for name, values in given.items()}
    single = [name for name, values in columns.items() if values is None]
    if len(single) == len(columns):
        return _of_records([given], ())
    if single:
        raise UsageError(
            f"of this dict {examples(single)} has one value where others have lists; give each a "
            "list, or each one value for one row"
        )
    found = {name: values for name, values in columns.items() if values is not None}
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name!r} has {n}" for name, n in list(lengths.items())[:MAX_EXAMPLES])
        raise UsageError(f"the columns of this dict have different lengths: {shown}")
    return pd.DataFrame({name: values.reset_index(drop=True) for name, values in found.items()})


def _column(name: str, values: object) -> pd.Series | None:
    """Return the values of a column, or None for a single one."""
    if isinstance(values, pd.Series):
        return values
    if isinstance(values, np.ndarray) and values.ndim > 1:
        raise UsageError(f"column {name!r} of this dict is an array of {values.ndim} dimensions")
    if isinstance(values, np.ndarray | pd.Index | pd.api.extensions.ExtensionArray):
        return None if getattr(values, "ndim", 1) == 0 else pd.Series(values)
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return _objects(cast("pa.Array", values).to_pylist())
    if isinstance(values, list | tuple | range):
        return _objects(list(cast("Sequence[object]", values)))
    if isinstance(values, Iterator | set | frozenset):
        raise UsageError(f"column {name!r} of this dict is a {type(values).__name__}; give a list")
    return None


def _of_records(rows: Sequence[object], columns: Sequence[str]) -> pd.DataFrame:
    """Return the rows of dicts, columns in the order in which they are met first."""
    records: list[dict[str, object]] = []
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UsageError(f"{_ACCEPTED}; item {place} of this list is {_hint(row)}")
        items = cast("Mapping[object, object]", row).items()
        records.append({str(name): value for name, value in items})
    names = list(dict.fromkeys(name for record in records for name in record))
    if not records:
        names = list(columns)
    found = {name: _objects([record.get(name) for record in records]) for name in names}
    return pd.DataFrame(found, index=pd.RangeIndex(len(records)))


def _objects(values: list[object]) -> pd.Series:
    """Return a column that leaves each value as it is, lists and all."""
    return pd.Series(values, dtype=object)


def _hint(given: object) -> str:
    name = type(given).__name__
    match given:
        case pd.Series():
            return "a Series: `series.to_frame()` if it is a column, `DataFrame([series])` if a row"
        case np.ndarray():
            return "an array without names: `pd.DataFrame(array, columns=[…])`"
        case str() | Path():
            return f"{name} {str(given)[:60]!r}: read it first, as with `pd.read_csv(path)`"
        case Iterator():
            return f"a {name}, which can be read once: `list(rows)`"
        case _ if hasattr(given, "to_arrow"):
            return f"a {name}: `rows.to_arrow()`"
        case _ if hasattr(given, "to_pandas"):
            return f"a {name}: `rows.to_pandas()`"
        case _:
            return f"of type {name}"
