"""Values become what their column is declared to hold; what cannot be read is told row by row.

Nothing is rounded on the way: a whole number beyond 2**53 is no float, and a category made of
numbers goes through whole numbers only. Text, an integer and a float that mean one category
become the same word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config import (
    BooleanColumn,
    CategoryColumn,
    Column,
    DatetimeColumn,
    HashColumn,
    NumberColumn,
)
from pipeline_lib.data.findings import BrokenRows, rows_where
from pipeline_lib.data.times import TIME, cast_or_null, read_times, read_zoned_times
from pipeline_lib.data.zones import Clocks

_NO_CLOCKS = Clocks()
_MAX_EXACT = 2**53
_NUMBER = r"^[+-]?((?i:nan.*|inf.*)|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)$"
_DIGITS = r"^[+-]?\d+$"
_LAST_EXACT = rf"^[+-]?0*{_MAX_EXACT}$"


class UnreadableColumnError(Exception):
    """A whole column has a type that its kind cannot have; the text says which."""


@dataclass(frozen=True)
class ReadColumn:
    """A column with its declared type.

    Attributes:
        values: of type string, float64, bool or timestamp[us]; null where nothing could be read.
        broken: the rows that hold what cannot be read.
        clocks: how times are written.
    """

    values: pa.ChunkedArray
    broken: tuple[BrokenRows, ...] = ()
    clocks: Clocks = _NO_CLOCKS


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type that a column is read as."""
    match column:
        case CategoryColumn() | HashColumn():
            return pa.string()
        case NumberColumn():
            return pa.float64()
        case BooleanColumn():
            return pa.bool_()
        case DatetimeColumn():
            return TIME
    assert_never(column)


def read_column(values: pa.ChunkedArray, column: Column) -> ReadColumn:
    """Give a column its declared type.

    Raises:
        UnreadableColumnError: no value of this Arrow type could ever be read.
    """
    values = _plain(values)
    if pa.types.is_null(values.type):
        return ReadColumn(values.cast(arrow_type(column)))
    match column:
        case CategoryColumn() | HashColumn():
            return _read_words(values)
        case NumberColumn():
            return _read_numbers(values)
        case BooleanColumn():
            return _read_booleans(values, column)
        case DatetimeColumn():
            return _read_datetimes(values, column)
    assert_never(column)


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values without wrapping: extension, run-end, dictionary; text of one width."""
    if isinstance(values.type, pa.BaseExtensionType):
        storage = [chunk.storage for chunk in values.chunks]
        values = pa.chunked_array(storage, values.type.storage_type)
    if pa.types.is_run_end_encoded(values.type):
        values = pc.run_end_decode(values)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    wide = pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type)
    return values.cast(pa.string()) if wide else values


def _read_words(values: pa.ChunkedArray) -> ReadColumn:
    kind = values.type
    if pa.types.is_string(kind):
        return ReadColumn(values)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return ReadColumn(values.cast(pa.string()))
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _read_whole_numbers(values)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        times, broken = read_times(values, None)
        zone = "+00:00" if pa.types.is_timestamp(kind) and kind.tz is not None else ""
        written = (
            times.cast(pa.date32()).cast(pa.string()) if pa.types.is_date(kind) else _iso(times)
        )
        words = pc.binary_join_element_wise(written, zone, "") if zone else written
        return ReadColumn(words, tuple(broken))
    raise UnreadableColumnError(f"has the type {kind}, which no category can have")


def _read_whole_numbers(values: pa.ChunkedArray) -> ReadColumn:
    """Return numbers as words: pandas turns a column of whole numbers with a gap into floats."""
    if pa.types.is_decimal(values.type):
        words = _without_zeros(values)
        odd = pc.invert(pc.match_substring_regex(words, _DIGITS))
    else:
        numbers = _nan_as_null(values.cast(pa.float64()))
        small = pc.less(pc.abs(numbers), float(_MAX_EXACT))
        odd = pc.invert(pc.and_(pc.equal(pc.floor(numbers), numbers), small))
        words = _null_where(odd, numbers).cast(pa.int64()).cast(pa.string())
        values = numbers
    before, after = "hold numbers that are not whole, such as ", "; a category is text or a whole "
    broken = rows_where(odd, values, "type", before, f"{after}number")
    return ReadColumn(_null_where(odd, words), tuple(broken))


def _read_numbers(values: pa.ChunkedArray) -> ReadColumn:
    kind = values.type
    if pa.types.is_string(kind):
        text = pc.utf8_trim_whitespace(values)
        numbers = cast_or_null(text, _NUMBER, pa.float64())
        unreadable = pc.and_(pc.is_null(numbers), pc.is_valid(text))
        broken = rows_where(unreadable, text, "type", "hold text that is no number, such as ")
        return _finite(numbers, _beyond_exact(numbers, text), text, broken)
    if pa.types.is_integer(kind):
        numbers = values.cast(pa.float64(), safe=False)
        beyond = None
        if kind.bit_width == 64:
            beyond = pc.greater(values, pa.scalar(_MAX_EXACT, kind))
            if pa.types.is_signed_integer(kind):
                beyond = pc.or_(beyond, pc.less(values, pa.scalar(-_MAX_EXACT, kind)))
        return _finite(numbers, beyond, values, [])
    if pa.types.is_decimal(kind):
        numbers = values.cast(pa.float64(), safe=False)
        return _finite(numbers, _beyond_exact(numbers, _without_zeros(values)), values, [])
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return _finite(values.cast(pa.float64()), None, values, [])
    raise UnreadableColumnError(f"has the type {kind}, which is no number")


def _beyond_exact(numbers: pa.ChunkedArray, written: pa.ChunkedArray) -> "pa.ChunkedArray | None":
    """Return where a whole number, as it is written, lies beyond what a float can tell apart."""
    large = pc.greater_equal(pc.abs(numbers), float(_MAX_EXACT))
    if not pc.any(large).as_py():
        return None
    text = pc.if_else(large, written, pa.scalar(None, pa.string()))
    whole = pc.match_substring_regex(text, _DIGITS)
    return pc.and_(whole, pc.invert(pc.match_substring_regex(text, _LAST_EXACT)))


def _finite(
    numbers: pa.ChunkedArray,
    beyond: "pa.ChunkedArray | None",
    written: pa.ChunkedArray,
    broken: list[BrokenRows],
) -> ReadColumn:
    """Return numbers with NaN as null; what is not exact or not finite is null and told."""
    if beyond is not None:
        after = ", beyond 2**53, where a float skips some; declare the column `kind: category` or "
        before = "hold whole numbers such as "
        broken = [*broken, *rows_where(beyond, written, "exact", before, f"{after}`kind: hash`")]
        numbers = _null_where(beyond, numbers)
    if not pc.all(pc.is_finite(numbers)).as_py():
        numbers = _nan_as_null(numbers)
        infinite = pc.is_inf(numbers)
        broken = [
            *broken,
            *rows_where(infinite, numbers, "finite", "hold ", ", which is not finite"),
        ]
        numbers = _null_where(infinite, numbers)
    return ReadColumn(numbers, tuple(broken))


def _read_booleans(values: pa.ChunkedArray, column: BooleanColumn) -> ReadColumn:
    kind = values.type
    if pa.types.is_boolean(kind):
        return ReadColumn(values)
    words = {word.strip().casefold(): True for word in column.true}
    words |= {word.strip().casefold(): False for word in column.false}
    text = values
    if pa.types.is_integer(kind):
        text, words = values.cast(pa.string()), {"1": True, "0": False} | words
    elif pa.types.is_floating(kind):
        numbers = _nan_as_null(values.cast(pa.float64()))
        text, words = numbers.cast(pa.string()), {"1": True, "0": False, "-0": False} | words
        values = numbers
    elif not pa.types.is_string(kind):
        raise UnreadableColumnError(f"has the type {kind}, which is no yes or no")
    chunks = [_looked_up(chunk, words) for chunk in text.chunks]
    found = pa.chunked_array(chunks, pa.bool_())
    unreadable = pc.and_(pc.is_null(found), pc.is_valid(values))
    known = ", ".join(repr(word) for word in [*column.true, *column.false][:12])
    after = f"; a boolean is one of {known}, in any case. Set `true` and `false` for other words"
    broken = rows_where(unreadable, values, "type", "hold ", after)
    return ReadColumn(found, tuple(broken))


def _looked_up(text: pa.Array, words: dict[str, bool]) -> pa.Array:
    encoded = text.dictionary_encode()
    meant = [words.get(word.strip().casefold()) for word in encoded.dictionary.to_pylist()]
    return pa.array(meant, pa.bool_()).take(encoded.indices)


def _read_datetimes(values: pa.ChunkedArray, column: DatetimeColumn) -> ReadColumn:
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        read = read_zoned_times(values, column.format, column.time_zone)
        return ReadColumn(read.times, tuple(read.broken), read.clocks)
    if pa.types.is_floating(kind) and pc.all(pc.is_nan(values)).as_py() is not False:
        # What pandas makes of a column of times without a single one.
        return ReadColumn(pa.chunked_array([pa.nulls(len(values), TIME)]))
    raise UnreadableColumnError(f"has the type {kind}, which is no date or time")


def _without_zeros(decimals: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write decimals, whole ones without a point."""
    text = decimals.cast(pa.string())
    return pc.replace_substring_regex(text, pattern=r"\.0*$", replacement="")


def _iso(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Write times as Python's `isoformat` does."""
    return pc.replace_substring_regex(
        times.cast(pa.string()), pattern=r"^(\S+) (\S+?)(\.000000)?$", replacement=r"\1T\2"
    )


def _nan_as_null(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    return _null_where(pc.is_nan(numbers), numbers)


def _null_where(mask: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.fill_null(mask, False), pa.scalar(None, values.type), values)


def read_columns(rows: pa.Table, columns: Mapping[str, Column]) -> pa.Table:
    """Return columns with their declared types; null where a value cannot be read.

    Words of a dictionary stay in it, so that each is read once.

    Args:
        rows: as they came, quarantined ones too; every column is there.
        columns: the contract by column name.
    """
    return pa.table(
        {
            name: rows[name]
            if _is_dictionary_of_words(rows[name], column)
            else read_column(rows[name], column).values
            for name, column in columns.items()
        }
    )


def _is_dictionary_of_words(values: pa.ChunkedArray, column: Column) -> bool:
    kind = values.type
    return (
        isinstance(column, CategoryColumn | HashColumn)
        and pa.types.is_dictionary(kind)
        and pa.types.is_string(kind.value_type)
    )
