"""Interruptions that wait for the end of a step, so that what is saved is whole.

Raised in the middle of a step they would leave half of the weights moved.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager

from pipeline_lib import interruption


class StepGuard:
    """Between `begin` and `end` signals wait, as `pipeline_lib.interruption` describes."""

    def __init__(self) -> None:
        self.busy = False

    def begin(self) -> None:
        """Let signals wait from here."""
        if (listener := _listener()) is not None and not self.busy:
            listener.hold()
        self.busy = True

    def end(self) -> None:
        """Deliver what has waited; whatever its handler raises comes from here."""
        was_busy, self.busy = self.busy, False
        if (listener := _listener()) is not None and was_busy:
            listener.release()
        else:
            interruption.raise_if_heard()

    @contextmanager
    def installed(self) -> Generator[None]:
        """Listen to signals; a step that was left half done holds none of them afterwards."""
        with interruption.listening():
            try:
                yield
            finally:
                if self.busy and (listener := _listener()) is not None:
                    listener.forget_hold()


def _listener() -> interruption.Listener | None:
    """Return who listens, in the thread that can be interrupted."""
    is_main = threading.current_thread() is threading.main_thread()
    return interruption.current() if is_main else None
