"""Run a server until standard input ends: `python -P server_process.py APP --fd NUMBER`.

The temporary server lives as long as the command that started it, and no longer: the system closes
the pipe when that process has gone, however it went. Its parent blocks signals for it,
for a terminal, `timeout` and systemd send them to every process of a command, and the server has
to store what a run that ends still writes. This file imports nothing of ours.
"""

import os
import socket
import sys
import threading
import time

import uvicorn
from uvicorn.config import STARTUP_FAILURE

# A migration that has begun is brought to its end if it can be.
_GOODBYE_S = 30


def main(app: str, descriptor: int) -> None:
    """Serve an app factory on a socket that is bound already."""
    config = uvicorn.Config(app, factory=True, log_level="error", lifespan="on")
    server = uvicorn.Server(config)

    def end_with_the_input() -> None:
        while os.read(0, 64):
            pass
        server.should_exit = True
        time.sleep(_GOODBYE_S)
        os._exit(1)

    threading.Thread(target=end_with_the_input, daemon=True).start()
    server.run([socket.socket(fileno=descriptor)])
    sys.stderr.flush()
    os._exit(0 if server.started else STARTUP_FAILURE)


if __name__ == "__main__":
    main(sys.argv[2], int(sys.argv[4]))
