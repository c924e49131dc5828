"""Prefect's cancellation of a training that waits for the end of its step."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from prefect.utilities import engine

from pipeline_lib.training.signals import followed


@contextmanager
def cancellable() -> Generator[None]:
    """Let a run that is cancelled end as Cancelled though a guard stands before Prefect's handler.

    A worker asks the process before it sends SIGTERM. The process agrees only while the handler is
    the very function that Prefect knows as its own; without its consent the run ends as Crashed
    (Prefect 3.8.8, `commit_control_intent_and_ack`).
    """
    with followed(_follow):
        yield


def _follow(before: Any, now: Any) -> None:
    if before is engine._prefect_sigterm_handler:  # pyright: ignore[reportPrivateUsage]
        engine._prefect_sigterm_handler = now  # pyright: ignore[reportPrivateUsage]
