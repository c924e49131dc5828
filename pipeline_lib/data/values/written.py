"""How a typed value is written where a column holds text: one way, whatever type or source it has.

A boolean is `true` or `false`, a whole number its decimal digits (2.0 is `2`), a date or a
timestamp ISO 8601 as Python's `isoformat` has it, with `+00:00` where it has a zone. Text is
itself and never comes here.
"""

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.data.arrow import is_text, nan_as_null, null_where
from pipeline_lib.data.values.datetimes import read_times
from pipeline_lib.data.values.patterns import WHOLE
from pipeline_lib.data.values.violations import BrokenRows, rows_where

MAX_EXACT = 2**53
_MAX_DIGITS = 4_000  # Python writes no whole number of more than 4,300
TYPED_TEXT = {b"evergreen": b"typed"}
DIGITS = rf"^{WHOLE}$"
_NOT_WHOLE = "hold numbers that are not whole, such as ", "; a category is text or a whole number"


class UnreadableColumnError(Exception):
    """A whole column has a type that its kind cannot have; the text says which."""


def written(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, list[BrokenRows]]:
    """Return typed values as text, and the rows that hold a number that is not whole.

    Args:
        values: no text, no dictionary, no extension type but `arrow.uuid`.

    Raises:
        UnreadableColumnError: no value of this Arrow type has one text.
    """
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return values.cast(pa.string()), []
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _whole_numbers(values)
    if pa.types.is_date(kind):
        times, broken = read_times(values, None)
        return times.cast(pa.date32()).cast(pa.string()), broken
    if pa.types.is_timestamp(kind):
        times, broken = read_times(values, None)
        return iso(times, zone="" if kind.tz is None else "+00:00"), broken
    if isinstance(kind, pa.UuidType):
        words = [None if value is None else str(value) for value in values.to_pylist()]
        return pa.chunked_array([pa.array(words, pa.string())]), []
    raise UnreadableColumnError(f"has the type {kind}, which no category can have")


def iso(times: pa.ChunkedArray, *, zone: str = "") -> pa.ChunkedArray:
    """Write naive times of microseconds as Python's `isoformat` does, with a zone behind."""
    return pc.replace_substring_regex(
        times.cast(pa.string()),
        pattern=r"^(\S+) (\S+?)(\.000000)?$",
        replacement=rf"\1T\2{zone}",
    )


def without_zeros(decimals: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write decimals, whole ones without a point."""
    text = decimals.cast(pa.string())
    return pc.replace_substring_regex(text, pattern=r"\.0*$", replacement="")


def is_typed_text(field: pa.Field) -> bool:
    """Report whether a column of text was written from typed values, as `text_of` writes them."""
    return (field.metadata or {}).items() >= TYPED_TEXT.items()


def has_typed_values(field: pa.Field) -> bool:
    """Report whether a column holds typed values, as such or written as text."""
    return is_typed_text(field) or not is_text(field.type)


def plain_numbers(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text that was written from typed values, whole numbers without a point."""
    plain = pc.replace_substring_regex(text, pattern=r"^(-?\d+)\.0+$", replacement=r"\1")
    return pc.if_else(pc.equal(plain, "-0"), "0", plain)


def text_of(value: object) -> str | None:
    """Return a Python or NumPy value as text; None and NaN have none.

    Unlike in a column of one type, a number that is not whole has a text here: the shortest that
    reads back as the same float, or a decimal's own digits.

    >>> [text_of(v) for v in (True, 2, 2.0, 0.5, Decimal("2.00"), float("nan"), date(2026, 5, 1))]
    ['true', '2', '2', '0.5', '2', None, '2026-05-01']

    Raises:
        TypeError: it has a type that is no text, number, truth or time.
    """
    convert = _CONVERT.get(type(value))
    if convert is None:
        if isinstance(value, np.datetime64):  # whose own `item` is a number for nanoseconds
            value = value.astype("datetime64[us]")
        if isinstance(value, np.generic) and not isinstance(value, np.timedelta64):
            value = value.item()
        convert = next((c for known, c in _CONVERT.items() if isinstance(value, known)), None)
    if convert is None:
        raise TypeError(type(value).__name__)
    return convert(value)


def _whole_numbers(values: pa.ChunkedArray) -> tuple[pa.ChunkedArray, list[BrokenRows]]:
    """Return whole numbers as text: pandas turns a column of them with a gap into floats."""
    if pa.types.is_decimal(values.type):
        words = without_zeros(values)
        odd = pc.invert(pc.match_substring_regex(words, DIGITS))
    else:
        numbers = nan_as_null(values.cast(pa.float64()))
        small = pc.less(pc.abs(numbers), float(MAX_EXACT))
        odd = pc.invert(pc.and_(pc.equal(pc.floor(numbers), numbers), small))
        words = null_where(odd, numbers).cast(pa.int64()).cast(pa.string())
        values = numbers
    return null_where(odd, words), rows_where(odd, values, "type", *_NOT_WHOLE)


def _nothing(_: None) -> None:
    return None


def _bool_text(value: bool) -> str:
    return "true" if value else "false"


def _int_text(value: int) -> str:
    if value.bit_length() > 3 * _MAX_DIGITS:
        raise TypeError("int of thousands of digits")
    return format(value, "d")


def _float_text(value: float) -> str | None:
    if math.isnan(value):
        return None
    if value.is_integer() and abs(value) < MAX_EXACT:
        return str(int(value))
    return repr(float(value))


def decimal_text(value: Decimal, *, whole_without_point: bool = True) -> str | None:
    """Return a decimal in digits; None for NaN. One of thousands of digits keeps its exponent.

    Nothing here rounds: the arithmetic of `decimal` has 28 digits, comparisons have all of them.

    >>> [decimal_text(Decimal(v)) for v in ("2.50", "-0.00", "1E+30", "1E-999999999")]
    ['2.50', '0', '1000000000000000000000000000000', '1E-999999999']
    """
    if value.is_nan():
        return None
    if value.is_infinite():
        return repr(float(value))
    if abs(value.adjusted()) > _MAX_DIGITS:
        return str(value)
    whole = value.to_integral_value()
    if whole_without_point and whole == value:
        return format(whole.copy_abs() if whole.is_zero() else whole, "f")
    return format(value, "f")


def _datetime_text(value: datetime) -> str:
    # In which zone a server shows an instant is a setting of the run; UTC is not. The digits
    # below the microsecond that pandas has are dropped, as they are in a column of times.
    plain = datetime.combine(value.date(), value.timetz(), value.tzinfo)
    return (plain.astimezone(UTC) if plain.tzinfo else plain).isoformat()


# bool before int and datetime before date: the first one that fits a subclass is taken.
_CONVERT: dict[type, Callable[..., str | None]] = {
    type(None): _nothing,
    str: str,
    bool: _bool_text,
    int: _int_text,
    float: _float_text,
    Decimal: decimal_text,
    datetime: _datetime_text,
    date: date.isoformat,
    time: time.isoformat,
    UUID: str,
}
