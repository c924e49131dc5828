"""Embedded SQLite databases: each has its whole schema, or is not there.

The libraries that own them make their schema in place, in dozens of steps: a kill, a full disk or
a second start in between leaves a database that no later start can use.
Here a schema is made in a scratch file, under one lock for the home, synced, and renamed.
"""

import contextlib
import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TypeAlias

from pipeline_lib.errors import StorageError
from pipeline_lib.home import Home
from pipeline_lib.permissions import make_file, make_folders
from pipeline_lib.storage.locks import lock
from pipeline_lib.storage.replacing import beside, sync_file, sync_folder
from pipeline_lib.wording import first_line, refusal

_COMPANIONS = ("-journal", "-wal", "-shm")
_TIMEOUT_S = 10.0
# SQLite's words for a disk that is full, damaged or read-only.
_REFUSALS = ("full", "disk I/O error", "unable to open", "readonly")
_PATIENCE_S = 60.0
Judge: TypeAlias = "Callable[[sqlite3.Connection], Schema]"
Fill: TypeAlias = Callable[[Path], None]
_logger = logging.getLogger(__name__)


class Schema(Enum):
    """What a database that is there can be used for."""

    WHOLE = "whole"
    OLDER = "older"  # in use, of an earlier release: brought up to date in a copy
    HALF_MADE = "half-made"  # its making was cut, and nothing was ever recorded in it


def home_lock(home: Home) -> contextlib.AbstractContextManager[None]:
    """Hold what a home has only one of: its databases, and the record of where it lies."""
    return lock(
        home.lock,
        on_wait=lambda: _logger.warning(
            "waiting for another process that makes %s ready", home.root
        ),
    )


def make_whole(
    database: Path,
    *,
    judge: Judge,
    fill: Fill,
    home: Home | None = None,
) -> bool:
    """Make a database with the whole schema, unless it is there; safe to repeat.

    One that is half-made is set aside and made again, one of an earlier release brought up to date
    in a copy; both are logged. One that another process has open is left to it.

    Args:
        database: the file.
        judge: what a database that is there is; it may raise `sqlite3.Error`.
        fill: brings an empty file, or a copy of one that is older, to the whole schema.
        home: whose databases are made one at a time; others have a lock of their own.

    Returns:
        Whether there is another file now.

    Raises:
        StorageError: the disk is full or refuses, or the file is damaged.
    """
    if _judged(database, judge) is Schema.WHOLE:
        return False
    make_folders(database.parent)
    is_of_home = home is not None and database.is_relative_to(home.root)
    with home_lock(home) if home and is_of_home else _lock_beside(database):
        _remove_scratch(database)
        found = _judged_at_rest(database, judge)
        if found is Schema.WHOLE:
            return False
        if found is Schema.OLDER:
            _bring_up_to_date(database, fill)
        else:
            if found is Schema.HALF_MADE:
                _set_aside(database, "was half-made, by a start that was cut short")
            _made(database, fill)
    return True


def is_usable(database: Path, judge: Judge) -> bool:
    """Return whether a database is there and not half-made; nothing is made or mended.

    Raises:
        StorageError: the file is damaged.
    """
    return _judged(database, judge) in (Schema.WHOLE, Schema.OLDER)


def _judged(database: Path, judge: Judge) -> Schema | None:
    """Return what a database is; None if there is none."""
    if not database.is_file():
        return None
    if not os.access(database, os.R_OK | os.W_OK):
        raise StorageError(
            refusal(PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(database)))
        )
    if not database.stat().st_size:
        return Schema.HALF_MADE
    try:
        with opened(database) as connection:
            return judge(connection)
    except sqlite3.Error as error:
        reason = first_line(error)
        if "locked" in reason:  # another process writes: it is in use
            return Schema.WHOLE
        raise StorageError(
            f"the database {database} cannot be read: {reason}. Restore it from a backup, or move "
            "it away: what was recorded in it is gone then"
        ) from error


def _judged_at_rest(database: Path, judge: Judge) -> Schema | None:
    """Return what a database is once no other process, as a server that starts, is making it."""
    end = time.monotonic() + _PATIENCE_S
    while (found := _judged(database, judge)) is not None and _is_open_elsewhere(database):
        if found is not Schema.HALF_MADE:
            return Schema.WHOLE  # the process that uses it keeps it in order
        if time.monotonic() > end:
            raise StorageError(
                f"the database {database} is half-made, and another process has it open: end that "
                "one, and run the same command again"
            )
        time.sleep(0.5)
    return found


@contextlib.contextmanager
def opened(database: Path) -> Generator[sqlite3.Connection]:
    """Give a connection to a database that is there; a transaction that a kill has cut is undone.

    Raises:
        sqlite3.Error: there is none, or it is damaged.
    """
    address = f"{database.absolute().as_uri()}?mode=rw"
    with contextlib.closing(
        sqlite3.connect(address, timeout=_TIMEOUT_S, uri=True, isolation_level=None)
    ) as connection:
        yield connection


def tables_of(connection: sqlite3.Connection) -> set[str]:
    """Return the names of a database's tables."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {str(name) for (name,) in rows}


def revision_of(connection: sqlite3.Connection) -> str:
    """Return the last step of the schema that has been made, or an empty string."""
    if "alembic_version" not in tables_of(connection):
        return ""
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(row[0]) if row else ""


def has_rows(connection: sqlite3.Connection, *tables: str) -> bool:
    """Return whether anything is recorded in one of the tables; some may not be there."""
    return any(
        connection.execute(f'SELECT 1 FROM "{table}" LIMIT 1').fetchone()  # noqa: S608 - our names
        for table in tables_of(connection).intersection(tables)
    )


def _made(database: Path, fill: Fill, *, like: Path | None = None) -> None:
    """Make a database in a scratch file, and give it its name when it is whole and on the disk."""
    scratch = beside(database)
    try:
        make_file(scratch)
        if like is not None:
            with opened(like) as source, opened(scratch) as copy:
                source.backup(copy)
        fill(scratch)
        with opened(scratch) as connection:  # what a log beside it holds has to be in the file
            is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            assert not is_busy, f"{scratch} is still open"
        sync_file(scratch)
        _remove_companions(database)
        scratch.replace(database)
        sync_folder(database.parent)
    except OSError as error:
        raise StorageError(f"cannot make the database {database}: {refusal(error)}") from error
    except Exception as error:
        if (said := _disk_said(error)) is None:
            raise
        raise StorageError(
            f"cannot make the database {database}: {said}. Make room on the disk of "
            f"{database.parent}, or set EVERGREEN_HOME to a folder on another one; then run the "
            "same command again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            _remove_scratch(database)


def _disk_said(error: BaseException) -> str | None:
    """Return SQLite's error about a full or read-only disk, however deeply it is wrapped."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlite3.OperationalError) and any(w in str(cause) for w in _REFUSALS):
            return first_line(cause)
        original = getattr(cause, "orig", None)
        if isinstance(original, BaseException) and original is not cause:
            cause = original
        else:
            cause = cause.__cause__ or cause.__context__
    return None


def _bring_up_to_date(database: Path, fill: Fill) -> None:
    try:
        _made(database, fill, like=database)
    except StorageError:
        raise
    except Exception as error:  # noqa: BLE001 - another library may raise anything
        _set_aside(database, f"cannot be brought up to date ({first_line(error)})")
        _made(database, fill)


def _set_aside(database: Path, why: str) -> None:
    aside = database.with_name(f"{database.name}.aside-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
    for end in ("", *_COMPANIONS):
        if (part := database.with_name(f"{database.name}{end}")).exists():
            part.rename(aside.with_name(f"{aside.name}{end}"))
    _logger.warning("%s %s: it is set aside as %s and made again", database, why, aside.name)


def _remove_companions(database: Path) -> None:
    """Remove the logs of a database that is gone: SQLite would play them into the new one."""
    for end in _COMPANIONS:
        database.with_name(f"{database.name}{end}").unlink(missing_ok=True)


def _remove_scratch(database: Path) -> None:
    for left in database.parent.glob(f".{database.name}.*"):
        left.unlink(missing_ok=True)


def _lock_beside(database: Path) -> contextlib.AbstractContextManager[None]:
    return lock(database.with_name(f".lock-{database.name}"), on_wait=lambda: None)


def _is_open_elsewhere(database: Path) -> bool:
    """Return whether another process has a database open: it may be making it.

    Where the system does not report open files, the answer is no.
    """
    status = database.stat()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        if link.parts[2] == str(os.getpid()):
            continue
        try:
            found = link.stat()
        except OSError:  # it has ended, or is another user's
            continue
        if (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino):
            return True
    return False
