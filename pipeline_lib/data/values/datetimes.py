"""Dates and times: text and Arrow's types become naive UTC timestamps of microseconds.

Text with a `format` means what Python's `datetime.strptime` makes of it; without one it is
ISO 8601: a date, or a date and a time with `T` or a blank between, fractions of a second, and `Z`
or an offset. What has no zone is of the zone that the column sets, else it counts as UTC. Digits
below the microsecond are dropped.
"""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.data.arrow import has_zone
from pipeline_lib.data.values.patterns import DAY, HAS_ZONE, ISO, ZONE, ZONED_ISO
from pipeline_lib.data.values.violations import BrokenRows, first_values, positions, rows_where
from pipeline_lib.data.values.zones import MAX_NAIVE, Clocks, canonical_zone, to_local, to_utc

TIME = pa.timestamp("us")
_UTC_TIME = pa.timestamp("us", "UTC")
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FIRST = (datetime.min.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(days=1)
_DAYS = (date.max - date.min).days + 1

_MAX_OFFSET = len("+00:00")
_FIELDS = {
    "Y": r"(\d{4})",
    "m": r"(\d\d)",
    "d": r"(\d\d)",
    "H": r"(\d\d)",
    "M": r"(\d\d)",
    "S": r"(\d\d)",
    "f": r"(\d{1,6})",
}


@dataclass(frozen=True)
class ReadTimes:
    """Naive UTC times of type timestamp[us], the rows with another text or time, and the zones."""

    times: pa.ChunkedArray
    broken: list[BrokenRows]
    clocks: Clocks


@dataclass(frozen=True)
class _Written:
    """Times that were written without a zone, and instants; a row has one of both, or none."""

    local: pa.ChunkedArray
    instants: pa.ChunkedArray
    zones: frozenset[str] = field(default_factory=frozenset[str])


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
    read = read_zoned_times(values, form, None)
    return read.times, read.broken


def read_zoned_times(values: pa.ChunkedArray, form: str | None, zone: str | None) -> ReadTimes:
    """Turn text, dates or timestamps into timestamps; see `read_times`.

    Args:
        values: of type string, date32, date64 or timestamp.
        form: what `datetime.strptime` has to make of text; without it text is ISO 8601.
        zone: that of times without one; None counts them as UTC.
    """
    if pa.types.is_string(values.type):
        text = pc.utf8_trim_whitespace(values)
        written = _from_iso(text) if form is None else _from_format(text, form)
        times, clocks = _instants(written, zone, text)
        unreadable = pc.and_(pc.is_null(times), pc.is_valid(text))
        wanted = "an ISO 8601 date or time" if form is None else f"a time in the format {form!r}"
        way_out = (
            "; say how times are written with `format`, as strptime has it, or fix the source"
            if form is None
            else "; a column has one format: fix the source"
        )
        before = f"hold text that is not {wanted}, such as "
        broken = rows_where(unreadable, text, "type", before, way_out)
        return ReadTimes(times, broken, clocks)
    outside = _outside(values)
    kept = pc.if_else(outside, pa.scalar(None, values.type), values)
    nothing = pa.chunked_array([pa.nulls(len(values), TIME)])
    if has_zone(values.type):
        zones = (
            frozenset({str(values.type.tz)}) if kept.null_count < len(kept) else frozenset[str]()
        )
        written = _Written(nothing, _naive(kept), zones)
    else:
        written = _Written(_naive(kept), nothing)
    times, clocks = _instants(written, zone, values)
    outside = pc.and_(pc.is_null(times), pc.is_valid(values))
    before = "hold times outside the years 1 to 9999, such as "
    of_type = getattr(values.type, "tz", None)
    if of_type is not None:
        clocks = Clocks(zones=clocks.zones, of_type=canonical_zone(of_type))
    return ReadTimes(times, rows_where(outside, values, "type", before), clocks)


def _instants(
    written: _Written, zone: str | None, values: pa.ChunkedArray
) -> tuple[pa.ChunkedArray, Clocks]:
    """Return the instants of all rows, null outside of the years there are, and the zones."""
    local = _null_outside(written.local)
    n_naive = len(local) - local.null_count
    clocks = Clocks(n_naive, _first_rows(values, local) if n_naive else (), written.zones)
    if not n_naive:
        return _null_outside(written.instants), clocks
    if zone is not None:
        local = _null_outside(local_as_utc(local, zone))
    if n_naive == len(local):
        return local, clocks
    return pc.coalesce(local, _null_outside(written.instants)), clocks


def _first_rows(values: pa.ChunkedArray, local: pa.ChunkedArray) -> tuple[object, ...]:
    """Return what the first rows with a local time hold."""
    rows = positions(pc.is_valid(local))[:MAX_NAIVE]
    return tuple(first_values(values.slice(row, 1))[0] for row in rows.tolist())


def local_as_utc(times: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    """Return the instants at which a clock in the zone shows these times, as naive UTC."""
    micros = times.cast(pa.int64()).fill_null(0).to_numpy()
    return _of_micros(pa.array(to_utc(micros, zone)), times)


def utc_as_local(times: pa.ChunkedArray, zone: str | None) -> pa.ChunkedArray:
    """Return what a clock in the zone shows at these instants, both as naive timestamps."""
    micros = times.cast(pa.int64()).fill_null(0).to_numpy()
    return _of_micros(pa.array(to_local(micros, zone)), times)


def _of_micros(micros: pa.Array, times: pa.ChunkedArray) -> pa.ChunkedArray:
    found = pa.chunked_array([micros]).cast(TIME)
    return pc.if_else(pc.is_valid(times), found, pa.scalar(None, TIME))


def read_bound(text: str, *, is_last: bool = False, zone: str | None = None) -> datetime | None:
    """Return a time written as ISO 8601 in UTC, or None; a last one without clock is its day's end.

    Args:
        text: what is written.
        is_last: whether a day means its end.
        zone: of a time that is written without one; None counts it as UTC.
    """
    values = pa.chunked_array([[text]], pa.string())
    is_day = is_last and re.fullmatch(rf"\s*{DAY}\s*", text)
    read = read_zoned_times(values, None, None if is_day else zone)
    if read.broken:
        return None
    found: datetime | None = read.times[0].as_py()
    if found is None or not is_day:
        return found
    last = found + (timedelta(days=1) - timedelta(microseconds=1))
    if zone is None:
        return last
    ends = local_as_utc(pa.chunked_array([pa.array([last], TIME)]), zone)
    end: datetime | None = _null_outside(ends)[0].as_py()
    return end or last


def cast_or_null(text: pa.ChunkedArray, pattern: str, to: pa.DataType) -> pa.ChunkedArray:
    """Cast text; what does not match the pattern or cannot be cast becomes null."""
    try:
        return text.cast(to)
    except pa.ArrowInvalid:
        fits = pc.match_substring_regex(text, pattern)
        plausible = pc.if_else(fits, text, pa.scalar(None, text.type))
        return pa.chunked_array([_cast_by_halves(chunk, to) for chunk in plausible.chunks], to)


def _cast_by_halves(text: pa.Array, to: pa.DataType) -> pa.Array:
    """Cast what can be cast: Arrow casts all or nothing, and reports no position."""
    try:
        return text.cast(to)
    except pa.ArrowInvalid:
        if len(text) == 1:
            return pa.nulls(1, to)
        middle = len(text) // 2
        halves = text[:middle], text[middle:]
        return pa.concat_arrays([_cast_by_halves(half, to) for half in halves])


def _from_iso(text: pa.ChunkedArray) -> _Written:
    nothing = pa.chunked_array([pa.nulls(len(text), TIME)])
    try:
        return _Written(text.cast(TIME), nothing)
    except pa.ArrowInvalid:
        pass
    try:
        return _Written(nothing, _naive(text.cast(_UTC_TIME)), _zones_of(text))
    except pa.ArrowInvalid:
        text = pc.replace_substring_regex(text, pattern=r"(\.\d{6})\d{1,3}", replacement=r"\1")
        zoned, null = pc.match_substring_regex(text, HAS_ZONE), pa.scalar(None, text.type)
        local = cast_or_null(pc.if_else(zoned, null, text), ISO, TIME)
        shifted = cast_or_null(pc.if_else(zoned, text, null), ZONED_ISO, _UTC_TIME)
        return _Written(local, _naive(shifted), _zones_of(text.filter(pc.is_valid(shifted))))


def _zones_of(text: pa.ChunkedArray) -> frozenset[str]:
    """Return the zones at the end of ISO 8601 times that have one."""
    if pc.all(pc.ends_with(text, "Z")).as_py():
        return frozenset({"UTC"}) if text.null_count < len(text) else frozenset()
    ends = pc.utf8_slice_codeunits(text, -_MAX_OFFSET, None).unique().drop_null().to_pylist()
    offsets = (re.search(f"{ZONE}$", end) for end in ends)
    return frozenset(canonical_zone(offset[0]) for offset in offsets if offset is not None)


def _from_format(text: pa.ChunkedArray, form: str) -> _Written:
    local: list[pa.Array] = []
    instants: list[pa.Array] = []
    zones = set[str]()
    for chunk in text.chunks:
        encoded = chunk.dictionary_encode()
        words = _parsed(encoded.dictionary, form.strip())
        local.append(words.local.take(encoded.indices))
        instants.append(words.instants.take(encoded.indices))
        zones |= words.zones
    return _Written(
        pa.chunked_array(_arrays(local), TIME),
        pa.chunked_array(_arrays(instants), TIME),
        frozenset(zones),
    )


def _arrays(pieces: Iterable[pa.ChunkedArray]) -> list[pa.Array]:
    return [array for piece in pieces for array in piece.chunks]


def _parsed(words: pa.Array, form: str) -> _Written:
    """Read different words: the plain ones by a pattern, at Arrow's speed, all others by Python."""
    times = pa.nulls(len(words), TIME)
    if (plain := _as_pattern(form)) is not None:
        pattern, iso = plain
        matched = pc.match_substring_regex(words, pattern)
        rewritten = pc.replace_substring_regex(words, pattern=pattern, replacement=iso)
        plausible = pc.if_else(matched, rewritten, pa.scalar(None, words.type))
        times = _null_outside(cast_or_null(pa.chunked_array([plausible]), ISO, TIME))
        times = times.combine_chunks()
    left = pc.is_null(times).to_numpy(zero_copy_only=False)
    found = [_strptime(word, form) for word in words.filter(pa.array(left)).to_pylist()]
    naive = [None if moment is None or moment.tzinfo else moment for moment in found]
    aware = [moment for moment in found if moment is not None and moment.tzinfo]
    local = pc.replace_with_mask(times, pa.array(left), pa.array(naive, TIME))
    instants = pa.nulls(len(words), TIME)
    if aware:
        shifted = [
            moment.astimezone(UTC).replace(tzinfo=None) if moment and moment.tzinfo else None
            for moment in found
        ]
        instants = pc.replace_with_mask(instants, pa.array(left), pa.array(shifted, TIME))
    zones = frozenset(canonical_zone(f"{moment:%z}") for moment in aware)
    return _Written(pa.chunked_array([local]), pa.chunked_array([instants]), zones)


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
    """Return the time, with a zone where the format reads one."""
    if word is None:
        return None
    try:
        found = datetime.strptime(word, form)  # noqa: DTZ007
        if found.tzinfo is not None:
            found.astimezone(UTC)
        elif "Z" in re.findall("%(.)", form):
            # Beside UTC and GMT `%Z` takes the names of this machine's zone, and forgets them.
            if time.strptime(word, form).tm_zone.upper() not in {"UTC", "GMT"}:
                return None
            found = found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return found


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
    if has_zone(values.type):
        # Arrow keeps UTC whatever the zone; a cast to no zone would look the zone up row by row.
        values = values.cast(pa.int64()).cast(pa.timestamp(values.type.unit))
    return values.cast(TIME, safe=False)
