"""A column of Python values as Arrow, where they may have several types: for `fit` and `predict`.

Values of several types, such as 'a', 1 and True, become text one by one, each as `data.written`
has it; text is itself.
"""

from contextlib import AbstractContextManager
from datetime import datetime
from decimal import Decimal
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.columns import Column, DatetimeColumn, NumberColumn
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.data.values.written import text_of
from pipeline_lib.data.values.zones import array_of_times
from pipeline_lib.errors import ContractError, Violation, door
from pipeline_lib.shown import hashed
from pipeline_lib.wording import examples, rows_that


def array_by_value(
    name: str,
    values: pd.Series,
    column: Column,
    *,
    known: KnownWords | None = None,
    source: str = "the rows",
) -> pa.Array:
    """Return a feature column as Arrow.

    Args:
        name: of the column.
        values: in any types.
        column: what the config says of it.
        known: whose spelling typed values among others take.
        source: named in errors.

    Raises:
        ContractError: values of several types, and one of them has no text; or values that
            nothing can be made of, as text that is no Unicode.
    """
    with column_door(name, len(values), source):
        return _by_value(name, values, column, known, source)


def column_door(name: str, n_rows: int, source: str) -> AbstractContextManager[None]:
    """Let whatever the values of a column raise become an error that names the column."""

    def refused(why: str) -> ContractError:
        message = f"holds what cannot be read ({why}); give text, numbers, booleans or times"
        return ContractError([Violation(name, "type", n_rows, message)], source=source)

    return door(refused)


def _by_value(
    name: str, values: pd.Series, column: Column, known: KnownWords | None, source: str
) -> pa.Array:
    try:
        is_time = isinstance(column, DatetimeColumn) and values.dtype == object
        zoned = array_of_times(values.tolist()) if is_time else None
        array = pa.Array.from_pandas(values) if zoned is None else zoned
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return _mixed(name, values, column, known, source)
    if pa.types.is_date(array.type) and any(isinstance(v, datetime) for v in values):
        return _mixed(name, values, column, known, source)  # Arrow would drop their clock
    return array


def _mixed(
    name: str, values: pd.Series, column: Column, known: KnownWords | None, source: str
) -> pa.Array:
    """Return values of several types as text; typed ones in the spelling of known words."""
    text: list[str | None] = []
    typed: list[str | None] = []
    odd: list[object] = []
    for value in cast("list[object]", values.tolist()):
        is_text, word = isinstance(value, str), None
        if value is not None and value is not pd.NA and value is not pd.NaT:
            try:
                word = text_of(value)
                if _is_broken_number(value, word) and not isinstance(column, NumberColumn):
                    odd.append(value)
            except TypeError:
                odd.append(value)
        text.append(word if is_text else None)
        typed.append(None if is_text else word)
    if odd:
        few = map(hashed, odd) if column.hides_values else odd
        different = {repr(value): value for value in few}.values()
        what = f"hold {examples(different)}, which is neither text nor a whole number"
        message = rows_that(len(odd), what)
        raise ContractError([Violation(name, "type", len(odd), message)], source=source)
    written = pa.chunked_array([pa.array(typed, pa.string())])
    spelled = written if known is None else known.spelled(written)
    return pc.coalesce(pa.array(text, pa.string()), spelled.combine_chunks())


def _is_broken_number(value: object, word: str | None) -> bool:
    is_broken = isinstance(value, float | np.floating | Decimal)
    return is_broken and word is not None and not word.removeprefix("-").isdecimal()
