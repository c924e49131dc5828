"""Prefect's part in an interruption: it handles signals as `pipeline_lib.interruption` does."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from prefect.utilities import engine

from pipeline_lib.interruption import current, followed, listening


@contextmanager
def heard_to_the_end() -> Generator[None]:
    """Let a flow end when a signal asks for it, also where the signal's exception is lost.

    A run that is cancelled ends as Cancelled although a listener stands before Prefect's handler.
    A worker asks the process before it sends SIGTERM. The process agrees only while the handler is
    the very function that Prefect knows as its own; without its consent the run ends as Crashed
    (Prefect 3.8.8, `commit_control_intent_and_ack`).
    """
    with followed(_follow), listening():
        yield


@contextmanager
def prefect_hears_as_we_do() -> Generator[None]:
    """Make Prefect use the command's own handler of SIGTERM as the one that it installs."""
    before, listener = _installed(), current()
    if listener is not None:
        _install(listener.receive)
    try:
        yield
    finally:
        _install(before)


def _follow(before: Any, now: Any) -> None:
    if before is _installed():
        _install(now)


def _installed() -> Any:
    return engine._prefect_sigterm_handler  # pyright: ignore[reportPrivateUsage]


def _install(handler: Any) -> None:
    engine._prefect_sigterm_handler = handler  # pyright: ignore[reportPrivateUsage]
