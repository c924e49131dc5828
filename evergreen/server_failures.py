"""Why Prefect's temporary server failed: its own words, brought down to what a person can do."""

import os
import re
from pathlib import Path

from evergreen.failures import full_disks, keep
from pipeline_lib.addresses import without_secrets
from pipeline_lib.errors import ServerError

DOES_NOT_START = "Prefect's temporary server does not start"
_DATABASE = "prefect.db"
_MAX_SHOWN = 300
_MAX_KEPT = 200_000
# The last line of a traceback, whatever stands before it in a log.
_CAUSE = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b.*$", re.MULTILINE
)
_WRAPPED = re.compile(r"^\S+: (?=\()|^\((?:[\w.]+)\) |^(?:[a-z_]\w*\.)+(?=[A-Z])")
_FULL = ("disk is full", "No space left", "quota exceeded")
_DAMAGED = ("is not a database", "malformed", "is encrypted")
_HALF_MADE = ("already exists", "duplicate column name")
_OTHER_VERSION = ("Can't locate revision",)
_CLOSED = ("readonly database", "unable to open database", "Permission denied", "Read-only")
_AGAIN = (
    "Run the same command again, or start a server with `prefect server start` and name it in "
    "PREFECT_API_URL"
)


def why_it_failed(said: str, *, patience_s: float | None = None) -> str:
    """Return a message for a server that does not start.

    Args:
        said: what it wrote before it ended.
        patience_s: how long it was waited for, if it has not ended.
    """
    if known := known_trouble(said):
        return f"{DOES_NOT_START}: {known}"
    cause = cause_of(said)
    if patience_s is not None:
        reason = f" ({cause})" if cause else ""
        return (
            f"Prefect's temporary server does not answer after {patience_s:.0f} s{reason}. Is the "
            f"machine busy? {_AGAIN}"
        )
    file = keep(said[-_MAX_KEPT:]) if said.strip() else None
    rest = f" Its whole output is in {file}" if file else ""
    return f"{DOES_NOT_START}: {cause or 'no reason given'}. {_AGAIN}.{rest}"


def known_trouble(said: str) -> str:
    """Return what is wrong with the server's disk or database, and what to do; or ""."""
    cause, database = cause_of(said), own_database()
    place = database or "its database"

    def is_of(signs: tuple[str, ...]) -> bool:
        return any(sign in cause for sign in signs)

    full = full_disks(database)
    # SQLite says of a disk without inodes that a file cannot be opened.
    if is_of(_FULL) or "disk I/O error" in cause or (is_of(_CLOSED) and "inodes" in full):
        return f"{cause}{full}"
    if is_of(_DAMAGED):
        return damaged(database, cause)
    if is_of(_OTHER_VERSION):
        return f"{place} was made by another version of Prefect ({cause}). {_set_aside(database)}"
    if is_of(_HALF_MADE):
        return f"{place} is half made ({cause}). {_set_aside(database)}"
    if is_of(_CLOSED):
        return f"{place} cannot be written ({cause}). Make it and its folder yours to write"
    return ""


def damaged(database: Path | None, reason: str) -> str:
    """Return that the server's database is damaged, and what to do."""
    return f"{database or 'its database'} is damaged ({reason}). {_set_aside(database)}"


def cause_of(said: str) -> str:
    """Return what the last traceback in a text ended with, without the wrapping of libraries."""
    found = _CAUSE.findall(said)
    if not found:
        return ""
    cause = found[-1]
    while (shorter := _WRAPPED.sub("", cause, count=1)) != cause:
        cause = shorter
    return without_secrets(cause)[:_MAX_SHOWN].rstrip(". ")


def own_database() -> Path | None:
    """Return the file that a temporary server keeps its state in, unless a person named another."""
    if os.environ.get("PREFECT_API_DATABASE_CONNECTION_URL") or os.environ.get(
        "PREFECT_SERVER_DATABASE_CONNECTION_URL"
    ):
        return None
    home = os.environ.get("PREFECT_HOME")
    return Path(home) / _DATABASE if home else None


def require_whole_database() -> None:
    """Check that no part of the temporary server's database is missing.

    Raises:
        ServerError: it was cut, and what to do.
    """
    database = own_database()
    if database is not None and (missing := cut_short(database)):
        raise ServerError(f"{DOES_NOT_START}: {damaged(database, missing)}")


def cut_short(database: Path) -> str:
    """Return how much of an SQLite file is missing, or "" where its length is as it says."""
    try:
        size = database.stat().st_size
        with database.open("rb") as file:
            head = file.read(100)
    except OSError:
        return ""
    if not size:
        return ""
    if len(head) < 100 or not head.startswith(b"SQLite format 3\0"):
        return "it is not a database"
    page = int.from_bytes(head[16:18], "big")
    whole = (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
    # The count is believed only if the two counters agree (SQLite's file format, 1.3.8).
    counted = head[24:28] == head[92:96]
    return f"{size:,} of {whole:,} bytes are there" if counted and size < whole else ""


def _set_aside(database: Path | None) -> str:
    if database is None:
        return "Restore it, or name another one"
    folder = database.parent  # its -wal and -shm go with it
    return (
        f"It remembers past flow runs, no models: `mv {folder} {folder}.damaged`, and a new one "
        "is made"
    )
