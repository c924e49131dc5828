"""What a temporary Prefect server that fails comes to: its own reason, in one message."""

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from evergreen.failures import describe
from evergreen.server_failures import cause_of, cut_short, known_trouble, why_it_failed

TRACEBACK = """23:00:36.811 | ERROR   | uvicorn.error - Traceback (most recent call last):
  File "aiosqlite/core.py", line 63, in _connection_worker_thread
    result = function()
             ^^^^^^^^^^
{error}
(Background on this error at: https://sqlalche.me/e/20/e3q8)

23:00:36.828 | ERROR   | uvicorn.error - Application startup failed. Exiting.
"""
FULL = "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database or disk is full"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server of the test would keep its state."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    for name in ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "prefect.db"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FULL, "database or disk is full. Make room for {database}"),
        (
            "sqlalchemy.exc.DatabaseError: (sqlite3.DatabaseError) file is not a database",
            "{database} is damaged (file is not a database). It remembers past flow runs, no "
            "models: `mv {database.parent} {database.parent}.damaged`",
        ),
        (
            "sqlite3.DatabaseError: database disk image is malformed",
            "{database} is damaged (DatabaseError: database disk image is malformed)",
        ),
        (
            "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) attempt to write a "
            "readonly database",
            "{database} cannot be written (attempt to write a readonly database)",
        ),
        (
            "alembic.util.exc.CommandError: Can't locate revision identified by '123'",
            "{database} was made by another version of Prefect (CommandError: Can't locate",
        ),
        ("OSError: [Errno 28] No space left on device: '/x'", "OSError: [Errno 28] No space left"),
    ],
)
def test_the_servers_own_reason_is_the_message(database: Path, error: str, said: str) -> None:
    message = why_it_failed(TRACEBACK.format(error=error))

    assert message.startswith("Prefect's temporary server does not start: ")
    assert said.format(database=database) in message
    assert "\n" not in message
    assert "Traceback" not in message


def test_an_unknown_reason_is_told_and_the_rest_is_kept(
    database: Path, evergreen_home_of_the_test: Path
) -> None:
    evergreen_home_of_the_test.mkdir()
    said = TRACEBACK.format(error="ModuleNotFoundError: No module named 'fastapi'")

    message = why_it_failed(said)

    assert "does not start: ModuleNotFoundError: No module named 'fastapi'. Run the" in message
    assert Path(message.rpartition(" ")[2]).read_text() == said


def test_a_server_that_only_takes_its_time_is_in_no_trouble(database: Path) -> None:
    assert known_trouble("") == ""
    assert cause_of("nothing\nof note\n") == ""
    assert "does not answer after 120 s. Is the" in why_it_failed("", patience_s=120)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_database_that_was_cut_is_found_before_a_server_starts(database: Path, mode: str) -> None:
    base = sqlite3.connect(database)
    base.execute(f"pragma journal_mode = {mode}")
    base.execute("create table t (x)")
    base.executemany("insert into t values (?)", [(os.urandom(500),) for _ in range(200)])
    base.commit()
    assert cut_short(database) == ""
    base.close()
    whole = database.read_bytes()

    assert cut_short(database) == ""
    os.truncate(database, len(whole) // 2)
    assert cut_short(database) == f"{len(whole) // 2:,} of {len(whole):,} bytes are there"
    os.truncate(database, 50)
    assert cut_short(database) == "it is not a database"
    os.truncate(database, 0)
    assert cut_short(database) == ""
    database.unlink()
    assert cut_short(database) == ""


def test_a_refusal_of_the_system_says_what_to_do() -> None:
    for number in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
        said = describe(OSError(number, os.strerror(number), "/x/y"))
        assert said.startswith(f"cannot use /x/y: {os.strerror(number)}. Move away what is in its")
    assert "Make it yours to read" in describe(PermissionError(errno.EACCES, "no", "/x/y"))
