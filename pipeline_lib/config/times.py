"""Days, times and formats of times as a config writes them, checked before any row is read."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_CLOCK = r"[ T]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?"
_TIME = re.compile(rf"{_DAY.pattern}({_CLOCK}(?P<zone>Z|[+-]\d\d(:?\d\d)?)?)?")


def _written(value: object) -> object:
    """Return a day or a time as ISO 8601: what loaders of YAML and forms make of plain text."""
    return value.isoformat() if isinstance(value, date) else value


WrittenTime = Annotated[str, BeforeValidator(_written)]
"""A day or a time, kept as it is written."""


def time_problem(text: str) -> str | None:
    """Return what is wrong with a day or a time as ISO 8601, if anything is.

    >>> time_problem("2026-12-01"), time_problem("2026-12-01 10:00:00+02:00")
    (None, None)
    >>> time_problem("2026-13-01")
    "'2026-13-01' is not an ISO 8601 date or time: month must be in 1..12"
    """
    what = f"{text[:60]!r} is not an ISO 8601 date or time"
    if _TIME.fullmatch(text.strip()) is None:
        return f"{what}; write it as 2026-12-01 or 2026-12-01T18:30:00+01:00"
    try:
        datetime.fromisoformat(text.strip())
    except ValueError as error:
        return f"{what}: {error}"
    return None


def is_later(first: str, last: str, zone: str | None) -> bool:
    """Tell whether a lower bound surely lies after an upper one, both valid ISO 8601.

    A last day includes its end. Where one has a zone, and the other's is known only with the
    rows, nothing is sure.
    """
    low, high = (datetime.fromisoformat(text.strip()) for text in (first, last))
    if _DAY.fullmatch(last.strip()):
        high += timedelta(days=1) - timedelta(microseconds=1)
    if (low.tzinfo is None) is not (high.tzinfo is None):
        if zone is None:
            return False
        low, high = (t if t.tzinfo else t.replace(tzinfo=ZoneInfo(zone)) for t in (low, high))
    if low.tzinfo is None:
        low, high = low.replace(tzinfo=UTC), high.replace(tzinfo=UTC)
    return low > high


def format_problem(form: str) -> str | None:
    """Return what is wrong with a format of strptime, if anything is.

    >>> format_problem("%Y-%m-%d")
    >>> format_problem("%Y-%Q")
    "'Q' is a bad directive in format '%Y-%Q'"
    """
    try:
        datetime.strptime("", form)  # noqa: DTZ007 - the format is looked at, not a time
    except ValueError as error:
        said = str(error)
        if "bad directive" in said or "stray %" in said:
            return said
    except re.error:
        return f"{form!r} names a directive twice"
    return None if re.search("%[^%]", form) else f"{form!r} has no directive, such as %Y"
