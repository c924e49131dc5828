"""How messages put things: examples, counts, the nearest name, and what the system refused.

All of it is bounded, printable, and holds no secret of an address.
"""

import difflib
import errno
import os
import pwd
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from pipeline_lib.addresses import without_secrets
from pipeline_lib.shown import printable, shown

MAX_EXAMPLES = 5
_MAX_QUOTE = 60
_MAX_NAME = 200  # characters of a name that others are compared with
_MAX_KNOWN = 20_000  # names that are compared, as of a folder's files
_MAX_WORDS = 200
_OF_ONE = {"are": "is", "have": "has", "do": "does"}


def examples(values: Iterable[object]) -> str:
    """Quote the first few values for a message, each cut to 60 characters."""
    few = list(values)
    # Cut first, an address would lose the @ that its password is known by.
    quoted = (without_secrets(repr(value)) for value in few[:MAX_EXAMPLES])
    text = ", ".join(q if len(q) <= _MAX_QUOTE else f"{q[:_MAX_QUOTE]}…" for q in quoted)
    return f"{text}, …" if len(few) > MAX_EXAMPLES else text


def rows_that(n_rows: int, what: str = "") -> str:
    """Return a number of rows and what they do, as English has it for one and for many.

    >>> rows_that(1, "hold text"), rows_that(1_200, "have no value"), rows_that(1)
    ('1 row holds text', '1,200 rows have no value', '1 row')
    """
    if not what:
        return "1 row" if n_rows == 1 else f"{n_rows:,} rows"
    if n_rows != 1:
        return f"{n_rows:,} rows {what}"
    verb, _, rest = what.partition(" ")
    return f"1 row {_OF_ONE.get(verb, f'{verb}s')} {rest}"


def repeated(values: Iterable[str]) -> list[str]:
    """Return the values that stand more than once, in the order of their first places.

    >>> repeated(["b", "a", "b", "a", "c"])
    ['b', 'a']
    """
    return [value for value, n in Counter(values).items() if n > 1]


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its name; printable, and without secrets."""
    return shown((str(error).strip() or type(error).__name__).splitlines()[0])


def in_few_words(error: BaseException) -> str:
    """Return the kind of an error and the beginning of its text, on one line."""
    text = " ".join(shown(_text_of(error)).split())
    text = f"{text[:_MAX_WORDS]}…" if len(text) > _MAX_WORDS else text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text_of(error: BaseException) -> str:
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:  # noqa: BLE001 - an error may hold a value that has no text
        return ""


def refusal(error: OSError, path: Path | None = None) -> str:
    """Return `cannot use <path>: Permission denied`, with the owner if that is another user.

    Args:
        error: of the system.
        path: what refuses, if the error does not name it.
    """
    named = path or (Path(os.fsdecode(error.filename)) if error.filename is not None else None)
    reason = error.strerror or first_line(error)
    if named is None:
        return reason
    return f"cannot use {named}: {reason}{owned_by_another(named, error)}"


def no_room(error: OSError, place: Path) -> str:
    """Return what is used up where a disk is full: `25 MB are left`, or its inodes; or ""."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return ""
    existing = next((folder for folder in (place, *place.parents) if folder.exists()), None)
    try:
        disk = os.statvfs(existing or "/")
    except OSError:
        return ""
    if disk.f_files and not disk.f_favail:  # some file systems count no files
        return f"{existing} can hold no more files, all its inodes are taken"
    return f"{existing} has {disk.f_bavail * disk.f_frsize / 1e6:.1f} MB left"


def owned_by_another(path: Path, error: OSError) -> str:
    """Return `; it belongs to ann, and this is bob`, or nothing where permission is not the reason.

    Of a path that cannot be made the nearest folder above counts.
    """
    if not isinstance(error, PermissionError):
        return ""
    for place in (path, *path.parents):
        try:
            owner = place.stat().st_uid
        except OSError:
            continue
        if owner == os.geteuid():
            return ""
        it = "it" if place == path else str(place)
        return f"; {it} belongs to {user_name(owner)}, and this is {user_name(os.geteuid())}"
    return ""


def user_name(number: int) -> str:
    """Return the name of a user, or `user <number>` where the system knows none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean X?"` for the nearest known name, or an empty string.

    Blanks around a name and its case do not count as distance: a column called `" income"` is
    the nearest one to `"income"`.
    """
    match = nearest_name(name, known)
    if match is None:
        return ""
    quoted = repr(match) if match != match.strip() else printable(match)
    return f"; did you mean {quoted}?"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the nearest of the known names, blanks and case aside, if one is near at all."""
    if len(name) > _MAX_NAME:  # comparing takes time by the square of the length
        return None
    by_folded = {
        candidate.strip().casefold(): candidate
        for candidate in reversed(list(islice(known, _MAX_KNOWN)))
        if len(candidate) <= _MAX_NAME
    }
    near = difflib.get_close_matches(name.strip().casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[near[0]] if near else None


def unknown_dataset(name: str, known: Sequence[str]) -> str:
    """Return the end of a message about a dataset that is not there: the nearest, or what to do."""
    if near := did_you_mean(name, known):
        return near
    listed = f" (known: {', '.join(sorted(known)[:MAX_EXAMPLES])})" if known else ""
    return f"{listed}. Train it first: evergreen run configs/{name}.yaml"
