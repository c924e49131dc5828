"""Prefect's temporary server: bound to a port of ours, heard when it fails, ended with the command.

Another user of the machine could read the port from the server's arguments and listen there first,
or once the server is gone: this process binds it, hands it to the server and keeps it to its end.

Prefect's own start asks for two minutes whether a server answers that has ended long ago, and
starts one that cannot begin again and again.
"""

import atexit
import http.client
import os
import secrets
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

from evergreen.interruption import children_hear_no_signals
from evergreen.server_failures import (
    known_trouble,
    why_it_failed,
)
from pipeline_lib.addresses import shown_address
from pipeline_lib.errors import ServerError

_PORTS = range(10_000, 60_000)
_APP = "prefect.server.api.server:create_app"
_PROGRAM = Path(__file__).with_name("server_process.py")
_AS_TEMPORARY = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",  # only this process listens
}
_GOODBYE_S = 5
_HEALTH_S = 5
_MAX_LINES = 400


class OwnServer(SubprocessASGIServer):
    """The server that Prefect's clients find where PREFECT_API_URL names none.

    Prefect keeps one instance for the process: the first one made decides its class.
    """

    _bound: socket.socket | None = None

    def start(self, timeout: int | None = None) -> None:
        """Start the server, and return when it answers.

        Raises:
            ServerError: it ended instead, and why; or it did not answer in time.
        """
        if self.running:
            return
        settings = get_current_settings()
        self._said: deque[str] = deque(maxlen=_MAX_LINES)
        self.port = self.find_available_port()
        process = self.server_process = self._run_uvicorn_command()
        self.running = True
        atexit.register(self.stop)
        self._reader = Thread(target=self._listen, args=[process], daemon=True)
        self._reader.start()
        patience = timeout or settings.server.ephemeral.startup_timeout_seconds
        end = time.monotonic() + patience
        while not self._answers():
            if process.poll() is not None:
                self._reader.join(_GOODBYE_S)
                self.running = False
                raise ServerError(why_it_failed("".join(self._said)))
            if time.monotonic() > end:
                self.stop()
                raise ServerError(why_it_failed("".join(self._said), patience_s=patience))
            time.sleep(0.1)

    def trouble(self) -> str:
        """Return what the server has printed about its disk or database, and what to do; or ""."""
        return known_trouble("".join(self._said))

    def stop(self) -> None:
        """End the server: close its input, and after a while end it at once."""
        process, self.server_process, self.running = self.server_process, None, False
        self._instances.pop(None, None)
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def find_available_port(self) -> int:
        """Bind a free port, and return it; nothing listens there yet."""
        if self._bound is not None:
            self._bound.close()
        self._bound = socket.socket()
        while True:
            # By its number: Linux lets go of a port that it has chosen itself at `shutdown`.
            port = _PORTS.start + secrets.randbelow(len(_PORTS))
            with suppress(OSError):  # it is taken
                self._bound.bind(("127.0.0.1", port))
                return port

    def release(self) -> None:
        """Refuse connections once the server has ended; without it they would wait in the queue."""
        if self._bound is not None:
            with suppress(OSError):
                self._bound.shutdown(socket.SHUT_RDWR)

    def _run_uvicorn_command(self) -> "subprocess.Popen[Any]":
        assert self._bound is not None
        number, settings = self._bound.fileno(), get_current_settings()
        if settings.api.url:  # its clients would go there
            raise ServerError(
                f"Prefect's own settings here (prefect.toml, pyproject.toml or a profile) name the "
                f"server {shown_address(settings.api.url)}: export PREFECT_API_URL with its "
                "address to use it, or take it out there"
            )
        secret, expected = settings.api.auth_string, settings.server.api.auth_string
        # Without credentials any user of this machine could drive the run.
        assert secret is not None
        assert secret == expected
        with children_hear_no_signals():
            return subprocess.Popen(
                [sys.executable, "-P", _PROGRAM, "uvicorn", _APP, "--fd", str(number)],
                env={
                    **os.environ,
                    **settings.to_environment_variables(exclude_unset=True),
                    **_AS_TEMPORARY,
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[number],
            )

    def _answers(self) -> bool:
        """Return whether anything answers, with whatever status below 500."""
        asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_HEALTH_S)
        try:
            asked.request("GET", "/api/health")
            return asked.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            asked.close()

    def _listen(self, process: "subprocess.Popen[bytes]") -> None:
        """Read what the server prints, so that it never blocks; the last lines are kept."""
        assert process.stderr is not None
        for line in process.stderr:
            self._said.append(line.decode(errors="replace"))
