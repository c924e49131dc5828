"""How a stage is run: again after an error of the network, and never longer than its time-out.

The attempts are Prefect's own: it waits between them, and it measures the time of each. A time-out
is an alarm, which `pipeline_lib.interruption` repeats where it is lost.
"""

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.task_engine import TaskRunTimeoutError

from pipeline_lib.config.execution import ExecutionSettings
from pipeline_lib.errors import EvergreenError, StageTimeoutError
from pipeline_lib.interruption import heard
from pipeline_lib.transient import is_transient
from pipeline_lib.wording import first_line, in_few_words

P = ParamSpec("P")
R = TypeVar("R")

_JITTER = 0.2


@dataclass(frozen=True)
class Stages:
    """Makes a stage of a task, as the config's `execution` says."""

    execution: ExecutionSettings

    def __call__(self, task: Task[P, R]) -> Callable[P, R]:
        """Return the task with retries and a time-out.

        What it returns raises the task's own error once no attempt is left.

        Raises:
            StageTimeoutError: when called, if an attempt takes too long.
        """
        timeout_s = self.execution.timeout_of(task.name)
        waits = [wait * random.uniform(1, 1 + _JITTER) for wait in self.execution.waits()]  # noqa: S311
        patient = task.with_options(
            retries=len(waits),
            retry_delay_seconds=waits,
            retry_condition_fn=_is_tried_again,
            timeout_seconds=timeout_s,
        )

        def stage(*args: P.args, **kwargs: P.kwargs) -> R:
            with suppress(TaskRunTimeoutError):
                return patient(*args, **kwargs)
            # Out here it has no context: an alarm behind it would look like an interruption.
            raise StageTimeoutError(task.name, timeout_s or 0.0)

        return stage


def _is_tried_again(task: Task[Any, Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Return whether an attempt failed by an error that may pass, and say when the next one is."""
    error: object = state.data
    if not isinstance(error, Exception) or isinstance(error, TaskRunTimeoutError):
        return False
    if heard() is not None or not is_transient(error):
        return False
    waits, n = cast("list[float]", task.retry_delay_seconds), max(task_run.run_count, 1)
    get_run_logger().warning(
        "%-9s %s; tried again in %.0f s (%d of %d)",
        task.name,
        first_line(error) if isinstance(error, EvergreenError) else in_few_words(error),
        waits[min(n, len(waits)) - 1],
        n,
        len(waits),
    )
    return True
