"""Values become what their column is declared to hold; what cannot be read is reported row by row.

Nothing is rounded on the way: a whole number beyond 2**53 is no float, and a category made of
numbers goes through whole numbers only. Where a column holds words, text is itself and a typed
value what `data.written` makes of it, in the spelling that known words have for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
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
from pipeline_lib.data.arrow import is_date_or_time, is_wide_text, nan_as_null, null_where
from pipeline_lib.data.values.datetimes import TIME, cast_or_null, read_zoned_times
from pipeline_lib.data.values.patterns import NUMBER
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.data.values.violations import BrokenRows, rows_where
from pipeline_lib.data.values.written import (
    DIGITS,
    MAX_EXACT,
    UnreadableColumnError,
    is_typed_text,
    plain_numbers,
    without_zeros,
    written,
)
from pipeline_lib.data.values.zones import Clocks

_NO_CLOCKS = Clocks()
_NUMBER = rf"^([+-]?(?i:nan.*|inf.*)|{NUMBER})$"
_LAST_EXACT = rf"^[+-]?0*{MAX_EXACT}$"


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


def read_column(
    values: pa.ChunkedArray,
    column: Column,
    *,
    known: KnownWords | None = None,
    typed_text: bool = False,
) -> ReadColumn:
    """Give a column its declared type.

    Args:
        values: as they came.
        column: what they have to look like.
        known: words whose spelling typed values take, as those of a ledger; for columns of words.
        typed_text: whether text was written from typed values, as that of a query is.

    Raises:
        UnreadableColumnError: no value of this Arrow type could ever be read.
    """
    values = _plain(values)
    if pa.types.is_null(values.type):
        return ReadColumn(values.cast(arrow_type(column)))
    match column:
        case CategoryColumn() | HashColumn():
            return _read_words(values, column, known, typed_text)
        case NumberColumn():
            return _read_numbers(values)
        case BooleanColumn():
            return _read_booleans(values, column)
        case DatetimeColumn():
            return _read_datetimes(values, column)
    assert_never(column)


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values without wrapping: extension, run-end, dictionary; text of one width."""
    if isinstance(values.type, pa.Bool8Type):
        values = values.cast(pa.bool_())
    if isinstance(values.type, pa.BaseExtensionType) and not isinstance(values.type, pa.UuidType):
        storage = [chunk.storage for chunk in values.chunks]
        values = pa.chunked_array(storage, values.type.storage_type)
    if pa.types.is_run_end_encoded(values.type):
        values = pc.run_end_decode(values)
    if pa.types.is_dictionary(values.type):
        # Arrow has no cast from a dictionary of string views, nor one to it.
        kind = values.type.value_type
        kind = pa.string() if is_wide_text(kind) else kind
        chunks = [chunk.dictionary.cast(kind).take(chunk.indices) for chunk in values.chunks]
        values = pa.chunked_array(chunks, kind)
    return values.cast(pa.string()) if is_wide_text(values.type) else values


def _read_words(
    values: pa.ChunkedArray,
    column: CategoryColumn | HashColumn,
    known: KnownWords | None,
    typed_text: bool,
) -> ReadColumn:
    if not pa.types.is_string(values.type):
        words, broken = written(values)
        return ReadColumn(_spelled(words, column, known), tuple(broken))
    return ReadColumn(_spelled(plain_numbers(values), column, known) if typed_text else values)


def _spelled(
    words: pa.ChunkedArray, column: CategoryColumn | HashColumn, known: KnownWords | None
) -> pa.ChunkedArray:
    """Return typed values in the spelling of known words, else in that of the config's."""
    if known is not None:
        words = known.spelled(words)
    if isinstance(column, CategoryColumn) and (listed := column.allowed or column.ranked):
        words = _listed(listed).spelled(words)
    return words


@lru_cache(maxsize=64)
def _listed(words: tuple[str, ...]) -> KnownWords:
    return KnownWords(pa.array(words, pa.string()))


def _read_numbers(values: pa.ChunkedArray) -> ReadColumn:
    kind = values.type
    if pa.types.is_string(kind):
        text = pc.utf8_trim_whitespace(values)
        numbers = cast_or_null(text, _NUMBER, pa.float64())
        unreadable = pc.and_(pc.is_null(numbers), pc.is_valid(text))
        broken = rows_where(unreadable, text, "type", "hold text that is not a number, such as ")
        return _finite(numbers, _beyond_exact(numbers, text), text, broken)
    if pa.types.is_integer(kind):
        numbers = values.cast(pa.float64(), safe=False)
        beyond = None
        if kind.bit_width == 64:
            beyond = pc.greater(values, pa.scalar(MAX_EXACT, kind))
            if pa.types.is_signed_integer(kind):
                beyond = pc.or_(beyond, pc.less(values, pa.scalar(-MAX_EXACT, kind)))
        return _finite(numbers, beyond, values, [])
    if pa.types.is_decimal(kind):
        numbers = values.cast(pa.float64(), safe=False)
        return _finite(numbers, _beyond_exact(numbers, without_zeros(values)), values, [])
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return _finite(values.cast(pa.float64()), None, values, [])
    raise UnreadableColumnError(f"has the type {kind}, which is not a number")


def _beyond_exact(numbers: pa.ChunkedArray, written: pa.ChunkedArray) -> "pa.ChunkedArray | None":
    """Return where a whole number, as it is written, is too large for a float to hold exactly."""
    large = pc.greater_equal(pc.abs(numbers), float(MAX_EXACT))
    if not pc.any(large).as_py():
        return None
    text = pc.if_else(large, written, pa.scalar(None, pa.string()))
    whole = pc.match_substring_regex(text, DIGITS)
    return pc.and_(whole, pc.invert(pc.match_substring_regex(text, _LAST_EXACT)))


def _finite(
    numbers: pa.ChunkedArray,
    beyond: "pa.ChunkedArray | None",
    written: pa.ChunkedArray,
    broken: list[BrokenRows],
) -> ReadColumn:
    """Return numbers with NaN as null; what is not exact or not finite is null and reported."""
    if beyond is not None:
        after = ", beyond 2**53, where a float skips some; declare the column `kind: category` or "
        before = "hold whole numbers such as "
        broken = [*broken, *rows_where(beyond, written, "exact", before, f"{after}`kind: hash`")]
        numbers = null_where(beyond, numbers)
    if not pc.all(pc.is_finite(numbers)).as_py():
        numbers = nan_as_null(numbers)
        infinite = pc.is_inf(numbers)
        broken = [
            *broken,
            *rows_where(infinite, numbers, "finite", "hold ", ", which is not finite"),
        ]
        numbers = null_where(infinite, numbers)
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
        numbers = nan_as_null(values.cast(pa.float64()))
        text, words = numbers.cast(pa.string()), {"1": True, "0": False, "-0": False} | words
        values = numbers
    elif not pa.types.is_string(kind):
        raise UnreadableColumnError(f"has the type {kind}, which is not a boolean")
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
    if pa.types.is_string(kind) or is_date_or_time(kind):
        read = read_zoned_times(values, column.format, column.time_zone)
        return ReadColumn(read.times, tuple(read.broken), read.clocks)
    if pa.types.is_floating(kind) and pc.all(pc.is_nan(values)).as_py() is not False:
        # What pandas makes of a column of times without a single one.
        return ReadColumn(pa.chunked_array([pa.nulls(len(values), TIME)]))
    raise UnreadableColumnError(f"has the type {kind}, which is not a date or time")


def read_columns(
    rows: pa.Table,
    columns: Mapping[str, Column],
    *,
    known: Mapping[str, KnownWords] | None = None,
) -> pa.Table:
    """Return columns with their declared types; null where a value cannot be read.

    Words of a dictionary stay in it, so that each is read once.

    Args:
        rows: as they came, quarantined ones too; every column is there.
        columns: the contract by column name.
        known: words whose spelling typed values take, by column.
    """
    read: dict[str, pa.ChunkedArray] = {}
    for name, column in columns.items():
        values, of_column = rows[name], (known or {}).get(name)
        typed_text = is_typed_text(rows.schema.field(name))
        if not _is_dictionary_of_words(values, column):
            read[name] = read_column(values, column, known=of_column, typed_text=typed_text).values
        elif typed_text:
            read[name] = _each_word(values, column, of_column)
        else:
            read[name] = values
    return pa.table(read)


def _each_word(
    values: pa.ChunkedArray, column: Column, known: KnownWords | None
) -> pa.ChunkedArray:
    """Return a dictionary whose words are read; some may be equal then."""
    chunks: list[pa.Array] = []
    for chunk in values.chunks:
        words = pa.chunked_array([chunk.dictionary])
        read = read_column(words, column, known=known, typed_text=True).values.combine_chunks()
        chunks.append(pa.DictionaryArray.from_arrays(chunk.indices, read))
    return pa.chunked_array(chunks, values.type)


def _is_dictionary_of_words(values: pa.ChunkedArray, column: Column) -> bool:
    kind = values.type
    return (
        isinstance(column, CategoryColumn | HashColumn)
        and pa.types.is_dictionary(kind)
        and pa.types.is_string(kind.value_type)
    )
