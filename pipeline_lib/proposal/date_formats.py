"""In which format a column of text writes dates or times."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from pipeline_lib.data.values.patterns import DAY, ZONE
from pipeline_lib.proposal.column_facts import ColumnFacts

_MAX_WORDS = 10_000
# strptime is slow: what has not the shape of a date is not given to it.
_SHAPE = re.compile(
    r"\d{8}\b|\d{1,4}[./ -](\d{1,2}|[^\W\d]{3,9})[./ -]\d{2,4}\b|[^\W\d]{3,9} \d{1,2}, \d{4}\b"
)
_ISO = rf"^{DAY}([ T]\d\d:\d\d(:\d\d(\.\d+)?)?{ZONE}?)?$"
_CLOCKS = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
# Month first where there are slashes, as in America; day first elsewhere. Of two that fit the first
# is proposed, and the other one noted.
_DATES = (
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%m.%d.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%y",
    "%d-%b-%y",
)


@dataclass(frozen=True)
class DateFormat:
    """How dates are written; `form` is None for ISO 8601, `other` is one that fits as well."""

    form: str | None
    other: str | None
    first: datetime
    last: datetime
    has_clock: bool


def find_date_format(facts: ColumnFacts) -> DateFormat | None:
    """Return the format of all values, or None: they are no dates, or of several formats."""
    if not facts.is_text or not facts.all_match(r"^\s*\w.*\d.*$"):
        return None
    words = _some_words(facts)
    if facts.all_match(_ISO):
        times = [_iso(word) for word in words]
        return _found(None, None, times)
    fitting = [(form, times) for form in _forms(words[0]) if (times := _all(words, form))]
    if not fitting:
        return None
    # Of eight digits only those of our days are dates.
    form, times = fitting[0]
    if form.startswith("%Y%m%d") and not (
        facts.all_match(r"^\s*(19|20)\d{6}\b") and max(times).year <= 2100
    ):
        return None
    return _found(form, fitting[1][0] if len(fitting) > 1 else None, times)


def share_of_dates(facts: ColumnFacts) -> float:
    """Return the share of a text's different values that some format reads."""
    words = _some_words(facts)
    read = sum(
        re.match(_ISO, word) is not None or next(_forms(word), None) is not None for word in words
    )
    return read / len(words)


def _some_words(facts: ColumnFacts) -> list[str]:
    words = facts.counted[0]
    places = np.linspace(0, len(words) - 1, min(len(words), _MAX_WORDS)).astype(np.int64)
    return [str(word).strip() for word in words.take(pa.array(places)).to_pylist()]


def _forms(word: str) -> Iterator[str]:
    if _SHAPE.match(word) is None:
        return
    for date in _DATES:
        for clock in _CLOCKS:
            if _read(word, date + clock) is not None:
                yield date + clock


def _all(words: list[str], form: str) -> list[datetime]:
    times: list[datetime] = []
    for word in words:
        time = _read(word, form)
        if time is None:
            return []
        times.append(time)
    return times


def _read(word: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(word, form)  # noqa: DTZ007
    except ValueError:
        return None


def _iso(word: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(word)
    except ValueError:
        return None
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time


def _found(
    form: str | None, other: str | None, times: "list[datetime] | list[datetime | None]"
) -> DateFormat | None:
    known = [time for time in times if time is not None]
    if len(known) < len(times) or not known:
        return None
    has_clock = any((time.hour, time.minute, time.second) != (0, 0, 0) for time in known)
    return DateFormat(form, other, min(known), max(known), has_clock)
