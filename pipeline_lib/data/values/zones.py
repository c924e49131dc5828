"""Time zones: how the times of a column are written, and what a clock shows in a zone.

Offsets are those of Python's zoneinfo: of a local time that occurs twice the first one is meant,
and one that is skipped moves on by as much. A zone is an IANA name or a fixed offset as `-05:00`;
None is no zone, whose clock is UTC's.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Micros = npt.NDArray[np.int64]
MAX_NAIVE = 6

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY_US = 86_400_000_000
_FIRST_DAY = (date(1, 1, 3) - date(1970, 1, 1)).days
_LAST_DAY = (date(9999, 12, 29) - date(1970, 1, 1)).days
_OFFSET = re.compile(r"([+-])(\d\d)(?::?(\d\d))?")
_UTC_NAMES = frozenset(
    {"Z", "UTC", "UCT", "GMT", "Etc/UTC", "Etc/UCT", "Etc/GMT", "Zulu", "Etc/Zulu", "Universal"}
)
_ZONES = b"evergreen.zones"


@dataclass(frozen=True)
class Clocks:
    """How times are written.

    Attributes:
        n_naive: the number of times without a zone.
        naive: the first few of them, at most `MAX_NAIVE`.
        zones: the names or offsets that the others have.
        of_type: the zone that the column's Arrow type has.
    """

    n_naive: int = 0
    naive: tuple[object, ...] = ()
    zones: frozenset[str] = frozenset()
    of_type: str | None = None

    def __add__(self, other: "Clocks") -> "Clocks":
        """Return how the times of both are written."""
        naive = (*self.naive, *other.naive)[:MAX_NAIVE]
        zones = self.zones | other.zones
        return Clocks(self.n_naive + other.n_naive, naive, zones, other.of_type)


@dataclass(frozen=True)
class ColumnZone:
    """The zone of a column's clock, and what a person should know of it, or None."""

    name: str | None
    note: str | None = None


def canonical_zone(name: str) -> str:
    """Return one name for each offset, and `UTC` for all of its names.

    >>> [canonical_zone(name) for name in ("Z", "+0000", "-05", "+0530", "Europe/Berlin")]
    ['UTC', 'UTC', '-05:00', '+05:30', 'Europe/Berlin']
    """
    if name in _UTC_NAMES:
        return "UTC"
    if (offset := _OFFSET.fullmatch(name)) is None:
        return name
    sign, hours, minutes = offset[1], offset[2], offset[3] or "00"
    return "UTC" if hours == minutes == "00" else f"{sign}{hours}:{minutes}"


def is_known_zone(name: str) -> bool:
    """Report whether this machine knows the offsets of a zone."""
    try:
        _info(canonical_zone(name))
    except (KeyError, ValueError, OSError):
        return False
    return True


def common_zone(zones: Iterable[str], setting: str) -> ColumnZone:
    """Return the zone of a column whose times have these; none if they have none.

    Args:
        zones: names and offsets.
        setting: what a person sets to say another one, for the note.
    """
    known = sorted({canonical_zone(zone) for zone in zones})
    if not known:
        return ColumnZone(None)
    if len(known) > 1:
        shown = " and ".join(known) if len(known) == 2 else f"{known[0]} to {known[-1]}"
        return ColumnZone(
            "UTC",
            f"its times have {len(known)} different offsets or zones ({shown}), so its hours and "
            f"days are UTC's; set `{setting}`, as America/New_York, if they are of one place",
        )
    if not is_known_zone(known[0]):
        return ColumnZone(
            "UTC",
            f"this machine does not know its time zone {known[0]!r}, so its hours and days are "
            f"UTC's; set `{setting}` to an IANA name",
        )
    return ColumnZone(known[0])


def zones_metadata(zones: Iterable[str]) -> dict[bytes, bytes]:
    """Return zones that a column's type does not hold, as the metadata of its field."""
    return {_ZONES: "\n".join(sorted(zones)).encode()}


def zones_of_field(field: pa.Field) -> frozenset[str]:
    """Return the zones of `zones_metadata`."""
    zones = (field.metadata or {}).get(_ZONES)
    return frozenset(zones.decode().split("\n")) if zones else frozenset()


def to_local(micros: Micros, zone: str | None) -> Micros:
    """Return what a clock in the zone shows, both in microseconds since 1970; same shape."""
    if zone is None or zone == "UTC" or not len(micros):
        return micros
    return micros + _offsets(micros, zone)


def to_utc(local: Micros, zone: str | None) -> Micros:
    """Return the instants at which a clock in the zone shows these times; same shape."""
    if zone is None or zone == "UTC" or not len(local):
        return local
    before, after = _offsets(local - _DAY_US, zone), _offsets(local + _DAY_US, zone)
    instants = local - before
    if len(unclear := np.flatnonzero(before != after)):
        words, places = np.unique(local[unclear], return_inverse=True)
        info = _info(zone)
        offsets = [
            _whole((_EPOCH + timedelta(microseconds=word)).replace(tzinfo=info).utcoffset())
            for word in words.tolist()
        ]
        instants[unclear] = local[unclear] - np.array(offsets, np.int64)[places]
    return instants


def array_of_times(values: Sequence[object]) -> pa.Array | None:
    """Return Python's datetimes as Arrow, if one has a zone; None where none has.

    Arrow itself gives all of them the zone of the first, and those without one too. Here they have
    the zone of all, UTC where there are several, and are ISO 8601 text where some have none.
    """
    present = [None if _is_missing(value) else value for value in values]
    aware = [v for v in present if isinstance(v, datetime) and v.tzinfo is not None]
    if not aware:
        return None
    if len(aware) + present.count(None) < len(present):
        words = [
            v.isoformat() if isinstance(v, date) else v if v is None else str(v) for v in present
        ]
        return pa.array(words, pa.string())
    of_zone = {id(time.tzinfo): time for time in aware}
    zones = {str(pa.array([time]).type.tz) for time in of_zone.values()}
    zone = zones.pop() if len(zones) == 1 else "UTC"
    instants = [v.astimezone(UTC) if isinstance(v, datetime) else None for v in present]
    return pa.array(instants, pa.timestamp("us", zone))


def _is_missing(value: object) -> bool:
    """Report whether a value is there: not None, NaN, NaT or NA."""
    try:
        return value is None or bool(value != value)  # noqa: PLR0124
    except TypeError:  # pandas' NA is neither equal nor different
        return True


@lru_cache(maxsize=1024)
def _info(zone: str) -> tzinfo:
    if zone == "UTC":
        return UTC
    if (offset := _OFFSET.fullmatch(zone)) is not None:
        span = timedelta(hours=int(offset[2]), minutes=int(offset[3] or 0))
        return timezone(-span if offset[1] == "-" else span)
    return ZoneInfo(zone)


def _offsets(micros: Micros, zone: str) -> Micros:
    """Return the microseconds that clocks of the zone are ahead of UTC at these instants."""
    if len(micros) == 1:  # what is quick for many is slow for one
        return np.array([_offset_at(zone, int(micros[0]))], np.int64)
    days = np.clip(micros // _DAY_US, _FIRST_DAY, _LAST_DAY)
    first, last = int(days.min()), int(days.max())
    here = days - first
    is_there = np.zeros(last - first + 2, np.bool_)
    is_there[here] = True
    is_there[1:] |= is_there[:-1]  # and the midnight after each day
    at_midnight = np.zeros(len(is_there), np.int64)
    there = np.flatnonzero(is_there)
    at_midnight[there] = [_offset_at_midnight(zone, first + day) for day in there.tolist()]
    offsets, next_ones = at_midnight[here], at_midnight[here + 1]
    if len(changing := np.flatnonzero(offsets != next_ones)):
        instants, places = np.unique(micros[changing], return_inverse=True)
        exact = [_offset_at(zone, instant) for instant in instants.tolist()]
        offsets[changing] = np.array(exact, np.int64)[places]
    return offsets


@lru_cache(maxsize=100_000)
def _offset_at_midnight(zone: str, day: int) -> int:
    return _offset_at(zone, day * _DAY_US)


def _offset_at(zone: str, micros: int) -> int:
    try:
        return _whole((_EPOCH + timedelta(microseconds=micros)).astimezone(_info(zone)).utcoffset())
    except OverflowError:  # the first and last hours that Python has
        return _offset_at_midnight(zone, _FIRST_DAY if micros < 0 else _LAST_DAY)


def _whole(offset: timedelta | None) -> int:
    assert offset is not None
    return offset // _MICROSECOND
