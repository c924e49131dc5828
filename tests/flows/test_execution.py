"""How a stage is run: what is tried again, how often, and how one that takes too long ends."""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging.configuration import setup_logging

from pipeline_lib import interruption
from pipeline_lib.config.execution import ExecutionSettings
from pipeline_lib.errors import SourceError, SourceNotFoundError, StageTimeoutError
from pipeline_lib.interruption import listening
from tasks.execution import Stages

QUICK = ExecutionSettings.model_validate({"retries": 3, "backoff_s": 0.01})
HURRIED = ExecutionSettings.model_validate({"backoff_s": 0.01, "timeout_s": {"ingest": 1}})


@pytest.fixture(autouse=True)
def server(harness: None) -> None:
    """Flows need a Prefect server."""


@pytest.fixture
def warned() -> Iterator[list[str]]:
    """The warnings of task runs."""
    setup_logging()  # the first time it removes what others have added
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler, logger = Lines(logging.WARNING), logging.getLogger("prefect.task_runs")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def run(body: Callable[[], int], execution: ExecutionSettings, name: str = "ingest") -> int:
    stage = task(body, name=name, cache_policy=NO_CACHE)

    @flow
    def retrain() -> int:
        return Stages(execution)(stage)()

    return retrain()


def wait_for(seconds: float) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
    return 1


def test_a_stage_whose_source_fails_twice_succeeds_with_two_warnings(warned: list[str]) -> None:
    attempts: list[int] = []

    def ingest() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise SourceError("s3://rows: cannot be read") from ConnectionResetError("reset")
        return 7

    assert run(ingest, QUICK) == 7
    assert len(attempts) == 3
    first, second = warned
    assert first.startswith("ingest    s3://rows: cannot be read; tried again in 0 s (1 of 3)")
    assert "(2 of 3)" in second


def test_a_stage_whose_source_stays_away_ends_with_the_message_of_the_source(
    warned: list[str],
) -> None:
    attempts: list[int] = []

    def ingest() -> int:
        attempts.append(1)
        raise SourceError(f"attempt {len(attempts)}") from ConnectionRefusedError()

    with pytest.raises(SourceError, match="attempt 4"):
        run(ingest, QUICK)

    assert len(attempts) == 4
    assert len([line for line in warned if "tried again" in line]) == 3


def test_a_mistake_is_not_tried_again(warned: list[str]) -> None:
    attempts: list[int] = []

    def ingest() -> int:
        attempts.append(1)
        raise SourceNotFoundError("rows.csv: there is no such file")

    with pytest.raises(SourceNotFoundError):
        run(ingest, QUICK)

    assert len(attempts) == 1
    assert not [line for line in warned if "tried again" in line]


def test_without_retries_the_first_error_of_the_network_ends_the_stage() -> None:
    attempts: list[int] = []

    def ingest() -> int:
        attempts.append(1)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        run(ingest, ExecutionSettings(retries=0))

    assert len(attempts) == 1


def test_a_time_out_after_the_decision_says_that_the_champion_stays() -> None:
    for stage in ("register", "report"):
        assert "champion that has moved already stays" in str(StageTimeoutError(stage, 1))
    assert "last checkpoint" in str(StageTimeoutError("train", 1))


# pytest's own time-out would be an alarm as well.
@pytest.mark.timeout(0)
def test_a_stage_that_takes_too_long_ends_with_the_key_to_raise(warned: list[str]) -> None:
    with pytest.raises(StageTimeoutError) as raised:
        run(lambda: wait_for(10), HURRIED)

    assert "ingest took longer than 1 s and was ended" in str(raised.value)
    assert "`execution.timeout_s.ingest`" in str(raised.value)
    assert raised.value.exit_code == 1
    assert not [line for line in warned if "tried again" in line]
    assert not interruption.is_ending(raised.value)
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


@pytest.mark.timeout(0)
def test_a_time_out_that_a_library_swallows_ends_the_stage_all_the_same() -> None:
    def ingest() -> int:
        with suppress(BaseException):  # as a callback of C does
            wait_for(10)
        wait_for(10)
        return 1

    with listening(), pytest.raises(StageTimeoutError):
        run(ingest, HURRIED)


@pytest.mark.timeout(0)
def test_a_time_out_leaves_other_stages_and_later_attempts_their_own_time() -> None:
    attempts: list[int] = []

    def ingest() -> int:
        attempts.append(1)
        wait_for(0.4)
        if len(attempts) < 3:  # longer than the limit together
            raise ConnectionResetError
        return 7

    assert run(ingest, HURRIED) == 7
    assert run(lambda: 8, HURRIED, name="identify") == 8


@pytest.mark.timeout(0)
def test_a_stage_without_a_limit_sets_no_alarm() -> None:
    found: list[object] = []

    def ingest() -> int:
        found.append(signal.getsignal(signal.SIGALRM))
        return 1

    run(ingest, ExecutionSettings.model_validate({"timeout_s": {"ingest": None}}))

    assert found == [signal.SIG_DFL]
