"""Where Prefect keeps its state and how loud it is, set before it is imported.

A server that PREFECT_API_URL names is used; else an ephemeral one on the database under the home,
the same that `prefect server start` finds there later.
"""

import errno
import logging
import os
import pwd
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from pipeline_lib.errors import StorageError, UsageError, refusal
from pipeline_lib.storage import current_project, evergreen_home, in_project, writable_folder

DEFAULT_API_URL = "http://127.0.0.1:4200/api"
_TEMPORARY_BYTES = 1024 * 1024
# What commands write in the home; the rest of it is in folders with names of their own.
_PARTS = ("[!.]*", "prefect/*.db*", "datasets/*", "datasets/*/[!.]*", "datasets/*/.lock")


def prepare_user() -> None:
    """Give a user whom the system does not know a home: libraries ask for `~` when imported.

    Raises:
        UsageError: EVERGREEN_HOME begins with a `~` that means nothing here.
    """
    chosen = os.environ.get("EVERGREEN_HOME", "")
    try:
        Path(chosen).expanduser()
    except RuntimeError:
        raise UsageError(
            f"EVERGREEN_HOME={chosen!r}: no home of such a user is known; write the whole path"
        ) from None
    # It finds another folder for its cache, and says so at length.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if os.environ.get("HOME"):
        return
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ["HOME"] = str(evergreen_home())
        os.environ.setdefault("USER", f"user{os.getuid()}")  # else getpass knows no name


def require_own_home() -> Path:
    """Return the home if all that a command writes there can be written.

    Raises:
        StorageError: a part cannot, as where another user made it; the message names both.
    """
    home = writable_folder(evergreen_home())
    for pattern in _PARTS:
        for part in sorted(home.glob(pattern)):
            if not os.access(part, os.R_OK | os.W_OK):
                refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(part))
                raise StorageError(
                    f"{refusal(refused)}. Let {home} be shared through a group, or set "
                    "EVERGREEN_HOME to a folder of your own"
                )
    return home


def require_temporary_space() -> None:
    """Prove that temporary files can be written: Prefect's server would wait for two minutes.

    Raises:
        StorageError: there is no such folder, or no room in it.
    """
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(_TEMPORARY_BYTES))
            file.flush()
    except OSError as error:
        place = "" if error.errno == errno.ENOENT else f" in {tempfile.gettempdir()}"
        raise StorageError(
            f"cannot write temporary files{place}: {error.strerror}. Make room there, or set "
            "TMPDIR to a folder that can be written and has space"
        ) from error


def prepare_prefect(project: Path | None = None) -> None:
    """Set Prefect's environment for this process; what the user has set stays.

    Args:
        project: whose home is used; the working directory's project without it.

    Raises:
        StorageError: the home or temporary files cannot be written.
        UsageError: PREFECT_API_URL is no address.
    """
    _check_address()
    with in_project(project or current_project()):
        home = require_own_home()
    require_temporary_space()
    defaults = {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",  # a server that has gone is told once, by us
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the command prints its own lines
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _check_address() -> None:
    """Refuse what no client could read as an address; nothing but blanks is none."""
    url = os.environ.get("PREFECT_API_URL", "").strip()
    if not url:
        os.environ.pop("PREFECT_API_URL", None)
        return
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or brackets that are none
        is_one = False
    if not is_one:
        guess = DEFAULT_API_URL if "://" in url or "/" not in url else f"http://{url}"
        raise UsageError(
            f"PREFECT_API_URL={url[:200]!r} is no address of a Prefect server; "
            f"export PREFECT_API_URL={guess}"
        )
