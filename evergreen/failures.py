"""The last resort: what to say of an exception that no one has put into words.

One line for the person, the whole traceback in a file for debugging. With
`EVERGREEN_DEBUG=1` the traceback comes on the terminal instead.
"""

import errno
import os
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from pipeline_lib.errors import EvergreenError
from pipeline_lib.home import Home, find_home
from pipeline_lib.shown import shown
from pipeline_lib.wording import first_line, refusal

_SMALL_DISK_BYTES = 64 * 1024 * 1024
_MAX_SHOWN = 500
_MOVE_AWAY = "Move away what is in its place, or set EVERGREEN_HOME to another folder"
_WRITABLE = "Make it yours to read and write, or set EVERGREEN_HOME to a folder that is"
_WAYS_OUT = {
    errno.EACCES: _WRITABLE,
    errno.EPERM: _WRITABLE,
    errno.EROFS: _WRITABLE,
    errno.EIO: "The disk may be broken: look at the system's log",
}


def wants_traceback() -> bool:
    """Return whether the user asked for tracebacks on the terminal."""
    return os.environ.get("EVERGREEN_DEBUG", "") not in ("", "0")


def describe(error: Exception | SystemExit) -> str:
    """Return a line that says what went wrong, where, and what to do; passwords are left out."""
    return shown(_described(error))


def _described(error: Exception | SystemExit) -> str:
    if isinstance(error, OSError) and (text := _of_the_system(error)):
        return text
    match error:
        case MemoryError():
            text = "there is not enough memory for this table on this machine"
        case ModuleNotFoundError():
            text = (
                f"{first_line(error)}: the environment is incomplete. Install with "
                "`pip install -c constraints.txt -e .`; `evergreen doctor` looks at the rest"
            )
        case _ if type(error).__module__.partition(".")[0] in ("httpx", "httpcore"):
            text = f"a server does not answer ({first_line(error)[:200]}): see `evergreen doctor`"
        case UnicodeEncodeError():
            text = (
                f"a name cannot be written in the encoding of this environment "
                f"({error.encoding}); set PYTHONUTF8=1 or LC_ALL=C.UTF-8"
            )
        case _:
            text = f"unexpected {type(error).__name__}: {first_line(error)[:500]}"
    return text + _kept(error)


def _of_the_system(error: OSError) -> str:
    """Return what a file or folder that refuses comes to, or nothing for other errors."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{refusal(error)}{full_disks()}"
    if "temporary directory" in str(error):
        return f"{error.strerror}: set TMPDIR to a folder that can be written and has space"
    if error.filename is None:
        return ""
    text = refusal(error)[:_MAX_SHOWN]
    if isinstance(error, FileNotFoundError):  # who should have made it?
        return text + _kept(error)
    return f"{text}. {_WAYS_OUT.get(error.errno or 0, _MOVE_AWAY)}"


def full_disks(wanted: Path | None = None) -> str:
    """Name the places that have no room; the system does not say which it was.

    Args:
        wanted: what could not be written, named where no place is known to be full.
    """
    full: list[str] = []
    home = _home()
    for name, place in {"EVERGREEN_HOME": home and home.root, "TMPDIR": _temporary()}.items():
        try:
            disk = os.statvfs(place) if place else None
        except OSError:
            continue
        if disk is None:
            continue
        free, there = disk.f_bavail * disk.f_frsize, f"({name} names another place)"
        if disk.f_files and not disk.f_favail:  # some file systems count no files
            full.append(f"{place} can hold no more files, all its inodes are taken {there}")
        elif free < _SMALL_DISK_BYTES:
            full.append(f"{place} has {free / 1e6:.0f} MB left {there}")
    if full:
        return f". {'; '.join(full)}"
    room = f"Make room for {wanted}" if wanted else "Make room"
    return f". {room}, and run the same command again"


def _kept(error: Exception | SystemExit) -> str:
    path = keep("".join(traceback.format_exception(error)))
    again = "set EVERGREEN_DEBUG=1 to see the traceback"
    return f". The whole traceback is in {path}" if path else f"; {again}"


def keep(text: str) -> Path | None:
    """Write a long text under the home, or else to a temporary file; for this user's eyes only."""
    home = _home()
    for folder in (home.errors if home and home.root.is_dir() else None, _temporary()):
        if folder is None:
            continue
        try:
            folder.mkdir(0o770, exist_ok=True)
            prefix = f"evergreen-{datetime.now(UTC):%Y%m%dT%H%M%S}-"
            number, path = tempfile.mkstemp(".txt", prefix, folder, text=True)
            with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(shown(text))
        except OSError:
            continue
        return Path(path)
    return None


def _home() -> Home | None:
    try:
        return find_home()
    except (EvergreenError, OSError, RuntimeError):
        return None


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return None
