"""How a command ends when it is told to: put away what is open, one line, the usual exit code.

Ctrl-C, SIGTERM and the end of a terminal come as one exception. Python ends at once at the last
two, and so would leave Prefect's temporary server behind.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import Thread
from types import FrameType
from typing import Any, NoReturn

# What a terminal sends to each process of a command.
_OF_THE_TERMINAL = (signal.SIGINT, signal.SIGHUP)


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP; whoever puts things away at Ctrl-C does the same."""

    def __init__(self, number: int, *, server_lost: bool = False) -> None:
        self.exit_code = 128 + number
        self.server_lost = server_lost  # it heard the signal too
        super().__init__(number)


def raise_when_terminated() -> None:
    """Let SIGTERM and SIGHUP raise; what the parent ignores, as under nohup, stays ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _raise)


def stop_listening() -> None:
    """Let no second signal disturb the end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def exit_code(error: KeyboardInterrupt) -> int:
    """Return what a shell expects of a process that ended so."""
    return error.exit_code if isinstance(error, Terminated) else 128 + signal.SIGINT


def end_at_once(code: int) -> NoReturn:
    """End with no goodbyes: Prefect's client would offer its events to a lost server for minutes.

    Measured 2026-11 with Prefect 3.8.8: 159 s after the last line.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def children_outlive_the_terminal() -> Generator[None]:
    """Processes that are started meanwhile hear no Ctrl-C; whoever starts them ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_this_process(pid: int) -> None:
    """End another process when this one is gone, however it went: `kill -9` lets nobody tidy up.

    A shell waits for a pipe that nobody writes to; the system closes it at this process's end.
    """
    reader, _writer = os.pipe()
    subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; kill "$0"', str(pid)],
        stdin=reader,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(reader)


def at_the_end_of(child: "subprocess.Popen[Any]", do: Callable[[], None]) -> None:
    """Do something, in a thread, when a child of this process has ended."""

    def wait() -> None:
        child.wait()
        do()

    Thread(target=wait, daemon=True).start()


def _raise(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a handler's form
    raise Terminated(number)
