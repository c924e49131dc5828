"""Dates and times: text and Arrow's types become naive UTC timestamps of microseconds.

Text with a `format` means what Python's `datetime.strptime` makes of it; without one it is
ISO 8601: a date, or a date and a time with `T` or a blank between, fractions of a second, and `Z`
or an offset. What has no zone counts as UTC. Digits below the microsecond are dropped.
"""

import re
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.data.findings import BrokenRows, rows_where

TIME = pa.timestamp("us")
_UTC_TIME = pa.timestamp("us", "UTC")
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST = (datetime.min.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(days=1)
_DAYS = (date.max - date.min).days + 1

_CLOCK = r"\d{4}-\d\d-\d\d([ T]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?)?"
_ISO = rf"^{_CLOCK}$"
_ZONED_ISO = rf"^{_CLOCK}(Z|[+-]\d\d(:?\d\d)?)$"
HAS_ZONE = r"[ T].*(Z|[+-]\d\d(:?\d\d)?)$"
_FIELDS = {
    "Y": r"(\d{4})",
    "m": r"(\d\d)",
    "d": r"(\d\d)",
    "H": r"(\d\d)",
    "M": r"(\d\d)",
    "S": r"(\d\d)",
    "f": r"(\d{1,6})",
}


def read_times(
    values: pa.ChunkedArray, form: str | None
) -> tuple[pa.ChunkedArray, list[BrokenRows]]:
    """Turn text, dates or timestamps into timestamps; what cannot be read becomes null.

    Args:
        values: of type string, date32, date64 or timestamp.
        form: what `datetime.strptime` has to make of text; without it text is ISO 8601.

    Returns:
        Naive UTC of type timestamp[us], within the years 1 to 9999; and the rows with another
        text or time.
    """
    if pa.types.is_string(values.type):
        text = pc.utf8_trim_whitespace(values)
        times = _null_outside(_from_iso(text) if form is None else _from_format(text, form))
        unreadable = pc.and_(pc.is_null(times), pc.is_valid(text))
        wanted = "ISO 8601 date or time" if form is None else f"time in the format {form!r}"
        way_out = (
            "; say how times are written with `format`, as strptime has it, or fix the source"
            if form is None
            else "; a column has one format: fix the source"
        )
        before = f"hold text that is no {wanted}, such as "
        return times, rows_where(unreadable, text, "type", before, way_out)
    outside = _outside(values)
    kept = pc.if_else(outside, pa.scalar(None, values.type), values)
    before = "hold times outside the years 1 to 9999, such as "
    return _naive(kept), rows_where(outside, values, "type", before)


def read_bound(text: str, *, is_last: bool = False) -> datetime | None:
    """Return a time written as ISO 8601, or None; a last time without clock is its day's end."""
    times, broken = read_times(pa.chunked_array([[text]], pa.string()), None)
    if broken:
        return None
    found: datetime = times[0].as_py()
    if is_last and re.fullmatch(r"\s*\d{4}-\d\d-\d\d\s*", text):
        return found + (timedelta(days=1) - timedelta(microseconds=1))
    return found


def format_problem(form: str) -> str | None:
    """Tell what is wrong with a format of strptime, if anything is."""
    try:
        datetime.strptime("", form)  # noqa: DTZ007
    except ValueError as error:
        told = str(error)
        return told if "bad directive" in told or "stray %" in told else None
    except re.error:
        return f"{form!r} names a directive twice"
    return None


def cast_or_null(text: pa.ChunkedArray, pattern: str, to: pa.DataType) -> pa.ChunkedArray:
    """Cast text; what does not match the pattern or cannot be cast becomes null."""
    try:
        return text.cast(to)
    except pa.ArrowInvalid:
        fits = pc.match_substring_regex(text, pattern)
        plausible = pc.if_else(fits, text, pa.scalar(None, text.type))
        return pa.chunked_array([_cast_by_halves(chunk, to) for chunk in plausible.chunks], to)


def _cast_by_halves(text: pa.Array, to: pa.DataType) -> pa.Array:
    """Cast what can be cast: Arrow casts all or nothing, and tells no position."""
    try:
        return text.cast(to)
    except pa.ArrowInvalid:
        if len(text) == 1:
            return pa.nulls(1, to)
        middle = len(text) // 2
        halves = text[:middle], text[middle:]
        return pa.concat_arrays([_cast_by_halves(half, to) for half in halves])


def _from_iso(text: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return text.cast(TIME)
    except pa.ArrowInvalid:
        pass
    try:
        return _naive(text.cast(_UTC_TIME))
    except pa.ArrowInvalid:
        text = pc.replace_substring_regex(text, pattern=r"(\.\d{6})\d{1,3}", replacement=r"\1")
        zoned, nothing = pc.match_substring_regex(text, HAS_ZONE), pa.scalar(None, text.type)
        local = cast_or_null(pc.if_else(zoned, nothing, text), _ISO, TIME)
        shifted = cast_or_null(pc.if_else(zoned, text, nothing), _ZONED_ISO, _UTC_TIME)
        return pc.coalesce(local, _naive(shifted))


def _from_format(text: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    chunks: list[pa.Array] = []
    for chunk in text.chunks:
        encoded = chunk.dictionary_encode()
        times = _parsed(encoded.dictionary, form.strip())
        chunks.append(times.take(encoded.indices))
    return pa.chunked_array(chunks, TIME)


def _parsed(words: pa.Array, form: str) -> pa.Array:
    """Read different words: the plain ones by a pattern, at Arrow's speed, all others by Python."""
    times = pa.nulls(len(words), TIME)
    if (plain := _as_pattern(form)) is not None:
        pattern, iso = plain
        matched = pc.match_substring_regex(words, pattern)
        rewritten = pc.replace_substring_regex(words, pattern=pattern, replacement=iso)
        plausible = pc.if_else(matched, rewritten, pa.scalar(None, words.type))
        times = _null_outside(cast_or_null(pa.chunked_array([plausible]), _ISO, TIME))
        times = times.combine_chunks()
    left = pc.is_null(times).to_numpy(zero_copy_only=False)
    found: list[datetime | None] = [
        _strptime(word, form) for word in words.filter(pa.array(left)).to_pylist()
    ]
    return pc.replace_with_mask(times, pa.array(left), pa.array(found, TIME))


def _as_pattern(form: str) -> tuple[str, str] | None:
    """Return a pattern for what a format writes with all its zeros, and how ISO 8601 puts it.

    Arrow's own strptime is no alternative: it knows no fractions and takes February 30 for
    March 1 (measured with pyarrow 25.0).
    """
    pieces = re.split(r"%(.)", form)
    directives = pieces[1::2]
    if not {"Y", "m", "d"} <= set(directives) <= set(_FIELDS) or "%" in "".join(pieces[::2]):
        return None
    if len(set(directives)) < len(directives) or ("f" in directives and "S" not in directives):
        return None
    literals = [re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", piece) for piece in pieces[::2]]
    pattern = literals[0] + "".join(
        _FIELDS[directive] + literal
        for directive, literal in zip(directives, literals[1:], strict=True)
    )
    group = {directive: rf"\{number}" for number, directive in enumerate(directives, start=1)}
    hour, minute, second = (group.get(directive, "00") for directive in "HMS")
    iso = f"{group['Y']}-{group['m']}-{group['d']} {hour}:{minute}:{second}"
    return f"^{pattern}$", iso + (f".{group['f']}" if "f" in group else "")


def _strptime(word: str | None, form: str) -> datetime | None:
    if word is None:
        return None
    try:
        found = datetime.strptime(word, form)  # noqa: DTZ007
        return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
    except (ValueError, OverflowError):
        return None


def _outside(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return where a date or timestamp is outside the years that Python and ISO 8601 have."""
    if pa.types.is_date32(values.type):
        days, per_day = values.cast(pa.int32()), 1
    else:
        unit = "ms" if pa.types.is_date64(values.type) else values.type.unit
        days, per_day = values.cast(pa.int64()), 86_400 * _UNITS[unit]
    first, end = _FIRST * per_day, (_FIRST + _DAYS) * per_day
    if first < -(2**63):  # 64 bits of nanoseconds begin in 1677 and end in 2262
        return pc.not_equal(days, days)
    return pc.or_(pc.less(days, first), pc.greater_equal(days, end))


def _null_outside(times: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(_outside(times), pa.scalar(None, times.type), times)


def _naive(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(values.type) and values.type.tz is not None:
        # Arrow keeps UTC whatever the zone; a cast to no zone would look the zone up row by row.
        values = values.cast(pa.int64()).cast(pa.timestamp(values.type.unit))
    return values.cast(TIME, safe=False)
