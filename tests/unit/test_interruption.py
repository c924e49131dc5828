"""Signals in a program of somebody else's, as around `fit`: handlers come back, nothing lingers."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from pipeline_lib import interruption
from pipeline_lib.interruption import heard, is_ending, listening, raise_if_heard


class Stop(BaseException):
    """What the program's own handler raises."""


@pytest.fixture(autouse=True)
def handler() -> Iterator[object]:
    """A program's own handler of SIGTERM."""

    def stop(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGTERM, stop)
    yield stop
    signal.signal(signal.SIGTERM, before)


def lose_a_signal() -> None:
    with suppress(Stop):
        signal.raise_signal(signal.SIGTERM)


def wait(seconds: float = 900) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


def test_a_request_that_is_lost_is_raised_again_by_itself() -> None:
    def block() -> None:
        with listening():
            lose_a_signal()
            wait()
            raise AssertionError("nothing was raised again")

    with pytest.raises(Stop):
        block()


def test_a_request_that_is_lost_is_raised_where_it_is_asked_for() -> None:
    def block() -> None:
        with listening():
            listener = interruption.current()
            assert listener is not None
            listener.hold()  # so that nobody else asks
            signal.raise_signal(signal.SIGTERM)
            assert heard() == signal.SIGTERM
            raise_if_heard()
            raise AssertionError("nothing was raised")

    with pytest.raises(Stop):
        block()


def test_a_request_that_is_lost_is_raised_at_the_end_of_the_block() -> None:
    with pytest.raises(Stop), listening():
        lose_a_signal()


def test_who_is_on_the_way_out_is_not_asked_again() -> None:
    tidied: list[bool] = []

    def block() -> None:
        with listening():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                wait(0.5)
                raise_if_heard()
                tidied.append(True)

    with pytest.raises(Stop):
        block()

    assert tidied == [True]


def test_everything_is_put_back_and_a_later_block_has_heard_nothing(handler: object) -> None:
    hook, threads = sys.unraisablehook, threading.active_count()
    for _ in range(3):
        with pytest.raises(Stop), listening():
            signal.raise_signal(signal.SIGTERM)

    with listening():
        assert heard() is None
        raise_if_heard()
    assert heard() is None
    assert signal.getsignal(signal.SIGTERM) is handler
    assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL
    assert sys.unraisablehook is hook
    assert signal.set_wakeup_fd(-1) == -1
    end = time.monotonic() + 900
    while threading.active_count() > threads and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= threads


def test_a_handler_that_does_not_raise_is_asked_once() -> None:
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))

    with listening():
        signal.raise_signal(signal.SIGTERM)
        wait(0.5)

    assert asked == [signal.SIGTERM]


def test_another_thread_listens_to_nothing() -> None:
    seen: list[object] = []

    def look() -> None:
        with listening():
            seen.append(interruption.current())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert seen == [None]


def test_what_comes_of_an_interruption_is_told_from_a_mistake() -> None:
    def caught(first: BaseException, then: Exception | None = None) -> BaseException:
        try:
            try:
                raise first
            except BaseException:
                if then is None:
                    raise
                raise then from None
        except BaseException as error:  # noqa: BLE001
            return error

    assert is_ending(caught(KeyboardInterrupt()))
    assert is_ending(caught(Stop(), RuntimeError("retry")))
    assert not is_ending(caught(KeyError("x"), RuntimeError("y")))
    assert not is_ending(None)


class Late(BaseException):
    """What the alarm of a time-out raises."""


@contextmanager
def alarm_after(seconds: float) -> Iterator[None]:
    def late(*_: object) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds)  # pytest's own goes on afterwards
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)


def test_an_alarm_that_is_lost_is_raised_again_by_itself() -> None:
    def block() -> None:
        with listening(), alarm_after(0.01):
            with suppress(Late):
                wait()
            wait()
            raise AssertionError("nothing was raised again")

    with pytest.raises(Late):
        block()


def test_an_alarm_waits_for_the_end_of_a_step() -> None:
    done: list[str] = []

    def block() -> None:
        with listening(), alarm_after(0.01):
            listener = interruption.current()
            assert listener is not None
            listener.hold()
            wait(0.3)
            done.append("step")
            listener.release()
            done.append("next step")

    with pytest.raises(Late):
        block()

    assert done == ["step"]


def test_an_alarm_of_a_time_out_that_is_over_disturbs_no_later_one() -> None:
    with listening():
        with suppress(Late), alarm_after(0.01):
            wait()
        with alarm_after(60):
            wait(0.5)
            ended = True

    assert ended


def test_a_step_that_fails_leaves_the_handler_of_the_alarm_as_it_was() -> None:
    with listening(), alarm_after(60):
        before = signal.getsignal(signal.SIGALRM)
        listener = interruption.current()
        assert listener is not None
        listener.hold()
        listener.forget_hold()

        assert signal.getsignal(signal.SIGALRM) == before
