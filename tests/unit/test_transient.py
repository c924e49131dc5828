"""Which errors are tried again: real ones of real clients, where they can be had in a moment."""

import datetime
import errno
import http.client
import http.server
import socket
import sqlite3
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import requests
import sqlalchemy
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline_lib.config.sources import SqlQuery
from pipeline_lib.data.sources.sql import open_query
from pipeline_lib.errors import (
    ContractError,
    DriftError,
    ServerError,
    SourceError,
    SourceNotFoundError,
    StageTimeoutError,
    StorageError,
    UsageError,
    Violation,
)
from pipeline_lib.home import find_home
from pipeline_lib.tracking import store
from pipeline_lib.transient import hiding, is_transient

Handle = Callable[[socket.socket], None]


def raised(call: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the question
        call()
    return caught.value


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def hangs_up() -> Iterator[int]:
    """A port whose connections are reset."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)

        def serve() -> None:
            try:
                while True:
                    listener.accept()[0].close()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and answers none."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


@pytest.fixture
def answers() -> Iterator[Callable[[int], str]]:
    """Return a function that starts a server which gives one status to all calls."""
    started: list[http.server.HTTPServer] = []

    def start(status: int) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"no")

            do_GET = do_POST = do_HEAD = _answer  # noqa: N815 - names of the library

            def log_message(self, *_: object) -> None:
                pass

        started.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=started[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{started[-1].server_address[1]}"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def ask_mlflow(url: str) -> object:
    return MlflowClient(url).search_experiments()


@pytest.fixture(autouse=True)
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.mark.parametrize(
    "ask",
    [
        lambda url: urllib.request.urlopen(url, timeout=5),
        lambda url: requests.get(url, timeout=5),
        lambda url: httpx.get(url, timeout=5),
        ask_mlflow,
    ],
    ids=["urllib", "requests", "httpx", "mlflow"],
)
def test_a_port_that_is_closed_or_hangs_up_is_tried_again(
    closed_port: int, hangs_up: int, ask: Callable[[str], object]
) -> None:
    refused = raised(lambda: ask(f"http://127.0.0.1:{closed_port}"))
    reset = raised(lambda: ask(f"http://127.0.0.1:{hangs_up}"))

    assert is_transient(refused)
    assert is_transient(reset)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_tried_again(answers: Callable[[int], str], status: int) -> None:
    url = answers(status)

    assert is_transient(raised(lambda: urllib.request.urlopen(url)))
    assert is_transient(raised(lambda: requests.get(url, timeout=5).raise_for_status()))
    assert is_transient(raised(lambda: httpx.get(url).raise_for_status()))
    assert is_transient(raised(lambda: ask_mlflow(url)))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 501])
def test_a_server_that_refuses_is_asked_once(answers: Callable[[int], str], status: int) -> None:
    url = answers(status)

    assert not is_transient(raised(lambda: urllib.request.urlopen(url)))
    assert not is_transient(raised(lambda: requests.get(url, timeout=5).raise_for_status()))
    assert not is_transient(raised(lambda: httpx.get(url).raise_for_status()))
    assert not is_transient(raised(lambda: ask_mlflow(url)))


def test_a_silent_server_that_was_waited_for_is_not_waited_for_again(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{silent}"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.setattr(store, "_PROBE_TIMEOUT_S", 0.2)

    assert not is_transient(raised(lambda: ask_mlflow(url)))
    assert not is_transient(raised(lambda: httpx.get(url, timeout=0.2)))
    assert not is_transient(raised(lambda: requests.get(url, timeout=0.2)))
    assert not is_transient(raised(lambda: store.connect(find_home())))


def test_an_mlflow_server_that_is_started_again_is_tried_again(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")

    error = raised(lambda: store.connect(find_home()))

    assert isinstance(error, ServerError)
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        ConnectionRefusedError(),
        BrokenPipeError(),
        TimeoutError(),
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        OSError(errno.ENETUNREACH, "Network is unreachable"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        OSError(errno.ESTALE, "Stale file handle"),
        http.client.IncompleteRead(b""),
        http.client.RemoteDisconnected(),
        urllib.error.URLError(ConnectionRefusedError()),
        ssl.SSLEOFError(),
    ],
    ids=repr,
)
def test_an_error_of_the_network_is_tried_again(error: Exception) -> None:
    wrapped = SourceError("the source cannot be read")
    wrapped.__cause__ = error

    assert is_transient(error)
    assert is_transient(wrapped)
    assert is_transient(hiding(SourceError("the source cannot be read"), error))
    assert is_transient(ExceptionGroup("several", [ValueError(), error]))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "rows.csv"),
        PermissionError(errno.EACCES, "Permission denied", "rows.csv"),
        IsADirectoryError(),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.EIO, "Input/output error"),
        OSError("could not read"),
        ssl.SSLCertVerificationError(),
        urllib.error.URLError(ssl.SSLCertVerificationError()),
        ValueError("no number"),
        MemoryError(),
        KeyboardInterrupt(),
        MlflowException("the run was deleted"),
        UsageError("s3fs is not installed"),
        SourceError("rows.csv is empty"),
        SourceNotFoundError("rows.csv: there is no such file"),
        ContractError([Violation("size", "null", 3, "3 rows are null")]),
        DriftError("toy", ["moved"]),
        StageTimeoutError("ingest", 3600),
        StorageError("cannot fetch"),
    ],
    ids=repr,
)
def test_what_stays_wrong_is_not_tried_again(error: BaseException) -> None:
    wrapped = SourceError("the source cannot be read")
    wrapped.__cause__ = error

    assert not is_transient(error)
    assert not is_transient(wrapped)
    assert not is_transient(hiding(SourceError("the source cannot be read"), error))


def test_a_mistake_that_is_found_while_the_network_fails_is_a_mistake() -> None:
    def fail() -> None:
        try:
            raise ConnectionResetError
        except ConnectionResetError:
            Path("/no/such/file").read_text()

    assert not is_transient(raised(fail))


@pytest.mark.parametrize(
    ("code", "status", "passes"),
    [
        ("SlowDown", 503, True),
        ("InternalError", 500, True),
        ("ServiceUnavailable", 503, True),
        ("RequestTimeout", 400, True),
        ("TooManyRequests", 429, True),
        ("503", 503, True),
        ("NoSuchKey", 404, False),
        ("NoSuchBucket", 404, False),
        ("AccessDenied", 403, False),
        ("InvalidAccessKeyId", 403, False),
        ("SignatureDoesNotMatch", 403, False),
        ("InvalidRange", 416, False),
    ],
)
def test_an_answer_of_s3_is_tried_again_by_its_code(code: str, status: int, passes: bool) -> None:
    exceptions, s3fs = (
        pytest.importorskip("botocore.exceptions"),
        pytest.importorskip("s3fs.errors"),
    )
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = exceptions.ClientError(answer, "GetObject")

    assert is_transient(error) is passes
    assert is_transient(s3fs.translate_boto_error(error)) is passes


def test_a_bucket_that_is_not_reached_is_tried_again_and_one_without_credentials_is_not() -> None:
    exceptions = pytest.importorskip("botocore.exceptions")
    url = {"endpoint_url": "http://example.org"}

    assert is_transient(exceptions.EndpointConnectionError(**url))
    assert is_transient(exceptions.ConnectionClosedError(**url))
    assert is_transient(exceptions.ReadTimeoutError(**url))
    assert not is_transient(exceptions.SSLError(**url, error="certificate verify failed"))
    assert not is_transient(exceptions.NoCredentialsError())


def test_an_sqlite_source_that_is_locked_is_tried_again_and_a_missing_table_is_not(
    tmp_path: Path,
) -> None:
    database = tmp_path / "rows.db"
    with sqlite3.connect(database) as made:
        made.execute("CREATE TABLE rows (x)")
    engine = sqlalchemy.create_engine(f"sqlite:///{database}", connect_args={"timeout": 0})
    locker = sqlite3.connect(database, isolation_level=None)
    locker.execute("BEGIN EXCLUSIVE")

    def ask(query: str) -> object:
        with engine.connect() as connection:
            return connection.execute(sqlalchemy.text(query)).all()

    locked = raised(lambda: ask("SELECT * FROM rows"))
    locker.close()
    missing = raised(lambda: ask("SELECT * FROM row"))
    engine.dispose()

    assert is_transient(locked)
    assert not is_transient(missing)


def test_a_mistake_in_a_query_or_in_the_address_of_a_database_is_not_tried_again(
    tmp_path: Path,
) -> None:
    database = tmp_path / "rows.db"
    with sqlite3.connect(database) as made:
        made.execute("CREATE TABLE rows (x)")

    def ask(url: str, query: str) -> BaseException:
        source = SqlQuery(kind="sql", url=url, query=query)
        return raised(lambda: open_query(source, root=tmp_path, run_date=datetime.date(2026, 1, 1)))

    assert not is_transient(ask("sqlite:///rows.db", "SELECT * FROM row"))
    assert not is_transient(ask("sqlite:///rows.db", "SELEC 1"))
    assert not is_transient(ask("sqlite:///row.db", "SELECT * FROM rows"))
    assert not is_transient(ask("sqlite:///rows.db", "SELECT x, :day FROM rows"))


def test_a_database_server_that_refuses_connections_is_tried_again(
    closed_port: int, hangs_up: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    monkeypatch.setenv("PG_PASSWORD", "secret")

    def ask(port: int) -> BaseException:
        url = f"postgresql+psycopg://user:${{PG_PASSWORD}}@127.0.0.1:{port}/rows"
        source = SqlQuery(kind="sql", url=url, query="SELECT 1")
        return raised(lambda: open_query(source, root=tmp_path, run_date=datetime.date(2026, 1, 1)))

    refused, reset = ask(closed_port), ask(hangs_up)

    assert is_transient(refused)
    assert refused.__cause__ is None  # whose text may hold the password
    assert is_transient(reset)
    assert "secret" not in str(refused)


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        ("FATAL:  the database system is starting up", True),
        ("FATAL:  sorry, too many clients already", True),
        ("server closed the connection unexpectedly", True),
        ('failed to resolve host "db": [Errno -3] Temporary failure in name resolution', True),
        ('connection failed: FATAL:  password authentication failed for user "me"', False),
        ('connection failed: FATAL:  database "row" does not exist', False),
        ("connection timeout expired", False),
    ],
)
def test_what_a_database_server_says_when_it_lets_no_one_in_decides(
    said: str, passes: bool
) -> None:
    psycopg = pytest.importorskip("psycopg")
    error = sqlalchemy.exc.OperationalError("SELECT 1", {}, psycopg.OperationalError(said))

    assert is_transient(error) is passes


@pytest.mark.parametrize(
    ("state", "passes"),
    [
        ("AdminShutdown", True),
        ("CannotConnectNow", True),
        ("ConnectionFailure", True),
        ("DeadlockDetected", True),
        ("SerializationFailure", True),
        ("TooManyConnections", True),
        ("DiskFull", False),
        ("InsufficientPrivilege", False),
        ("InvalidPassword", False),
        ("SyntaxError", False),
        ("UndefinedColumn", False),
        ("UndefinedTable", False),
    ],
)
def test_the_state_of_a_postgres_error_decides(state: str, passes: bool) -> None:
    errors = pytest.importorskip("psycopg.errors")
    error = sqlalchemy.exc.DBAPIError("SELECT 1", {}, getattr(errors, state)("no"))

    assert is_transient(error) is passes
