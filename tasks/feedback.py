"""What a person sees during a training: log lines, a progress artifact, a bar."""

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from pipeline_lib.training.records import Progress

# The command shows a bar from these records; nothing else listens.
BAR_LOGGER = "evergreen.progress"
# An update of an artifact costs about 18 ms, and 68 s when the server has gone: Prefect's client
# asks again and again. It has a thread of its own, so that no step waits. A log line costs 1 ms.
_LINE_EVERY_S, _ARTIFACT_EVERY_S = 5.0, 3.0
_PATIENCE_S = 5.0


class Feedback:
    """Shows a training's progress: lines every 5 s, the artifact every 3 s, the bar always."""

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        """Begin.

        Args:
            name: of the dataset.
            clock: seconds from any point; what has passed decides what is shown.
            patience_s: how long `settle` and `end` wait for the server.
        """
        self._name, self._logger = name, get_run_logger()
        self._clock, self._patience_s = clock, patience_s
        self._bar = logging.getLogger(BAR_LOGGER)
        self._artifact: UUID | None = None
        self._publisher: threading.Thread | None = None
        self._has_warned = False
        self._line_at = self._artifact_at = clock()

    def report(self, progress: Progress, last: str) -> None:
        """Take where the training is, and a line about its last epoch."""
        now = self._clock()
        place, speed = progress.place, f"{progress.rows_per_s:,.0f} rows/s"
        if progress.left_s is not None:
            speed += f"  {_clock(progress.left_s)} left"
        self._bar.info("%s  %s", place, speed, extra={"share": progress.share})
        if now - self._line_at >= _LINE_EVERY_S:
            self._line_at = now
            self._logger.info("train     %s  %s", last or place, speed)
        if now - self._artifact_at >= _ARTIFACT_EVERY_S:
            self._artifact_at = now
            self._publish(100 * progress.share)

    def end(self) -> None:
        """Bring the artifact to its end, if there is one."""
        self.settle()
        if self._artifact is not None:
            self._publish(100.0)
            self.settle()

    def settle(self) -> None:
        """Wait for a figure that is on its way to the server, `patience_s` at most."""
        if self._publisher is not None:
            self._publisher.join(self._patience_s)

    def _publish(self, percent: float) -> None:
        """Send a figure in the background; while one is on its way the next is left out."""
        if self._publisher is not None and self._publisher.is_alive():
            return
        run = contextvars.copy_context().run  # names the task run that the artifact belongs to
        self._publisher = threading.Thread(target=run, args=(self._send, percent), daemon=True)
        self._publisher.start()

    def _send(self, percent: float) -> None:
        try:
            if self._artifact is None:
                key = f"training-{self._name.replace('_', '-')}"
                made = create_progress_artifact(percent, key=key, description="epochs trained")
                self._artifact = made if isinstance(made, UUID) else None
            else:
                update_progress_artifact(self._artifact, progress=percent)
        except Exception as error:  # noqa: BLE001 - a server that is gone stops no training
            if not self._has_warned:
                self._logger.warning("no progress on Prefect's page: %s", error)
            self._has_warned = True


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
