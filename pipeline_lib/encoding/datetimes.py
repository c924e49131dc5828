"""Times become floats: `elapsed` and `year` scaled, all other parts as sine and cosine.

A cyclical part is the angle 2π·k / period, the sine first, where k counts from 0 at
January (period 12), the first of a month (31), January 1 (366), Monday (7), midnight (24 hours)
and the full hour (60 minutes). The angle of a time is the one at the part's beginning: 13:59 has
the hour 13. The clock is that of the column's time zone; without one it is the clock that the
column shows. `elapsed` counts what has passed, whatever clocks say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.config.columns import DatetimePart
from pipeline_lib.data.arrow import is_null, microseconds
from pipeline_lib.data.values.zones import to_local
from pipeline_lib.encoding.moments import Moments, Scale
from pipeline_lib.storage.json_files import Json

Micros = npt.NDArray[np.int64]

_MICROSECONDS = pa.timestamp("us")
_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_DAY_US = 24 * _HOUR_US
_PERIODS: dict[DatetimePart, int] = {
    "month": 12,
    "day": 31,
    "day_of_year": 366,
    "weekday": 7,
    "hour": 24,
    "minute": 60,
}


def _circle(period: int) -> npt.NDArray[np.float32]:
    angles = 2 * np.pi * np.arange(period) / period
    return np.stack([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


_CIRCLES = {part: _circle(period) for part, period in _PERIODS.items()}


@dataclass(frozen=True)
class DatetimeInput:
    """The parts of a time, in the order of the settings; of a missing one all are 0.

    `first_us` are the microseconds since 1970 of the first training row, from which `elapsed`
    counts days; `scales` are those of `elapsed` and `year`, as far as they are among the parts.
    `zone` is the one whose clock the parts are read from.
    """

    column: str
    nullable: bool
    parts: tuple[DatetimePart, ...]
    first_us: int
    scales: Mapping[str, Scale] = field(hash=False)
    zone: str | None = None

    @property
    def width(self) -> int:
        """The number of floats per row: 1 or 2 per part, and 1 for the indicator."""
        return sum(1 if part in self.scales else 2 for part in self.parts) + self.nullable

    def encode(self, values: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float32]:
        """Return parts and, if nullable, 1.0 where a time is missing.

        Args:
            values: timestamps or dates, length ``n_rows``.

        Returns:
            Shape ``(n_rows, width)``.
        """
        micros, is_missing = _micros(values)
        encoded = np.zeros((len(micros), self.width), np.float32, order="F")
        calendar, at = _Calendar(to_local(micros, self.zone)), 0
        for part in self.parts:
            if part in self.scales:
                numbers = (
                    (micros - np.float64(self.first_us)) / _DAY_US
                    if part == "elapsed"
                    else calendar.part(part).astype(np.float64)
                )
                encoded[:, at] = self.scales[part].apply(numbers)
                at += 1
            else:
                encoded[:, at : at + 2] = _CIRCLES[part][calendar.part(part)]
                at += 2
        if is_missing is not None:
            encoded[is_missing] = 0.0
            if self.nullable:
                encoded[is_missing, at] = 1.0
        return encoded

    def to_json(self) -> dict[str, Json]:
        """Return the first training time, the scales and the zone, if there is one."""
        scales: dict[str, Json] = {part: scale.to_json() for part, scale in self.scales.items()}
        zone: dict[str, Json] = {} if self.zone is None else {"zone": self.zone}
        return {"first_us": self.first_us, **scales, **zone}


class DatetimeFitter:
    """Learns a `DatetimeInput` from training rows."""

    def __init__(
        self,
        column: str,
        parts: tuple[DatetimePart, ...],
        *,
        nullable: bool,
        zone: str | None = None,
    ) -> None:
        self._column, self._parts, self._nullable = column, parts, nullable
        self._zone = zone
        self._origin: int | None = None
        self._first = 0
        self._days, self._years = Moments(), Moments()

    def add(self, values: pa.ChunkedArray) -> None:
        """Look at training rows."""
        micros, is_missing = _micros(values)
        if is_missing is not None:
            micros = micros[~is_missing]
        if not len(micros):
            return
        first = int(micros.min())
        if self._origin is None:
            self._origin, self._first = int(micros[0]), first
        self._first = min(self._first, first)
        # From a row of the table, not from 1970: times of one minute keep their differences.
        self._days.add((micros - np.float64(self._origin)) / _DAY_US)
        if "year" in self._parts:
            local = to_local(micros, self._zone)
            self._years.add(_Calendar(local).part("year").astype(np.float64))

    def finish(self) -> DatetimeInput:
        """Return what was learned."""
        scales: dict[str, Scale] = {}
        if "elapsed" in self._parts:
            days = self._days.scale()
            from_first = ((self._origin or 0) - self._first) / _DAY_US
            scales["elapsed"] = Scale(days.mean + from_first, days.deviation)
        if "year" in self._parts:
            scales["year"] = self._years.scale()
        return DatetimeInput(
            self._column, self._nullable, self._parts, self._first, scales, self._zone
        )


class _Calendar:
    """Parts of times as small integers that count from 0; `year` is the year itself."""

    def __init__(self, micros: Micros) -> None:
        self._micros = micros

    @cached_property
    def _days(self) -> Micros:
        return self._micros // _DAY_US

    def part(self, part: DatetimePart) -> npt.NDArray[np.int64]:
        """Return a part, shape ``(n_rows,)``."""
        match part:
            case "minute":
                return self._micros // _MINUTE_US % 60
            case "hour":
                return self._micros // _HOUR_US % 24
            case "weekday":
                return (self._days + 3) % 7  # 1970 began on a Thursday
            case "year":
                return self._whole("Y").astype(np.int64) + 1970
            case "month":
                return self._whole("M").astype(np.int64) % 12
            case "day":
                return self._days - self._whole("M").astype("datetime64[D]").astype(np.int64)
            case "day_of_year":
                return self._days - self._whole("Y").astype("datetime64[D]").astype(np.int64)
            case "elapsed":
                raise AssertionError("elapsed is no part of a calendar")

    def _whole(self, unit: Literal["M", "Y"]) -> npt.NDArray[np.datetime64]:
        """Return months or years since 1970."""
        return self._days.view("datetime64[D]").astype(f"datetime64[{unit}]")


def _micros(
    values: pa.ChunkedArray | pa.Array,
) -> tuple[Micros, npt.NDArray[np.bool_] | None]:
    """Return microseconds since 1970 and, if a time is missing, which one."""
    if len(values) == 1 and values.type == _MICROSECONDS:
        only: int | None = values[0].value  # one row: what is quick for many is slow for one
        return np.array([only or 0], np.int64), np.array([True]) if only is None else None
    micros = microseconds(values)
    if not values.null_count:
        return micros, None
    return micros, is_null(values)
