"""A call ends in time, however the server stretches its answer."""

import socket
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from evergreen.open_servers import answers_strangers
from pipeline_lib.asking import ask
from pipeline_lib.errors import ServerError
from pipeline_lib.home import find_home
from pipeline_lib.tracking import store

ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


@contextmanager
def server_that_says(begin: bytes, then: bytes) -> Generator[str]:
    """Serve one beginning to each call, and one more byte ten times a second."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip(call: socket.socket) -> None:
        with suppress(OSError), call:
            call.sendall(begin)
            while then:
                time.sleep(0.1)
                call.sendall(then)

    def serve() -> None:
        with suppress(OSError):
            while True:
                Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    Thread(target=serve, daemon=True).start()
    with listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("begin", "then"), [(ENDLESS, b" "), (b"HTTP/1.1 200 OK\r\n", b"X"), (b"", b"H")], ids=str
)
@pytest.mark.timeout(600)
def test_a_server_that_never_ends_its_answer_is_one_that_does_not_answer(
    begin: bytes, then: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_PROBE_TIMEOUT_S", 1)
    monkeypatch.setattr("evergreen.open_servers._TIMEOUT_S", 1)

    with server_that_says(begin, then) as url:
        with pytest.raises(TimeoutError):
            ask(urllib.request.Request(url), within_s=1)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        with pytest.raises(ServerError, match="no MLflow server answers at"):
            store.connect(find_home())

        assert not answers_strangers(url, "/")


def test_a_whole_answer_is_returned() -> None:
    with server_that_says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", b"") as url:
        assert ask(urllib.request.Request(url), within_s=10) == b"OK"
