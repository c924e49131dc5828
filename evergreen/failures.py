"""The last resort: what to say of an exception that no one has put into words.

One line for the person, the whole traceback in a file for whoever mends it. With
`EVERGREEN_DEBUG=1` the traceback comes on the terminal instead.
"""

import errno
import os
import shutil
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from pipeline_lib.errors import EvergreenError, first_line, refusal
from pipeline_lib.shown import shown
from pipeline_lib.storage import evergreen_home

_SMALL_DISK_BYTES = 64 * 1024 * 1024
_MAX_SHOWN = 500
_OF_A_FILE = {
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


def wants_traceback() -> bool:
    """Tell whether the person asked for tracebacks on the terminal."""
    return os.environ.get("EVERGREEN_DEBUG", "") not in ("", "0")


def describe(error: Exception) -> str:
    """Return a line that says what went wrong, where, and what to do; passwords are left out."""
    return shown(_described(error))


def _described(error: Exception) -> str:
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
        return f"{refusal(error)}{_full_disks()}"
    if "temporary directory" in str(error):
        return f"{error.strerror}: set TMPDIR to a folder that can be written and has space"
    if error.filename is None:
        return ""
    if isinstance(error, FileNotFoundError):  # who should have made it?
        return refusal(error)[:_MAX_SHOWN] + _kept(error)
    return refusal(error)[:_MAX_SHOWN] if error.errno in _OF_A_FILE else ""


def _full_disks() -> str:
    """Name the places that have no room; the system does not say which it was."""
    full: list[str] = []
    for name, place in {"EVERGREEN_HOME": _home(), "TMPDIR": _temporary()}.items():
        try:
            free = shutil.disk_usage(place).free if place else _SMALL_DISK_BYTES
        except OSError:
            continue
        if free < _SMALL_DISK_BYTES:
            full.append(f"{place} has {free / 1e6:.0f} MB left ({name} names another place)")
    return f". {'; '.join(full)}" if full else ". Make room, and run the same command again"


def _kept(error: Exception) -> str:
    path = keep("".join(traceback.format_exception(error)))
    again = "set EVERGREEN_DEBUG=1 to see the traceback"
    return f". The whole traceback is in {path}" if path else f"; {again}"


def keep(text: str) -> Path | None:
    """Write a long text under the home, or else to a temporary file; for this user's eyes only."""
    home = _home()
    for folder in (home / "errors" if home and home.is_dir() else None, _temporary()):
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


def _home() -> Path | None:
    try:
        return evergreen_home()
    except (EvergreenError, OSError, RuntimeError):
        return None


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return None
