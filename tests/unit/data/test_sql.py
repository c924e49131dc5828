"""Queries against SQLite always, and against a PostgreSQL of the test's own where there is one."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy

from pipeline_lib.config import SqlQuery
from pipeline_lib.data.sources import open_source, read_source, source_name
from pipeline_lib.data.sql import as_text
from pipeline_lib.data.stream import RowStream
from pipeline_lib.errors import EvergreenError, SourceError, SourceNotFoundError, UsageError

_NIGHT = date(2026, 5, 10)
_SQLITE = "sqlite:///data/cars.db"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project root with an SQLite file, `data/cars.db`, of three cars."""
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data" / "cars.db")) as connection:
        connection.execute("CREATE TABLE cars (id INTEGER, zip TEXT, price REAL, sold DATE)")
        connection.executemany(
            "INSERT INTO cars VALUES (?, ?, ?, ?)",
            [
                (1, "08123", 9.5, "2026-05-09"),
                (2, None, 10.0, "2026-05-10"),
                (3, "", None, "2026-05-11"),
            ],
        )
        connection.commit()
    return tmp_path


def _open(root: Path, query: str, url: str = _SQLITE) -> RowStream:
    return open_source(SqlQuery(url=url, query=query), root=root, run_date=_NIGHT)


def _refused(root: Path, query: str, url: str = _SQLITE) -> str:
    with pytest.raises(EvergreenError) as raised:
        _open(root, query, url).read()
    return str(raised.value)


def test_every_value_is_text_and_nothing_is_null(root: Path) -> None:
    table = _open(root, "SELECT * FROM cars ORDER BY id").read()

    assert {str(kind) for kind in table.schema.types} == {"string"}
    assert table.to_pylist() == [
        {"id": "1", "zip": "08123", "price": "9.5", "sold": "2026-05-09"},
        {"id": "2", "zip": None, "price": "10.0", "sold": "2026-05-10"},
        {"id": "3", "zip": "", "price": None, "sold": "2026-05-11"},
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("08 ", "08 "),
        (True, "true"),
        (False, "false"),
        (-(10**30), "-1" + "0" * 30),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (float("nan"), None),
        (float("-inf"), "-inf"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), None),
        (Decimal("Infinity"), "inf"),
        (date(2026, 5, 1), "2026-05-01"),
        (datetime(2026, 5, 1, 12, 30), "2026-05-01T12:30:00"),  # noqa: DTZ001 - a column without zone
        (datetime(2026, 5, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2026-04-30T23:00:00+00:00"),
        (clock(1, 2, 3), "01:02:03"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
    ids=repr,
)
def test_a_value_has_one_text(value: object, text: str | None) -> None:
    assert as_text(value, "x") == text


def test_a_float_comes_back_from_its_text(root: Path) -> None:
    table = _open(root, "SELECT 0.1 + 0.2 AS x").read()

    assert float(table["x"][0].as_py()) == 0.1 + 0.2


@pytest.mark.parametrize(
    ("value", "what"), [(b"x", "bytes"), ([1], "list"), ({"a": 1}, "dict"), (1j, "complex")]
)
def test_a_value_that_has_no_one_text_is_told_with_its_column(value: object, what: str) -> None:
    with pytest.raises(SourceError, match=f"column 'x' holds {what}, .* cast it in the query"):
        as_text(value, "x")


def test_bytes_are_told_with_query_and_column(root: Path) -> None:
    assert _refused(root, "SELECT x'00ff' AS raw") == (
        f"query on {_SQLITE}: column 'raw' holds bytes, which has no one text; cast it in the query"
    )


def test_the_night_is_bound_where_the_query_names_it(root: Path) -> None:
    table = _open(root, "SELECT id FROM cars WHERE sold <= :run_date ORDER BY id").read()

    assert table["id"].to_pylist() == ["1", "2"]


def test_today_is_bound_unless_another_night_is_given(root: Path) -> None:
    source = SqlQuery(url=_SQLITE, query="SELECT :run_date AS d")

    assert read_source(source, root=root)["d"][0].as_py() in {
        str(datetime.now(UTC).date() + timedelta(days=n)) for n in (-1, 0)
    }


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("SELECT '12:30' AS x", "12:30"),
        (r"SELECT '\:run' AS x", ":run"),
        ("SELECT 'a%b%s' AS x", "a%b%s"),
        ("VALUES ('v')", "v"),
        ("/* of\n today */ SELECT 'c' AS x", "c"),
        ("-- all\nwith t as (select 'w' as x) select * from t;", "w"),
    ],
)
def test_colons_percents_comments_and_a_last_semicolon_are_fine(
    root: Path, query: str, row: str
) -> None:
    assert _open(root, query).read()[0].to_pylist() == [row]


def test_a_name_that_nobody_binds_is_told(root: Path) -> None:
    assert "nothing is known of :today; a query may name :run_date" in _refused(
        root, "SELECT * FROM cars WHERE sold = :today"
    )


def test_a_query_without_rows_is_refused(root: Path) -> None:
    assert "returns no rows" in _refused(root, "SELECT * FROM cars WHERE id > 10")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT 1 AS a, 2 AS a", "stand twice: 'a'"),
        ("SELECT 1 AS a, 2 AS A", "differ by blanks or case alone"),
        ("SELECT 1 AS ''", "without a name"),
        ("SELECT * FROM absent", "no such table: absent"),
        ("SELEC 1", "begins with 'SELEC'"),
        ("  ", "the query is none"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
    ],
)
def test_a_query_that_gives_no_table_is_refused(root: Path, query: str, told: str) -> None:
    message = _refused(root, query)

    assert message.startswith(f"query on {_SQLITE}")
    assert told in message


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE cars",
        "DELETE FROM cars",
        "PRAGMA writable_schema = 1",
        "ATTACH 'other.db' AS other",
        "WITH gone AS (SELECT 1) DELETE FROM cars",
        "SELECT 1; DROP TABLE cars",
        "/* SELECT */ DROP TABLE cars",
    ],
)
def test_a_query_that_would_write_is_refused_and_writes_nothing(root: Path, query: str) -> None:
    before = (root / "data" / "cars.db").read_bytes()

    _refused(root, query)

    assert (root / "data" / "cars.db").read_bytes() == before
    assert [path.name for path in (root / "data").iterdir()] == ["cars.db"]


def test_a_database_file_that_is_not_there_is_told_and_not_made(root: Path) -> None:
    with pytest.raises(SourceNotFoundError) as raised:
        _open(root, "SELECT 1", "sqlite:///data/car.db")

    assert str(raised.value) == (
        f"{root}/data/car.db: there is no such file; did you mean cars.db?"
    )
    assert not (root / "data" / "car.db").exists()


@pytest.mark.parametrize("name", ["a #1%20@b.db", "ä:b.db", "file.db"])
def test_a_database_file_may_have_any_name(root: Path, name: str) -> None:
    shutil.copy(root / "data" / "cars.db", root / name)

    for url in (f"sqlite:///{name}", f"sqlite:///{root}/{name}", f"sqlite+pysqlite:///{name}"):
        assert _open(root, "SELECT * FROM cars", url).read().num_rows == 3


def test_options_of_an_sqlite_url_are_refused_for_they_could_write(root: Path) -> None:
    with pytest.raises(UsageError, match="no options"):
        _open(root, "SELECT * FROM cars", f"{_SQLITE}?mode=rwc")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite+pysqlite://"])
def test_a_database_in_memory_holds_nothing_to_read(root: Path, url: str) -> None:
    assert "names no file" in _refused(root, "SELECT 1", url)


def test_a_file_that_is_no_database_is_told(root: Path) -> None:
    (root / "data" / "cars.db").write_text("a,b\n" * 1000)

    assert "file is not a database" in _refused(root, "SELECT 1 FROM x")


def test_a_query_that_fails_midway_is_told_with_the_rows_it_had_given(root: Path) -> None:
    # the absolute value of the least integer is the one number SQLite cannot give
    query = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) "
        "SELECT CASE WHEN i = 45000 THEN abs(-9223372036854775807 - 1) ELSE i END AS x FROM n"
    )

    batches = _open(root, query).batches()

    assert [next(batches).num_rows for _ in range(4)] == [10_000] * 4
    with pytest.raises(
        SourceError, match=f"query on {_SQLITE} failed after 40,000 rows: .*integer overflow"
    ):
        next(batches)


def test_text_that_is_no_utf8_is_told(root: Path) -> None:
    assert "Could not decode to UTF-8" in _refused(root, "SELECT CAST(x'ff' AS TEXT) AS x")


def test_columns_that_change_between_opening_and_reading_are_told(root: Path) -> None:
    stream = _open(root, "SELECT * FROM cars")

    with closing(sqlite3.connect(root / "data" / "cars.db")) as connection:
        connection.execute("ALTER TABLE cars ADD COLUMN color TEXT")

    with pytest.raises(SourceError, match="its columns changed"):
        stream.read()


def test_each_reading_asks_anew(root: Path) -> None:
    stream = _open(root, "SELECT * FROM cars")

    assert [stream.read().num_rows, stream.read().num_rows] == [3, 3]
    assert (stream.parts[0].fingerprint, stream.parts[0].day) == ("", None)


def test_a_variable_of_the_url_is_looked_up_when_connecting(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "sqlite:///${FOLDER}/cars.db"
    assert "the environment variable FOLDER is not set" in _refused(root, "SELECT 1 AS x", url)

    monkeypatch.setenv("FOLDER", "data")

    assert _open(root, "SELECT 1 AS x", url).read().num_rows == 1
    assert source_name(SqlQuery(url=url, query="SELECT 1"), root=root) == f"query on {url}"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://u@localhost/db", "write postgresql+psycopg://"),
        ("postgres://u@localhost/db", "write postgresql+psycopg://"),
        ("postgresql+psycopg2://u@localhost/db", "evergreen-tables[postgres]"),
        ("oracle+nonsense://u@localhost/db", "'oracle+nonsense' is not installed"),
        ("nonsense://u@localhost/db", "evergreen-tables[postgres]"),
        ("sqlite+aiosqlite:///data/cars.db", "write sqlite:///path"),
    ],
)
def test_a_driver_that_is_not_there_is_told_with_what_to_do(
    root: Path, url: str, told: str
) -> None:
    with pytest.raises(UsageError) as raised:
        _open(root, "SELECT 1 AS x", url)

    assert told in str(raised.value)


@pytest.mark.parametrize("text", ["no url", "postgresql+psycopg://h:${SECRET}/db", "${SECRET}"])
def test_a_url_that_cannot_be_read_is_told_without_what_it_holds(
    root: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")

    message = _refused(root, "SELECT 1 AS x", text)

    assert "is no url of a database" in message
    assert "hunter2" not in message


# A server of the tests' own.


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


_PASSWORD = "p@ss/w:rd%20?#"
_QUOTED_PASSWORD = "p%40ss%2Fw%3Ard%2520%3F%23"


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
            server.wait(timeout=30)


def _wait_for(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    for _ in range(300):
        if server.poll() is not None:
            pytest.fail(f"PostgreSQL did not start: {log.read_text()[-500:]}")
        if "ready to accept connections" in log.read_text():
            return
        time.sleep(0.1)
    pytest.fail(f"PostgreSQL did not answer on port {port} within 30 s")


@pytest.fixture
def postgres(postgres_server: _Postgres, monkeypatch: pytest.MonkeyPatch) -> _Postgres:
    monkeypatch.setenv("PG_PASSWORD", _PASSWORD)
    return postgres_server


def test_postgres_types_have_one_text_each(postgres: _Postgres, tmp_path: Path) -> None:
    query = """SELECT 7::bigint AS i, 1.50::numeric AS n, 0.1::float8 AS f, 'nan'::float8 AS nan,
        true AS b, '08'::varchar AS s, NULL::int AS nothing, DATE '2026-05-01' AS d,
        TIMESTAMP '2026-05-01 12:30' AS t, TIMESTAMPTZ '2026-05-01 01:00+02' AS z,
        '00000000-0000-0000-0000-000000000001'::uuid AS u"""

    (row,) = _open(tmp_path, query, postgres.url()).read().to_pylist()

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
    here = _open(tmp_path, query, postgres.url()).read()

    postgres.run("ALTER ROLE evergreen SET TimeZone = 'Asia/Tokyo'")
    there = _open(tmp_path, query, postgres.url()).read()
    postgres.run("ALTER ROLE evergreen RESET TimeZone")

    assert here == there


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP", "TIMESTAMPTZ"])
def test_postgres_compares_the_night_with_dates_and_times(
    postgres: _Postgres, tmp_path: Path, kind: str
) -> None:
    days = f"(VALUES ({kind} '2026-05-09'), ('2026-05-20')) AS v(d)"
    query = f"SELECT d::date FROM {days} WHERE d <= :run_date AND d > :run_date - 7"  # noqa: S608

    assert _open(tmp_path, query, postgres.url()).read()["d"].to_pylist() == ["2026-05-09"]


def test_postgres_values_that_have_no_one_text_are_told(
    postgres: _Postgres, tmp_path: Path
) -> None:
    assert "column 'x' holds list" in _refused(tmp_path, "SELECT ARRAY[1] AS x", postgres.url())
    assert "column 'x' holds bytes" in _refused(
        tmp_path, "SELECT '\\x00'::bytea AS x", postgres.url()
    )


def test_a_division_by_zero_in_a_late_row_is_told_after_the_rows_before_it(
    postgres: _Postgres, tmp_path: Path
) -> None:
    query = "SELECT 1 / (45000 - i) AS x FROM generate_series(1, 100000) AS i"

    batches = _open(tmp_path, query, postgres.url()).batches()

    assert next(batches).num_rows == 10_000
    with pytest.raises(SourceError, match="failed after 40,000 rows: division by zero"):
        list(batches)


def test_a_connection_that_is_lost_midway_is_told(postgres: _Postgres, tmp_path: Path) -> None:
    query = "SELECT i AS x, repeat('x', 100) AS y FROM generate_series(1, 200000) AS i"
    batches = _open(tmp_path, query, postgres.url()).batches()
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

    _refused(tmp_path, query, postgres.url())

    left = _open(
        tmp_path, "SELECT x, (SELECT is_called FROM counter) AS c FROM precious", postgres.url()
    )
    assert left.read().to_pylist() == [{"x": "1", "c": "false"}]


def test_a_read_that_is_broken_off_leaves_no_connection(
    postgres: _Postgres, tmp_path: Path
) -> None:
    batches = _open(tmp_path, "SELECT * FROM generate_series(1, 100000)", postgres.url()).batches()
    next(batches)
    del batches

    query = (
        "SELECT count(*) AS n FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    for _ in range(100):  # the server takes its time to see that a client has gone
        if (left := _open(tmp_path, query, postgres.url()).read()["n"][0].as_py()) == "0":
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
        message = _refused(tmp_path, "SELECT 1 AS x", url)
        assert "password authentication failed" in message
        assert "hunter2" not in message
    assert "secret_user" not in _refused(
        tmp_path, "SELECT 1 AS x", f"postgresql+psycopg://${{WHO}}:${{WRONG}}@{base}"
    )


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound but not listening: refuses every connection
        url = f"postgresql+psycopg://u@127.0.0.1:{free.getsockname()[1]}/db"

        assert f"query on {url} failed: " in _refused(tmp_path, "SELECT 1 AS x", url)


_PEAK = r"""
import re, sys
from datetime import date
from pathlib import Path
from pipeline_lib.config import SqlQuery
from pipeline_lib.data.sources import open_source
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
        url = _SQLITE
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


def test_the_stream_is_of_strings_before_a_row_is_read(root: Path) -> None:
    schema = _open(root, "SELECT id, price FROM cars").schema

    assert schema == pa.schema([("id", pa.string()), ("price", pa.string())])
