"""A request to stop, sent as a signal, is kept until the process has stopped.

Ctrl-C, SIGTERM and a closed terminal arrive as signals whose handlers raise. What is raised may be
lost on its way: in a weakref's callback, a finalizer, a C callback, a library that catches all. So
the request is kept. A thread looks whether the main thread is on its way out, and if it is not,
the handler raises again; `raise_if_heard` does the same wherever something is about to be done
that must not happen any more.

A request that comes while a step is held waits for the step's end. Signals within a second are one
request: `timeout` sends two. A later one is the second.

The alarm of a time-out is no request to end the process, and its handler is not ours. But what it
raises is lost as easily and harms a step as much: it waits, and is repeated, in the same way.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, cast

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Asks the main thread again; ignored by default.
_AGAIN = signal.SIGURG
_AGAIN_EVERY_S = 0.1
_ONE_REQUEST_S = 1.0

Follower = Callable[[Any, Any], None]
Second = Callable[[int], None]
_followers: list[Follower] = []


class Listener:
    """Stands before the handlers of the main thread, and remembers the first signal.

    Args:
        on_second: called in a thread with the second signal, even while the main thread is in a
            long call. Without it a second signal is delivered at once, held or not.
    """

    def __init__(self, on_second: Second | None = None) -> None:
        self.number: int | None = None
        self.has_ended = self._was_heard = False
        self._on_second = on_second
        self._at = 0.0
        self._held = 0
        self._alarm: Any = None  # the handler that waits for the end of a step
        self._has_alarm_waited = self._has_alarm_fired = False
        self._handlers: dict[int, Any] = {}
        self._main = threading.main_thread().ident
        # One object: followers compare handlers by identity.
        self.receive = self._receive

    def install(self) -> None:
        """Stand before the handlers that are there; signals that are ignored stay ignored."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._hook_before, sys.unraisablehook = sys.unraisablehook, self._unraisable
        self._again_before = signal.signal(_AGAIN, self._receive_again)
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before not in (signal.SIG_IGN, None):
                self._handlers[number] = before
                _exchange(number, before, self.receive)
        self._watch = threading.Thread(target=self._watch_on, name="interruption", daemon=True)
        self._watch.start()

    def conclude(self) -> None:
        """Raise nothing more: only cleanup is left, which the next signal ends at once."""
        if not self.has_ended:
            self._was_heard, self.has_ended = self.number is not None, True

    def remove(self) -> None:
        """Put back the handlers that were there."""
        self.conclude()
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self.receive:
                _exchange(number, self.receive, handler)
        signal.signal(_AGAIN, self._again_before)
        sys.unraisablehook = self._hook_before
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._writer)  # the thread reads to its end, and closes the other side

    def leave_to_the_system(self) -> None:
        """End at once at any signal; for a child whose parent goes on listening."""
        signal.set_wakeup_fd(-1)
        for number in self._handlers:
            signal.signal(number, signal.SIG_DFL)

    def hold(self) -> None:
        """Let signals wait."""
        self._held += 1
        if self._held == 1 and callable(handler := signal.getsignal(signal.SIGALRM)):
            self._alarm, self._has_alarm_waited = handler, False
            signal.signal(signal.SIGALRM, self._let_alarm_wait)

    def release(self) -> None:
        """End one hold, and raise what has waited for the last one."""
        alarm, has_waited = self._alarm, self._has_alarm_waited
        self.forget_hold()
        if self._held:
            return
        if self.number is not None:
            self.deliver()
        elif alarm is not None and has_waited:
            alarm(signal.SIGALRM, None)

    def forget_hold(self) -> None:
        """End one hold and raise nothing."""
        self._held -= 1
        if not self._held and self._alarm is not None:
            signal.signal(signal.SIGALRM, self._alarm)
            self._alarm = None

    def deliver(self) -> None:
        """Let the handler of the first signal raise, unless something is on its way out already."""
        if self.number is None or self.has_ended or is_ending(sys.exc_info()[1]):
            return
        handler = self._handlers.get(self.number)
        if not callable(handler) or threading.get_ident() != self._main:
            raise SystemExit(128 + self.number)
        handler(self.number, None)
        self.number = None  # a handler that does not raise has done what it wanted

    def _receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a handler's
        is_second = self.number is not None and time.monotonic() - self._at >= _ONE_REQUEST_S
        if self.number is None:
            self.number, self._at = number, time.monotonic()
        if not self._held or (is_second and self._on_second is None):
            self.deliver()

    def _receive_again(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._held:
            return
        if self.number is not None:
            self.deliver()
        elif self._has_alarm_fired:
            alarm = signal.getsignal(signal.SIGALRM)
            has_expired = not signal.getitimer(signal.ITIMER_REAL)[0]
            if callable(alarm) and has_expired:  # else that time-out is over
                alarm(signal.SIGALRM, frame)
            self._has_alarm_fired = False

    def _let_alarm_wait(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._has_alarm_waited = True

    def _unraisable(self, lost: Any) -> None:
        """Report nothing about a lost request: it is raised again."""
        is_asked = self.number is not None or self._has_alarm_fired
        if not is_asked or not is_ending(lost.exc_value):
            self._hook_before(lost)

    def _watch_on(self) -> None:
        """Wait for the first signal, then repeat the request, and watch for the second."""
        first_at: float | None = None
        with suppress(OSError):
            while True:
                is_asked = first_at is not None or self._has_alarm_fired
                patience = _AGAIN_EVERY_S if is_asked else None
                if not select.select([self._reader], [], [], patience)[0]:
                    self._ask_again()
                    continue
                read = os.read(self._reader, 64)
                if not read:
                    break
                self._has_alarm_fired |= signal.SIGALRM in read
                asked = [number for number in read if number in self._handlers]
                if not asked:
                    continue
                is_first, now = first_at is None, time.monotonic()
                if first_at is None:
                    first_at = now
                is_second = now - first_at >= _ONE_REQUEST_S
                is_late = is_first and self.has_ended and not self._was_heard
                if self._on_second and (is_second or is_late):
                    self._on_second(asked[0])
        os.close(self._reader)

    def _ask_again(self) -> None:
        is_asked = self.number is not None or self._has_alarm_fired
        waits = is_asked and not self.has_ended and not self._held
        if waits and not self._is_on_its_way():
            signal.pthread_kill(cast("int", self._main), _AGAIN)

    def _is_on_its_way(self) -> bool:
        active: Any = sys._current_exceptions().get(  # pyright: ignore[reportPrivateUsage]
            cast("int", self._main)
        )
        # A triple until Python 3.11.
        return is_ending(active[1] if isinstance(active, tuple) else active)


_current: Listener | None = None
_is_fork_safe = False


def current() -> Listener | None:
    """Return the listener of this process, or None."""
    return _current


def heard() -> int | None:
    """Return the signal that asked the process to stop, or None."""
    return None if _current is None else _current.number


def raise_if_heard() -> None:
    """Raise again what a signal has raised, if it was lost on its way."""
    if _current is not None and _current.number is not None:
        _current.deliver()


def listen(on_second: Second | None = None) -> Listener:
    """Listen until the process ends."""
    global _current, _is_fork_safe  # noqa: PLW0603 - signals belong to the process
    assert _current is None, "there is a listener already"
    if not _is_fork_safe:
        os.register_at_fork(after_in_child=_listen_no_more)
        _is_fork_safe = True
    _current = Listener(on_second)
    _current.install()
    return _current


@contextmanager
def listening() -> Generator[None]:
    """Hear signals until the end of a block.

    Outside the main thread, or if there is a listener already, this changes nothing.
    """
    global _current  # noqa: PLW0603
    if _current is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    listener = listen()
    try:
        yield
        listener.deliver()
    finally:
        listener.remove()
        _current = None


@contextmanager
def followed(follower: Follower) -> Generator[None]:
    """Call a function with each handler that is replaced: the old one and the new one."""
    _followers.append(follower)
    try:
        yield
    finally:
        _followers.remove(follower)


def is_ending(error: BaseException | None) -> bool:
    """Return whether an exception is, or comes from, one that ends a process on request."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if found is None or id(found) in seen:
            continue
        if not isinstance(found, Exception | GeneratorExit):
            return True
        seen.add(id(found))
        waiting += [found.__cause__, found.__context__]
    return False


def _listen_no_more() -> None:
    """Let a forked child end at signals, without passing them to its parent."""
    global _current  # noqa: PLW0603
    if _current is not None:
        _current.leave_to_the_system()
        _current = None


def _exchange(number: int, before: Any, now: Any) -> None:
    signal.signal(number, now)
    for follower in _followers:
        follower(before, now)
