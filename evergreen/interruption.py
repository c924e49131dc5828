"""How a command ends at a signal: close what is open, one line, the usual exit code.

`pipeline_lib.interruption` hears the signals; here is what they come to in a command. Nothing
heavy is imported: Ctrl-C is heard from the first moment.
"""

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from pipeline_lib.interruption import SIGNALS, Listener, heard, listen

if TYPE_CHECKING:
    from subprocess import Popen

_CLEARED = "\r\033[K"
# How to go on after an interruption, once there is something to go on with.
_hints: list[str] = []
_said: list[str] = []
_saying = Lock()
_servers: "list[Popen[Any]]" = []


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP; code that cleans up at Ctrl-C does the same here."""


def listen_to_signals() -> Listener:
    """Hear signals until the process ends; what the parent ignores, as under nohup, stays ignored.

    The first one raises, the second one ends at once.
    """
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _raise)
    return listen(on_second=lambda number: _end_at_once_told(heard() or number))


def say_interrupted() -> int:
    """Print the line of an interrupted command; return what a shell expects of its exit code."""
    _say_once()
    return 128 + (heard() or signal.SIGINT)


def end_at_once(code: int) -> NoReturn:
    """End with no goodbyes: Prefect's client would offer its events to a lost server for minutes.

    Measured 2026-11 with Prefect 3.8.8: 159 s after the last line.
    """
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def say_how_to_go_on(hint: str) -> None:
    """Let an interruption from here on say how the command goes on."""
    _hints[:] = [hint]


def at_the_end_of(child: "Popen[Any]", do: Callable[[], None]) -> None:
    """Do something, in a thread, when a server that was started here has ended."""

    def wait() -> None:
        child.wait()
        do()

    _servers.append(child)
    Thread(target=wait, daemon=True).start()


def a_server_has_gone() -> bool:
    """Return whether a server that was started here has ended before this process."""
    return any(server.poll() is not None for server in _servers)


@contextmanager
def children_hear_no_signals() -> Generator[None]:
    """Processes that are started meanwhile outlive Ctrl-C and what `timeout` and systemd send.

    Their caller ends them.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _say_once() -> None:
    """Print the line, whichever thread comes first."""
    with _saying, suppress(OSError, ValueError):
        if not _said:
            _said.append("; ".join(["interrupted", *_hints]))
            sys.stderr.flush()
            os.write(2, f"{_CLEARED if os.isatty(2) else ''}{_said[0]}\n".encode())


def _end_at_once_told(number: int) -> NoReturn:
    """End from a thread: the main one may be in a call that takes minutes."""
    _say_once()
    os._exit(128 + number)


def _raise(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a handler's form
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)
