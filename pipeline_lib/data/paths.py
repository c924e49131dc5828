"""Which files a source's path means: one, those of a glob, or one or more of every day.

`{YYYY}`, `{MM}` and `{DD}` may stand anywhere in a path and beside stars; a day that no calendar
has is no day, and a file of a day after the run's is not looked at.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import PurePosixPath

from pipeline_lib.data.files import DataFile, Store
from pipeline_lib.errors import SourceError, SourceNotFoundError

_DATE_GLOBS = {"{YYYY}": "[0-9][0-9][0-9][0-9]", "{MM}": "[0-9][0-9]", "{DD}": "[0-9][0-9]"}
_DATE_GROUPS = {"{YYYY}": ("year", r"\d{4}"), "{MM}": ("month", r"\d\d"), "{DD}": ("day", r"\d\d")}
_TOKENS = re.compile(r"(\{YYYY\}|\{MM\}|\{DD\}|\*\*/|\*+|\?|\[!?\]?[^\]]*\])")
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True)
class DatedFile:
    """A file, and the day in its path where the path has one."""

    file: DataFile
    day: date | None = None


@dataclass(frozen=True)
class Found:
    """Files in the order that their rows are read in, and the days of the window without one."""

    files: tuple[DatedFile, ...]
    missing_days: tuple[date, ...] = ()


def find_files(path: str, store: Store, *, window_days: int | None, run_date: date) -> Found:
    """Return the files that a path means, by day and then by name.

    Args:
        path: a file, a glob, or a path with `{YYYY}`, `{MM}` and `{DD}`. A file that is called
            exactly so is that file, whatever stars and brackets its name has.
        store: where to look.
        window_days: of a path with dates, how many days to take, `run_date` the last; without it
            every day up to `run_date`.
        run_date: files of later days are left alone.

    Raises:
        SourceNotFoundError: there is none; the message says what was looked for.
        SourceError: a file is empty, or cannot be listed.
    """
    if "{YYYY}" in path:
        found = _find_days(path, store, window_days=window_days, run_date=run_date)
    elif (file := store.file(path)) is not None:
        found = Found((DatedFile(file),))
    elif any(character in path for character in "*?["):
        files = sorted(store.matches(path).values(), key=lambda file: file.name)
        found = Found(tuple(DatedFile(file) for file in files))
        if not found.files:
            raise SourceNotFoundError(f"{store.place(path)}: no file matches")
    else:
        raise store.missing(path)
    if empty := [dated.file.name for dated in found.files if dated.file.size_bytes == 0]:
        more = f" ({len(empty)} files are)" if len(empty) > 1 else ""
        raise SourceError(f"{empty[0]} is empty{more}")
    return found


def day_in(path: str, pattern: str) -> date | None:
    """Return the day that a path has where the pattern says, or None where no calendar has it.

    >>> day_in("data/day=2026-05-01/part-7.csv", "data/day={YYYY}-{MM}-{DD}/*.csv")
    datetime.date(2026, 5, 1)
    """
    match = re.fullmatch(_regex(pattern), path)
    try:
        return date(*(int(match[part]) for part in ("year", "month", "day"))) if match else None
    except ValueError:
        return None


def _find_days(path: str, store: Store, *, window_days: int | None, run_date: date) -> Found:
    pattern = path if "://" in path else str(PurePosixPath(path))  # as found: no `//`, no `./`
    as_glob = re.sub("|".join(map(re.escape, _DATE_GLOBS)), lambda m: _DATE_GLOBS[m[0]], pattern)
    files = [
        DatedFile(file, day)
        for found, file in store.matches(as_glob).items()
        if (day := day_in(found, pattern))
    ]
    days = {dated.day for dated in files if dated.day}
    first = min(days, default=run_date)
    if window_days:
        first = run_date - (window_days - 1) * _ONE_DAY
    inside = [dated for dated in files if dated.day and first <= dated.day <= run_date]
    if not inside:
        raise SourceNotFoundError(
            f"{store.place(path)}: there is no file of "
            f"{_span(first, run_date) if window_days else f'a day up to {run_date}'}"
            f"{_nearest(days, run_date)}"
        )
    every = (first + n * _ONE_DAY for n in range((run_date - first).days + 1))
    return Found(
        tuple(sorted(inside, key=lambda dated: (dated.day or date.min, dated.file.name))),
        tuple(day for day in every if day not in days),
    )


def _regex(pattern: str) -> str:
    seen: set[str] = set()

    def translated(piece: str) -> str:
        if piece in _DATE_GROUPS:
            name, digits = _DATE_GROUPS[piece]
            if name in seen:  # a date that stands twice says the same twice
                return f"(?P={name})"
            seen.add(name)
            return f"(?P<{name}>{digits})"
        if piece == "**/":
            return "(?:.*/)?"
        if piece.startswith("*"):
            return ".*" if piece == "**" else "[^/]*"
        if piece == "?":
            return "[^/]"
        if piece.startswith("[") and piece.endswith("]"):
            return "[^/]"  # the glob has looked closer
        return re.escape(piece)

    return "".join(translated(piece) for piece in _TOKENS.split(pattern))


def _span(first: date, last: date) -> str:
    return f"the days {first} to {last}" if first < last else str(first)


def _nearest(days: Iterable[date], run_date: date) -> str:
    past = [day for day in days if day <= run_date]
    future = [day for day in days if day > run_date]
    if past:
        return f"; the latest is of {max(past)}"
    return f"; the first is of {min(future)}, after the run's date" if future else ""
