"""Passwords in addresses: refused in a config, and nowhere printed, stored or asked a resolver."""

import base64
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from evergreen.environment import prepare_prefect
from evergreen.failures import describe
from pipeline_lib.addresses import ServerAddress, link, open_secret, shown_address, without_secrets
from pipeline_lib.config import load_config
from pipeline_lib.config.sources import CsvFile, SqlQuery
from pipeline_lib.data.sources.sql import open_query
from pipeline_lib.errors import ConfigError, EvergreenError, ServerError, SourceError, UsageError
from pipeline_lib.home import find_home
from pipeline_lib.shown import show_log_lines
from pipeline_lib.tracking.address import check_address
from pipeline_lib.tracking.store import connect, tracking_uri, ui_url

PROJECT = Path(__file__).resolve().parents[2]
SECRET = "hunter2"
OPEN = [
    "postgresql+psycopg://u:hunter2/RET@h/db",
    "postgresql+psycopg://u:S3C/hunter2@h/db",
    "postgresql+psycopg://u:hunter2?x@h/db",
    "postgresql+psycopg://u:hunter2#x@h/db",
    "postgresql+psycopg://u:hunter2%2Fx@h/db",
    "postgresql+psycopg://u:a@hunter2@h/db",
    "postgresql+psycopg://u:a:hunter2@h/db",
    "postgresql+psycopg://u:my hunter2@h/db",
    "postgresql+psycopg://:hunter2@h/db",
    "postgresql+psycopg://u%3Ahunter2@h/db",
    "postgresql+psycopg:///u:hunter2@h/db",
    "postgresql+psycopg://u:${X}hunter2@h/db",
    "postgresql+psycopg://u:hunter2${X}@h/db",
    "postgresql+psycopg://u:${X:-hunter2}@h/db",
    "postgresql+psycopg://u:${hunter2!}@h/db",
    "postgresql+psycopg://u:${X}@hunter2@h/db",
    "POSTGRESQL+PSYCOPG://u:hunter2@h/db",
    "postgresql+psycopg://u:hunter2@h:port/db",
    "${DRIVER}://u:hunter2@h/db",
    "${BASE}:hunter2@h/db",
    "${BASE}?password=hunter2",
    "postgresql+psycopg://h/db?password=hunter2",
    "postgresql+psycopg://h/db?PassWord=hunter2",
    "postgresql+psycopg://h/db?sslpassword=hunter2",
    "postgresql+psycopg://h/db?pass%77ord=hunter2",
    "postgresql+psycopg://h/db?password=${X}&password=hunter2",
    "postgresql+psycopg://h/db?password=${X}%26hunter2",
    "postgresql+psycopg://h/db?user=u&passwd=hunter2",
    "postgresql+psycopg://h/db?options=-c%20my.password%3Dhunter2",
    "postgresql+psycopg://h/db?proxy=http://u:hunter2@p",
    "postgresql+psycopg://h/db?proxy=http%3A%2F%2Fu%3Ahunter2%40p",
    "postgresql+psycopg://h/db#password=hunter2",
    "postgresql+psycopg://h/db?a=b\n&password=hunter2",
    "postgresql+psycopg://h/db?oauth_client_secret=hunter2",
    "postgresql+psycopg://h/db?scram_client_key=hunter2",
    "mysql+pymysql://h/db?passwd=hunter2",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BUID%3Dsa%3BPWD%3Dhunter2",
    "mssql+pyodbc://h/db;PWD=hunter2",
    "snowflake://u@a/db?token=hunter2",
    "snowflake://u@a/db?private_key_passphrase=hunter2",
    "bigquery://p/d?credentials_base64=hunter2",
    "databricks://h?access_token=hunter2&http_path=x",
    "sqlite+pysqlcipher://:hunter2@/cars.db",
    "sqlite:///cars.db?key=hunter2",
]
CLOSED = [
    "sqlite:///data/cars.db",
    "sqlite:///data/ann@home.db",
    "postgresql+psycopg://ann@host/db",
    "postgresql+psycopg://ann%40azure@host/db",
    "postgresql+psycopg://ann:${PASSWORD}@host:5432/db",
    "postgresql+psycopg://ann:${ONE}${TWO}@host/db",
    "postgresql+psycopg://${WHO}@host/db?password=${PASSWORD}",
    "postgresql+psycopg://host/db?passfile=/home/ann/.pgpass&sslmode=require&sslkey=/k.pem",
    "postgresql+psycopg:///db?host=/var/run/postgresql",
    "postgresql+psycopg://[::1]:5432/db",
    "${DRIVER}://ann:${PASSWORD}@${HOST}:${PORT}/${DB}",
    "${BASE}/db?sslmode=require",
    "${WHOLE}",
    "mssql+pyodbc://ann:${PASSWORD}@host/db?driver=ODBC+Driver+18+for+SQL+Server",
]


@pytest.mark.parametrize("url", OPEN)
def test_a_url_with_a_secret_is_refused_and_the_secret_is_not_repeated(
    url: str, tmp_path: Path
) -> None:
    config = tmp_path / "cars.yaml"
    text = (PROJECT / "configs" / "car_evaluation.yaml").read_text()
    source = f"source: {{kind: sql, url: {json.dumps(url)}, query: SELECT 1}}"
    config.write_text(text.replace("source: {kind: builtin, table: car_evaluation}", source))
    assert source in config.read_text()

    with pytest.raises(ConfigError) as raised:
        load_config(config)

    assert "data.source.url" in str(raised.value)
    assert SECRET not in str(raised.value) + repr(raised.value)


@pytest.mark.parametrize("url", CLOSED)
def test_a_url_whose_secrets_are_variables_is_taken(url: str) -> None:
    assert SqlQuery(url=url, query="SELECT 1").url == url


@pytest.mark.parametrize(
    "value",
    [
        "[postgresql://ann:a-very-long-hunter2-password-that-a-message-would-cut-off@h/db]",
        "{x: 'postgresql://ann:hunter2@h/db'}",
    ],
)
def test_a_value_of_the_wrong_type_is_quoted_without_its_secret(value: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(
            PROJECT / "configs" / "car_evaluation.yaml",
            assignments=(f"data.source={{kind: sql, query: SELECT 1, url: {value}}}",),
        )

    assert SECRET not in str(raised.value)


def test_other_values_of_a_config_hold_no_secrets_either() -> None:
    with pytest.raises(ValidationError, match="holds a key"):
        CsvFile(path="s3://AKIA:hun/ter2@bucket/a.csv")
    with pytest.raises(ValidationError, match="holds a key"):
        CsvFile(path="https://host/a.csv?X-Amz-Signature=hunter2")
    with pytest.raises(ValidationError, match="password in a literal"):
        SqlQuery(url="sqlite:///x.db", query="SELECT * FROM dblink('password=hunter2', 'SELECT 1')")
    with pytest.raises(ConfigError, match="holds a password"):
        load_config(
            PROJECT / "configs" / "car_evaluation.yaml",
            assignments=("tracking.tags={dsn: 'postgresql://ann:hunter2@h/db'}",),
        )
    assert SqlQuery(url="sqlite:///x.db", query="SELECT * FROM t WHERE password = 'x'")
    assert CsvFile(path="s3://bucket/day@1/{YYYY}-{MM}-{DD}.csv")


@pytest.mark.parametrize("address", [*OPEN, "http://ann:hunter2@h:4200/api", "https://hunter2@h/"])
def test_an_address_is_shown_without_its_secret(address: str) -> None:
    if "://" not in address and "@" in address:
        pytest.skip("nothing but a config would take it for an address, and refuses it")

    assert SECRET not in shown_address(address)
    assert SECRET not in without_secrets(f"cannot connect to {address.splitlines()[0]}: refused")


@pytest.mark.parametrize(
    "text",
    [
        *CLOSED,
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&a=b",
        "see (http://127.0.0.1:4200/api). Ask ann@example.org",
        "export PREFECT_API_AUTH_STRING=USER:PASSWORD, as the server has it",
        "--set columns.token.kind=hash",
        "s3://bucket/day@1.csv",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text
    assert without_secrets(without_secrets(text)) == text


def test_what_drivers_and_tracebacks_say_is_shown_without_secrets() -> None:
    said = describe(KeyError("connection failed: host=h password=hunter2 dbname=x"))
    kept = Path(said.rpartition(" ")[2])

    assert SECRET not in said + kept.read_text()
    kept.unlink()
    assert SECRET not in repr(EvergreenError("no http://ann:hunter2@h"))
    assert SECRET not in str(EvergreenError("refused: AWS_SECRET_ACCESS_KEY=hunter2"))
    assert open_secret("{'user': 'ann', 'password': 'hunter2'}") == "password"


@contextmanager
def answering(realm: dict[str, list[str | None]]) -> Iterator[int]:
    """Run a server that lets in `ann` with a password, and keeps what was sent to each path."""
    expected = f"Basic {base64.b64encode(b'ann:hun/ter2').decode()}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            given = self.headers.get("Authorization")
            realm.setdefault(self.path.partition("?")[0], []).append(given)
            body = b"{}" if "mlflow" in self.path else b"[]"
            self.send_response(200 if given == expected else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_mlflows_health_is_asked_with_a_header_and_the_resolver_hears_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def heard(host: str, *rest: object, **named: object) -> object:
        asked.append(str(host))
        return resolve(host, *rest, **named)  # pyright: ignore[reportArgumentType]

    realm: dict[str, list[str | None]] = {}
    with answering(realm) as port:
        monkeypatch.setattr(socket, "getaddrinfo", heard)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:hun%2Fter2@127.0.0.1:{port}")
        client = connect(find_home())

        assert set(asked) == {"127.0.0.1"}
        assert all(
            given and given.startswith("Basic ") for said in realm.values() for given in said
        )
        assert "/health" in realm
        assert (
            client.tracking_uri
            == tracking_uri(find_home())
            == ui_url()
            == f"http://127.0.0.1:{port}"
        )

    realm.clear()
    with answering(realm) as other:  # a password is not carried on to another server
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{other}")
        with pytest.raises(ServerError):
            connect(find_home())
        assert {given for said in realm.values() for given in said} == {None}


def test_a_tracking_server_that_is_not_there_is_told_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for uri in (
        "http://ann:hunter2@host.invalid:5000",
        "http://ann:hunter2@127.0.0.1:9",
        "http://ann:hunter2/x@127.0.0.1:9",
        "http://ann:12/hunter2@127.0.0.1:9",
        "postgresql+psycopg://ann:hunter2@127.0.0.1:9/runs?sslpassword=hunter2",
        "postgresql://ann:hun/ter2-hunter2@h/runs",
        "postgresql+psycopg://ann:a@hunter2@h/runs",
        "HTTP://ann:hunter2@127.0.0.1:9",
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        with pytest.raises(EvergreenError) as raised:
            connect(find_home())
        assert SECRET not in str(raised.value)


def test_a_variable_with_a_whole_url_gives_no_part_of_its_password_to_the_resolver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHOLE", "postgresql+psycopg://ann:a@hunter2@host.invalid/db")
    source = SqlQuery(url="${WHOLE}", query="SELECT 1")

    with pytest.raises(SourceError, match="write %40") as raised:
        open_query(source, root=tmp_path, run_date=date(2026, 5, 1))

    assert SECRET not in str(raised.value)


def test_an_http_address_is_taken_apart_or_refused() -> None:
    address = ServerAddress.of("http://ann:hun%40ter2@host:4200/api")

    assert address == ServerAddress("http://host:4200/api", "ann:hun@ter2")
    assert link("http://ann:hunter2@host/runs/1") == "http://host/runs/1"
    for wrong in ("http://ann:1/x@h/api", "http://a@b@h/api", "http://ann:x/y@h", "http://h:0"):
        with pytest.raises(ValueError, match=r"\w"):
            ServerAddress.of(wrong)
        with pytest.raises(UsageError):
            check_address(wrong)


def test_prefects_address_gives_its_password_away_before_prefect_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "")
    monkeypatch.setenv("PREFECT_API_URL", "http://ann:hun%2Fter2@127.0.0.1:9/api")

    prepare_prefect(find_home())

    assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:9/api"
    assert os.environ["PREFECT_API_AUTH_STRING"] == "ann:hun/ter2"
    monkeypatch.setenv("PREFECT_API_URL", "http://ann:hun/ter2-hunter2@127.0.0.1:9/api")
    with pytest.raises(UsageError) as raised:
        prepare_prefect(find_home())
    assert SECRET not in str(raised.value)


def test_a_log_line_of_any_library_is_written_without_secrets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    factory = logging.getLogRecordFactory()
    try:
        show_log_lines()
        logging.getLogger("some.library").warning("no answer from %s", "http://ann:hunter2@h/api")
        try:
            raise KeyError("http://ann:hunter2@h")
        except KeyError:
            logging.getLogger("some.library").exception("lost")
    finally:
        logging.setLogRecordFactory(factory)

    assert "no answer from http://***@h/api" in caplog.text
    assert "KeyError" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.slow
def test_the_doctor_asks_both_servers_with_a_password_and_prints_none(tmp_path: Path) -> None:
    realm: dict[str, list[str | None]] = {}
    with answering(realm) as port:
        done = subprocess.run(
            [sys.executable, "-m", "evergreen", "doctor"],
            cwd=PROJECT,
            env={
                **os.environ,
                "MLFLOW_TRACKING_URI": f"http://ann:hun%2Fter2@127.0.0.1:{port}",
                "PREFECT_API_URL": f"http://ann:hun%2Fter2@127.0.0.1:{port}/api",
            },
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    assert "ok    mlflow" in done.stdout
    assert f"http://127.0.0.1:{port}/api" in done.stdout
    assert "ter2" not in done.stdout + done.stderr
    assert set(realm) >= {"/health", "/api/health"}
    assert None not in realm["/api/health"]


def test_a_long_text_costs_time_in_proportion() -> None:
    def seconds(n: int) -> float:
        text = "a://b:c " * n
        begin = time.process_time()
        without_secrets(text)
        return time.process_time() - begin

    seconds(1_000)
    assert seconds(40_000) < 60 * max(seconds(4_000), 0.01)


@pytest.mark.parametrize(
    "text",
    [
        "ann:hunter2@host:4200/api",
        "http:/ann:hunter2@host:4200/api",
        "HTTPConnectionPool(host='ann:hunter2@host', port=80): Max retries exceeded",
        "tried ann:hun/hunter2@host",
        "headers: {'Authorization': 'Basic hunter2'}",
        "Authorization: Bearer hunter2",
    ],
)
def test_a_user_without_a_scheme_before_it_and_a_header_are_printed_without_the_secret(
    text: str,
) -> None:
    assert SECRET not in without_secrets(text)
    assert SECRET not in shown_address(text.rpartition(" ")[2]) or "Authorization" in text


def test_an_at_sign_that_follows_no_password_is_left_as_it_is() -> None:
    for text in ("mail ann@host at 12:30", "sqlite:///data/ann@home.db", "10:15 ann@host"):
        assert without_secrets(text) == text
