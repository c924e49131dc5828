"""Which files a source's path means: one, those of a glob, or one or more of every day.

`{YYYY}`, `{MM}` and `{DD}` may stand anywhere in a path and beside stars; a day that no calendar
has is no day, and a file of a day after the run's is not looked at.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import PurePosixPath

from pipeline_lib.data.sources.stores import DataFile, Store
from pipeline_lib.errors import SourceError, SourceNotFoundError

_DATE_GLOBS = {"{YYYY}": "[0-9][0-9][0-9][0-9]", "{MM}": "[0-9][0-9]", "{DD}": "[0-9][0-9]"}
_DATE_DIGITS = {"{YYYY}": 4, "{MM}": 2, "{DD}": 2}
_TOKENS = re.compile(r"(\{YYYY\}|\{MM\}|\{DD\}|\*\*/|\*+|\?|\[!?\]?[^\]]*\])")
_ONE_DAY = timedelta(days=1)
_MAX_READINGS = 300_000
# The number of a piece of the pattern, a place in the path, and the parts of a date so far.
_Reading = tuple[int, int, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class DatedFile:
    """A file, and the day in its path where the path has one."""

    file: DataFile
    day: date | None = None


@dataclass(frozen=True)
class FoundFiles:
    """Files in the order that their rows are read in, and the days of the window without one."""

    files: tuple[DatedFile, ...]
    missing_days: tuple[date, ...] = ()


def find_files(path: str, store: Store, *, window_days: int | None, run_date: date) -> FoundFiles:
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
        found = FoundFiles((DatedFile(file),))
    elif any(character in path for character in "*?["):
        files = sorted(store.matches(path).values(), key=lambda file: file.name)
        found = FoundFiles(tuple(DatedFile(file) for file in files))
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
    found = _dates_in(path, pattern)
    try:
        return date(*(int(found[part]) for part in _DATE_DIGITS)) if found else None
    except ValueError:
        return None


def _find_days(path: str, store: Store, *, window_days: int | None, run_date: date) -> FoundFiles:
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
    return FoundFiles(
        tuple(sorted(inside, key=lambda dated: (dated.day or date.min, dated.file.name))),
        tuple(day for day in every if day not in days),
    )


def _pieces(pattern: str) -> list[str]:
    """Take a pattern apart; two stars within a name are one."""
    pieces: list[str] = []
    for piece in _TOKENS.split(pattern):
        is_name = not pieces or pieces[-1].endswith("/")
        if piece == "**/" and not is_name:
            pieces += ["*", "/"]
        elif piece:
            pieces.append("*" if piece.startswith("**") and not is_name else piece)
    return pieces


def _dates_in(path: str, pattern: str) -> dict[str, str] | None:
    """Return the digits that stand for each part of a date, or None where the pattern says no.

    Of several ways to read a path the one is taken in which the first star is longest, then the
    second, and so on. A place that was once tried in vain is not tried again.

    Raises:
        SourceError: there are too many ways.
    """
    pieces = _pieces(pattern)
    waiting: list[_Reading] = [(0, 0, ())]
    tried: set[_Reading] = set()
    while waiting:
        reading = waiting.pop()
        if reading in tried:
            continue
        tried.add(reading)
        if len(tried) > _MAX_READINGS:
            raise SourceError(
                f"{pattern[:200]}: a path can be read as a date in too many ways; use fewer stars "
                "beside {YYYY}, {MM} and {DD}"
            )
        number, place, dates = reading
        if number == len(pieces):
            if place == len(path):
                return dict(dates)
            continue
        waiting += _next_readings(pieces[number], reading, path)  # the last is tried first
    return None


def _next_readings(piece: str, reading: _Reading, path: str) -> list[_Reading]:
    number, place, dates = reading
    passed = (number + 1, place, dates)
    if piece in _DATE_DIGITS:
        digits = path[place : place + _DATE_DIGITS[piece]]
        known = dict(dates).get(piece, digits)  # a date that stands twice says the same twice
        if len(digits) < _DATE_DIGITS[piece] or not (digits.isascii() and digits.isdigit()):
            return []
        after = dates if piece in dict(dates) else (*dates, (piece, digits))
        return [(number + 1, place + len(digits), after)] if known == digits else []
    if piece == "**/":
        slash = path.find("/", place) + 1
        return [passed, (number, slash, dates)] if slash else [passed]
    if piece.startswith("*"):
        is_open = place < len(path) and (piece == "**" or path[place] != "/")
        return [passed, (number, place + 1, dates)] if is_open else [passed]
    if piece == "?" or (piece.startswith("[") and piece.endswith("]")):
        # The glob has looked closer.
        is_one = place < len(path) and path[place] != "/"
        return [(number + 1, place + 1, dates)] if is_one else []
    return [(number + 1, place + len(piece), dates)] if path.startswith(piece, place) else []


def _span(first: date, last: date) -> str:
    return f"the days {first} to {last}" if first < last else str(first)


def _nearest(days: Iterable[date], run_date: date) -> str:
    past = [day for day in days if day <= run_date]
    future = [day for day in days if day > run_date]
    if past:
        return f"; the latest is of {max(past)}"
    return f"; the first is of {min(future)}, after the run's date" if future else ""
