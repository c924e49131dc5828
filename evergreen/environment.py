"""Where Prefect keeps its state and how loud it is, set before it is imported.

A server that PREFECT_API_URL names is used; else an ephemeral one on the database under the home,
the same that `prefect server start` finds there later.
"""

import atexit
import errno
import functools
import logging
import os
import pwd
import secrets
import tempfile
from pathlib import Path

from pipeline_lib.addresses import ServerAddress, shown_address
from pipeline_lib.errors import StorageError, UsageError
from pipeline_lib.home import Home, find_home
from pipeline_lib.openmp import let_threads_sleep
from pipeline_lib.wording import refusal

DEFAULT_API_URL = "http://127.0.0.1:4200/api"
_TEMPORARY_BYTES = 1024 * 1024
# What commands write in the home; the rest of it is in folders with names of their own.
_PARTS = (
    "[!.]*", "prefect/*.db*", "artifacts/*", "datasets/*", "datasets/*/[!.]*", "datasets/*/.lock",
)  # fmt: skip


def prepare_user() -> None:
    """Let no other user write what a command makes, threads sleep, and each user have a home.

    Libraries ask for `~` when imported, and the system does not know every user.

    Raises:
        UsageError: EVERGREEN_HOME begins with the `~` of an unknown user.
    """
    os.umask(os.umask(0o077) | 0o002)
    let_threads_sleep()
    home = find_home()
    # It finds another folder for its cache, and logs several lines about it.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    if os.environ.get("HOME"):
        return
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ["HOME"] = str(home.root)
        os.environ.setdefault("USER", f"user{os.getuid()}")  # else getpass knows no name


def require_own_home(home: Home) -> None:
    """Make the home if it is not there, and prove that all that a command writes can be written.

    What this process makes from here on is closed to other users as the home is.

    Raises:
        StorageError: a part cannot, as where another user made it; the message names both.
    """
    home.enter()
    _require_parts(home.root)


def is_usable(home: Home) -> bool:
    """Return whether there is a home that can be used; commands that only look make none.

    Raises:
        StorageError: a part of it, or the place for it, cannot be written.
    """
    root = home.root
    if root.is_dir():
        _require_parts(root)
        return True
    if root.exists():
        raise StorageError(f"{root} is a file. Rename it, or set EVERGREEN_HOME to a folder")
    above = next(folder for folder in root.parents if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(above))
        raise StorageError(
            f"{root} cannot be made: {refusal(refused)}. Set EVERGREEN_HOME to a folder of your own"
        )
    return False


def _require_parts(home: Path) -> None:
    for pattern in ("", *_PARTS):
        for part in sorted(home.glob(pattern)) if pattern else [home]:
            if not os.access(part, os.R_OK | os.W_OK):
                is_fixed = os.statvfs(part).f_flag & os.ST_RDONLY
                number = errno.EROFS if is_fixed else errno.EACCES
                refused = OSError(number, os.strerror(number), str(part))
                way = "Make it writable" if is_fixed else f"Let {home} be shared through a group"
                raise StorageError(
                    f"{refusal(refused)}. {way}, or set EVERGREEN_HOME to a folder of your own"
                )


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


def prepare_prefect(home: Home, *, looks_only: bool = False) -> None:
    """Set Prefect's environment for this process; what the user has set stays.

    Args:
        home: where Prefect keeps its state.
        looks_only: make no home; where there is none, Prefect is given a temporary folder.

    Raises:
        StorageError: the home or temporary files cannot be written.
        UsageError: PREFECT_API_URL is no address.
    """
    _check_address()
    if looks_only:
        is_there = is_usable(home)
    else:
        require_own_home(home)
        is_there = True
    require_temporary_space()
    if "PREFECT_API_URL" not in os.environ:
        os.environ.update(_own_credentials())
        os.environ.pop("PREFECT_API_KEY", None)  # of another server
    defaults = {
        "PREFECT_HOME": str(home.prefect) if is_there else _folder_of_the_moment(),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        # Of a server that takes a call and never answers: Prefect's own 6 times 60 s are silence.
        "PREFECT_API_REQUEST_TIMEOUT": "20",
        "PREFECT_CLIENT_MAX_RETRIES": "1",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",  # a lost server is reported once, by us
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the command prints its own lines
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _folder_of_the_moment() -> str:
    """Return a folder that is gone when this process ends."""
    folder = tempfile.TemporaryDirectory(prefix="evergreen-")
    atexit.register(folder.cleanup)
    return folder.name


@functools.cache
def _own_credentials() -> dict[str, str]:
    """Return the only credentials that the temporary server of this process accepts.

    Loopback is open to every user of the machine; the environment is not.
    """
    secret = f"evergreen:{secrets.token_urlsafe(32)}"
    return {"PREFECT_SERVER_API_AUTH_STRING": secret, "PREFECT_API_AUTH_STRING": secret}


def _check_address() -> None:
    """Refuse what no client could read as an address; nothing but blanks is none.

    A user and password in it go where Prefect expects them: in the address they would stand in
    links, messages and the process list of every child.
    """
    url = os.environ.get("PREFECT_API_URL", "").strip()
    if not url:
        os.environ.pop("PREFECT_API_URL", None)
        return
    try:
        address = ServerAddress.of(url)
    except ValueError:
        guess = DEFAULT_API_URL if "://" in url or "/" not in url else f"http://{url}"
        raise UsageError(
            f"PREFECT_API_URL={shown_address(url)[:200]!r} is not the address of a Prefect server; "
            f"export PREFECT_API_URL={shown_address(guess)}"
        ) from None
    if address.credentials:
        os.environ["PREFECT_API_URL"] = address.url
        os.environ["PREFECT_API_AUTH_STRING"] = address.credentials
