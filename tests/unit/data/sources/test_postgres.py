"""Queries against a PostgreSQL of the tests' own where there is one, and the memory they take."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from pipeline_lib.errors import SourceError
from pipeline_lib.transient import is_transient
from tests.unit.data.sources.queries import SQLITE, open_query, refused

_PASSWORD = "p@ss/w:rd%20?#"
_QUOTED_PASSWORD = "p%40ss%2Fw%3Ard%2520%3F%23"


@dataclass(frozen=True)
class _Postgres:
    port: int

    def url(self, user: str = "evergreen") -> str:
        return f"postgresql+psycopg://{user}:${{PG_PASSWORD}}@127.0.0.1:{self.port}/postgres"

    def run(self, *statements: str) -> None:
        url = self.url().replace("${PG_PASSWORD}", _QUOTED_PASSWORD)
        engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sqlalchemy.text(statement))
        engine.dispose()


def _program(name: str) -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name) or next((f / name for f in folders if (f / name).exists()), None)
    return Path(found) if found else None


@pytest.fixture(scope="session")
def postgres_server() -> Generator[_Postgres]:
    """Start a PostgreSQL on a free port of the loopback, with a user `evergreen`."""
    initdb, postgres = _program("initdb"), _program("postgres")
    if initdb is None or postgres is None:
        pytest.skip("there are no initdb and postgres in PATH or /usr/lib/postgresql")
    # The server refuses to run as root, and pytest's own folders are closed to everybody else.
    other: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": []}
    as_user: dict[str, Any] = other if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="evergreen-pg-", dir="/tmp") as folder:
        if as_user:
            os.chown(folder, 65534, 65534)
        password, data = Path(folder, "password"), Path(folder, "data")
        password.write_text(_PASSWORD)
        password.chmod(0o644)
        words = ["-U", "evergreen", "-A", "scram-sha-256", f"--pwfile={password}"]
        words += ["--no-sync", "--encoding=UTF8", "--locale=C"]
        subprocess.run(
            [initdb, "-D", data, *words],
            check=True,
            capture_output=True,
            cwd=folder,
            **as_user,
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = int(free.getsockname()[1])
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        arguments = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        with Path(folder, "log").open("w") as log:
            server = subprocess.Popen(
                [postgres, "-D", data, "-p", str(port), *arguments],
                stdout=log,
                stderr=log,
                cwd=folder,
                **as_user,
            )
        try:
            _wait_for(server, port, Path(folder, "log"))
            yield _Postgres(port)
        finally:
            server.send_signal(signal.SIGINT)  # fast: ends connections
            server.wait(timeout=900)


def _wait_for(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    for _ in range(9_000):
        if server.poll() is not None:
            pytest.fail(f"PostgreSQL did not start: {log.read_text()[-500:]}")
        if "ready to accept connections" in log.read_text():
            return
        time.sleep(0.1)
    pytest.fail(f"PostgreSQL did not answer on port {port} within 15 minutes")


@pytest.fixture
def postgres(postgres_server: _Postgres, monkeypatch: pytest.MonkeyPatch) -> _Postgres:
    monkeypatch.setenv("PG_PASSWORD", _PASSWORD)
    return postgres_server


def test_postgres_types_have_one_text_each(postgres: _Postgres, tmp_path: Path) -> None:
    query = """SELECT 7::bigint AS i, 1.50::numeric AS n, 0.1::float8 AS f, 'nan'::float8 AS nan,
        true AS b, '08'::varchar AS s, NULL::int AS nothing, DATE '2026-05-01' AS d,
        TIMESTAMP '2026-05-01 12:30' AS t, TIMESTAMPTZ '2026-05-01 01:00+02' AS z,
        '00000000-0000-0000-0000-000000000001'::uuid AS u"""

    (row,) = open_query(tmp_path, query, postgres.url()).read().to_pylist()

    assert row == {
        "i": "7",
        "n": "1.50",
        "f": "0.1",
        "nan": None,
        "b": "true",
        "s": "08",
        "nothing": None,
        "d": "2026-05-01",
        "t": "2026-05-01T12:30:00",
        "z": "2026-04-30T23:00:00+00:00",
        "u": "00000000-0000-0000-0000-000000000001",
    }


def test_an_instant_has_the_same_text_in_whichever_zone_the_server_thinks(
    postgres: _Postgres, tmp_path: Path
) -> None:
    query = "SELECT TIMESTAMPTZ '2026-01-01 00:00+00' AS z"
    here = open_query(tmp_path, query, postgres.url()).read()

    postgres.run("ALTER ROLE evergreen SET TimeZone = 'Asia/Tokyo'")
    there = open_query(tmp_path, query, postgres.url()).read()
    postgres.run("ALTER ROLE evergreen RESET TimeZone")

    assert here == there


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMPTZ"])
def test_postgres_compares_the_night_with_dates_and_times(
    postgres: _Postgres, tmp_path: Path, kind: str
) -> None:
    days = f"(VALUES ({kind} '2026-05-09'), ('2026-05-20')) AS v(d)"
    query = f"SELECT d::date FROM {days} WHERE d <= :run_date AND d > :run_date - 7"  # noqa: S608

    assert open_query(tmp_path, query, postgres.url()).read()["d"].to_pylist() == ["2026-05-09"]


def test_postgres_values_that_have_no_one_text_are_told(
    postgres: _Postgres, tmp_path: Path
) -> None:
    assert "column 'x' holds list" in refused(tmp_path, "SELECT ARRAY[1] AS x", postgres.url())
    assert "column 'x' holds bytes" in refused(
        tmp_path, "SELECT '\\x00'::bytea AS x", postgres.url()
    )


def test_a_division_by_zero_in_a_late_row_is_told_after_the_rows_before_it(
    postgres: _Postgres, tmp_path: Path
) -> None:
    query = "SELECT 1 / (45000 - i) AS x FROM generate_series(1, 100000) AS i"

    batches = open_query(tmp_path, query, postgres.url()).batches()

    assert next(batches).num_rows == 10_000
    with pytest.raises(SourceError, match="failed after 40,000 rows: division by zero"):
        list(batches)


def test_a_connection_that_is_lost_midway_is_told(postgres: _Postgres, tmp_path: Path) -> None:
    query = "SELECT i AS x, repeat('x', 100) AS y FROM generate_series(1, 200000) AS i"
    batches = open_query(tmp_path, query, postgres.url()).batches()
    next(batches)

    postgres.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND usename = 'evergreen'"
    )

    with pytest.raises(SourceError, match=r"failed after .* rows: "):
        list(batches)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1; COMMIT; DROP TABLE precious",
        "WITH gone AS (DELETE FROM precious RETURNING *) SELECT * FROM gone",
        "SELECT nextval('counter')",
        "SELECT setval('counter', 99)",
    ],
)
def test_postgres_is_asked_in_a_transaction_that_cannot_write(
    postgres: _Postgres, tmp_path: Path, query: str
) -> None:
    postgres.run(
        "DROP TABLE IF EXISTS precious",
        "CREATE TABLE precious AS SELECT 1 AS x",
        "CREATE SEQUENCE IF NOT EXISTS counter",
    )

    refused(tmp_path, query, postgres.url())

    left = open_query(
        tmp_path, "SELECT x, (SELECT is_called FROM counter) AS c FROM precious", postgres.url()
    )
    assert left.read().to_pylist() == [{"x": "1", "c": "false"}]


def test_a_read_that_is_broken_off_leaves_no_connection(
    postgres: _Postgres, tmp_path: Path
) -> None:
    batches = open_query(
        tmp_path, "SELECT * FROM generate_series(1, 100000)", postgres.url()
    ).batches()
    next(batches)
    del batches

    query = (
        "SELECT count(*) AS n FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    for _ in range(9_000):  # the server takes its time to see that a client has gone
        if (left := open_query(tmp_path, query, postgres.url()).read()["n"][0].as_py()) == "0":
            break
        time.sleep(0.05)
    assert left == "0"


def test_no_message_holds_a_password_or_what_a_variable_stands_for(
    postgres: _Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG", "hunter2hunter2")
    monkeypatch.setenv("WHO", "secret_user")
    base = f"127.0.0.1:{postgres.port}/postgres"
    monkeypatch.setenv("WHOLE", f"postgresql+psycopg://secret_user:hunter2hunter2@{base}")

    for url in (
        f"postgresql+psycopg://${{WHO}}:${{WRONG}}@{base}",
        f"postgresql+psycopg://${{WHO}}@{base}?password=${{WRONG}}",
        "${WHOLE}",
    ):
        message = refused(tmp_path, "SELECT 1 AS x", url)
        assert "password authentication failed" in message
        assert "hunter2" not in message
    assert "secret_user" not in refused(
        tmp_path, "SELECT 1 AS x", f"postgresql+psycopg://${{WHO}}:${{WRONG}}@{base}"
    )


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound but not listening: refuses every connection
        url = f"postgresql+psycopg://u@127.0.0.1:{free.getsockname()[1]}/db"

        assert f"query on {url} failed: " in refused(tmp_path, "SELECT 1 AS x", url)


_PEAK = r"""
import re, sys
from datetime import date
from pathlib import Path
from pipeline_lib.config.sources import SqlQuery
from pipeline_lib.data.sources.open import open_source
source = SqlQuery(url=sys.argv[1], query=sys.argv[2])
stream = open_source(source, root=Path(sys.argv[3]), run_date=date(2026, 5, 10))
n_rows = sum(batch.num_rows for batch in stream.batches())
# getrusage would count what the process that started this one had
print(n_rows, re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def _peak_mb(url: str, query: str, root: Path, n_rows: int) -> float:
    asked = [sys.executable, "-c", _PEAK, url, query, str(root)]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    read, peak_kb = done.stdout.split()
    assert int(read) == n_rows
    return int(peak_kb) / 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_memory_does_not_grow_with_the_rows(
    root: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        url = SQLITE
        query = (
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) "
            "SELECT i, printf('%300d', i) AS w FROM n"
        )
    else:
        url = request.getfixturevalue("postgres").url()
        query = "SELECT i, lpad(i::text, 300) AS w FROM generate_series(1, {}) AS i"

    small = _peak_mb(url, query.format(50_000), root, 50_000)
    large = _peak_mb(url, query.format(250_000), root, 250_000)

    # held at once the rows between them would be 130 MB, of Python's strings or of Arrow's
    assert large < small + 25


def test_a_mistake_in_what_is_asked_of_a_server_is_not_tried_again(
    postgres: _Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(query: str, url: str) -> SourceError:
        with pytest.raises(SourceError) as raised:
            open_query(tmp_path, query, url)
        return raised.value

    url = postgres.url()

    assert not is_transient(error("SELECT * FROM nowhere", url))
    assert not is_transient(error("SELECT 1 / 0 AS x", url))
    assert not is_transient(error("SELECT 1 AS x", url.replace("/postgres", "/nowhere")))
    monkeypatch.setenv("PG_PASSWORD", "wrong")
    assert not is_transient(error("SELECT 1 AS x", url))


def test_a_connection_that_the_server_ends_is_tried_again(
    postgres: _Postgres, tmp_path: Path
) -> None:
    query = "SELECT pg_terminate_backend(pg_backend_pid())::text AS x"

    with pytest.raises(SourceError) as raised:
        open_query(tmp_path, query, postgres.url())

    assert is_transient(raised.value)
