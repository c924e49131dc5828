"""Interruptions that wait for the end of a step, so that what is saved is whole.

Ctrl-C, SIGTERM and Prefect's cancellation arrive as signals whose handlers raise. Raised in the
middle of a step they would leave half of the weights moved.
"""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Follower = Callable[[Any, Any], None]
_followers: list[Follower] = []


@contextmanager
def followed(follower: Follower) -> Generator[None]:
    """Tell somebody of each handler that a guard replaces: the one before, and the one now."""
    _followers.append(follower)
    try:
        yield
    finally:
        _followers.remove(follower)


class StepGuard:
    """Between `begin` and `end` signals wait; a second one of a kind does not."""

    def __init__(self) -> None:
        self.busy = False
        self._waiting: list[tuple[int, FrameType | None]] = []
        self._handlers: dict[int, Any] = {}

    def begin(self) -> None:
        """Let signals wait from here."""
        self.busy = True

    def end(self) -> None:
        """Deliver what has waited; whatever its handler raises comes from here."""
        self.busy = False
        while self._waiting:
            self._deliver(*self._waiting.pop(0))

    @contextmanager
    def installed(self) -> Generator[None]:
        """Stand before the handlers that are there; outside the main thread do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        receive = self._receive  # one object: whoever follows knows a handler by its identity
        for number in _SIGNALS:
            self._handlers[number] = signal.getsignal(number)
            _exchange(number, self._handlers[number], receive)
        try:
            yield
        finally:
            for number, handler in self._handlers.items():
                _exchange(number, receive, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        impatient = any(number == waiting for waiting, _ in self._waiting)
        if self.busy and not impatient:
            self._waiting.append((number, frame))
            return
        self._deliver(number, frame)

    def _deliver(self, number: int, frame: FrameType | None) -> None:
        handler = self._handlers[number]
        if callable(handler):
            handler(number, frame)
        elif handler == signal.SIG_DFL:  # would end the process with nothing saved
            raise SystemExit(128 + number)


def _exchange(number: int, before: Any, now: Any) -> None:
    signal.signal(number, now)
    for follower in _followers:
        follower(before, now)
