"""A server that cannot be used is told with the command that mends it."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from evergreen.environment import prepare_prefect
from evergreen.prefect_server import require_server
from evergreen.work_pool import pool_facts
from pipeline_lib.errors import ServerError, UsageError
from pipeline_lib.home import find_home


@contextmanager
def answering(statuses: dict[str, int]) -> Iterator[str]:
    """Give the address of a server that is not Prefect's: a status by path, else 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps([]).encode()
            self.send_response(statuses.get(self.path, 404))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def refusal(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what is said of the server at an address."""
    monkeypatch.setenv("PREFECT_API_URL", url)
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(ServerError) as raised:
        require_server()
    assert raised.value.exit_code == 1
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def test_an_address_without_api_is_told_with_the_right_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with answering({"/api/health": 200, "/api/work_pools/filter": 200}) as url:
        said = refusal(url, monkeypatch)

    assert f"export PREFECT_API_URL={url}/api" in said


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_credentials_is_told_with_the_variable_to_set(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    with answering({"/api/health": 200, "/api/work_pools/filter": status}) as url:
        said = refusal(f"{url}/api", monkeypatch)

    assert f"wants credentials ({status})" in said
    assert "export PREFECT_API_AUTH_STRING=USER:PASSWORD" in said


def test_a_server_that_is_not_prefects_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering({}) as url:
        said = refusal(f"{url}/api", monkeypatch)

    assert "is no Prefect server" in said
    assert "export PREFECT_API_URL=" in said


def test_a_host_that_is_not_known_is_told_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    said = refusal("http://me:secret@prefect.invalid:4200/api", monkeypatch)

    assert "the host prefect.invalid" in said
    assert "export PREFECT_API_URL=" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("url", "better"),
    [
        ("127.0.0.1:4200/api", "http://127.0.0.1:4200/api"),
        ("http://", "http://127.0.0.1:4200/api"),
        ("nonsense", "http://127.0.0.1:4200/api"),
        ("http://127.0.0.1:999999/api", "http://127.0.0.1:4200/api"),
        ("http://[::1/api", "http://127.0.0.1:4200/api"),
        ("ftp://host/api", "http://127.0.0.1:4200/api"),
    ],
)
def test_what_is_no_address_is_told_before_prefect_reads_it(
    url: str, better: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", url)

    with pytest.raises(UsageError) as raised:
        prepare_prefect(find_home())

    assert f"export PREFECT_API_URL={better}" in str(raised.value)


def test_a_server_without_the_work_pool_is_no_mistake(harness: None) -> None:
    assert asyncio.run(pool_facts()).is_there is False
