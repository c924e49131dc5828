"""A server that asks nobody who they are is told by the doctor."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from evergreen.open_servers import (
    MLFLOW_PATH,
    PREFECT_PATH,
    answers_strangers,
    is_of_this_machine,
)

ASKED = f"Basic {base64.b64encode(b'me:word').decode()}"


@contextmanager
def server(
    *, asks: bool, body: str = '"3.8.8"', location: str = ""
) -> Iterator[tuple[str, list[str]]]:
    """Give the address of a server, and the paths and credentials it was asked with."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            seen.append(f"{self.path} {given}".strip())
            refused = 401 if asks and given != ASKED else 200
            self.send_response(302 if location and self.path != location else refused)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{found.server_port}", seen
        found.shutdown()


@pytest.mark.parametrize("path", [PREFECT_PATH, MLFLOW_PATH])
def test_a_server_that_answers_strangers_is_known(path: str) -> None:
    with server(asks=False, body=json.dumps({"experiments": []})) as (place, _):
        assert answers_strangers(f"http://{place}/api", path)


def test_a_name_and_password_in_an_address_are_not_sent_to_ask_as_a_stranger() -> None:
    with server(asks=True) as (place, seen):
        assert not answers_strangers(f"http://me:word@{place}/api/", PREFECT_PATH)

    assert seen == ["/api/admin/version"]


def test_a_page_that_asks_for_a_login_is_no_open_server() -> None:
    with server(asks=False, body="<html>log in</html>", location="/login") as (place, _):
        assert not answers_strangers(f"http://{place}/api", PREFECT_PATH)


def test_a_server_that_is_away_is_not_open() -> None:
    assert not answers_strangers("http://127.0.0.1:9", PREFECT_PATH)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://127.0.0.1:5000", True),
        ("http://localhost:5000", True),
        ("http://[::1]:5000", True),
        ("http://127.0.0.53/mlflow", True),
        ("http://10.0.0.1:5000", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://0.0.0.0:5000", False),
        ("https://mlflow.example", False),
    ],
)
def test_an_address_of_this_machine_is_told_from_others(address: str, here: bool) -> None:
    assert is_of_this_machine(address) is here
