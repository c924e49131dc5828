"""Prefect's temporary server, on a port that is ours before the server is there.

Another user of the machine could read the port from the server's arguments and listen there first,
or once the server is gone: this process binds it, hands it to the server and keeps it to its end.
"""

import os
import secrets
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any

import prefect
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

from evergreen.failures import without_password
from pipeline_lib.errors import ServerError

_PORTS = range(10_000, 60_000)
_AS_TEMPORARY = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}


class OwnServer(SubprocessASGIServer):
    """The server that Prefect's clients find where PREFECT_API_URL names none.

    Prefect keeps one instance for the process: whoever makes the first decides its class.
    """

    _bound: socket.socket | None = None

    def find_available_port(self) -> int:
        """Bind a port that nobody else has, and return it; nothing listens there yet."""
        if self._bound is not None:
            self._bound.close()
        self._bound = socket.socket()
        while True:
            # By its number: Linux lets go of a port that it has chosen itself at `shutdown`.
            port = _PORTS.start + secrets.randbelow(len(_PORTS))
            with suppress(OSError):  # somebody else has it
                self._bound.bind(("127.0.0.1", port))
                return port

    def release(self) -> None:
        """Refuse connections once the server has ended; without it they would wait in the queue."""
        if self._bound is not None:
            with suppress(OSError):
                self._bound.shutdown(socket.SHUT_RDWR)

    def _run_uvicorn_command(self) -> "subprocess.Popen[Any]":
        assert self._bound is not None
        settings = get_current_settings()
        if settings.api.url:  # its clients would go there
            raise ServerError(
                f"Prefect's own settings here (prefect.toml, pyproject.toml or a profile) name the "
                f"server {without_password(settings.api.url)}: export PREFECT_API_URL with its "
                "address to use it, or take it out there"
            )
        secret, expected = settings.api.auth_string, settings.server.api.auth_string
        # Without credentials any user of this machine could drive the run.
        assert secret is not None
        assert secret == expected
        descriptor = self._bound.fileno()
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "uvicorn",
                "--app-dir",
                str(prefect.__module_path__.parent),
                "--factory",
                "prefect.server.api.server:create_app",
                "--fd",
                str(descriptor),
                "--log-level",
                "error",
                "--lifespan",
                "on",
            ],
            env={
                **os.environ,
                **_AS_TEMPORARY,
                **settings.to_environment_variables(exclude_unset=True),
            },
            pass_fds=(descriptor,),
        )
