"""One run of a dataset at a time; what earlier ones left open on the Prefect server is ended.

A flow run stays Running for ever where its process is killed, or where the server is away when it
ends. The next run knows: it holds the dataset, so no other runs in it.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext, SyncClientContext
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.settings import get_current_settings
from prefect.states import Completed, Crashed

from flows.outcome import Outcome
from flows.tracked import flow_run_id
from pipeline_lib.attempts import Attempt, abandoned, is_registered
from pipeline_lib.home import DatasetFolder, Home
from pipeline_lib.scratch import sweep
from pipeline_lib.storage.json_files import Json
from pipeline_lib.storage.locks import lock
from pipeline_lib.wording import first_line
from tasks.cancellation import heard_to_the_end

GONE = "The process of this run has gone (was it killed?); ended by the next run of the dataset."
_MAX_TASK_RUNS = 200
_FORGOTTEN_AFTER = timedelta(hours=1)


@dataclass
class Seen:
    """The outcome of a run in this process; `outcome` is None until there is one.

    `server_lost` is set by the caller of the run if Prefect did not take the outcome.
    """

    outcome: Outcome | None = None
    server_lost: bool = False


_seen: ContextVar[Seen | None] = ContextVar("seen", default=None)


@contextmanager
def seen() -> Generator[Seen]:
    """Give the outcome of the run that is made meanwhile, whatever a server says of it."""
    watcher = Seen()
    token = _seen.set(watcher)
    try:
        yield watcher
    finally:
        _seen.reset(token)


@dataclass(frozen=True)
class Held:
    """A dataset that this run holds."""

    attempt: Attempt

    def ended(self, outcome: Outcome) -> State[Outcome]:
        """Note the outcome, here and for this process; return the state that says it."""
        name = outcome.decision.capitalize()
        self.attempt.end({"type": "COMPLETED", "name": name, "message": outcome.reason})
        if (watcher := _seen.get()) is not None:
            watcher.outcome = outcome
        return Completed(name=name, message=outcome.reason, data=outcome)


@contextmanager
def only_run_of(dataset: DatasetFolder) -> Generator[Held]:
    """Hold the dataset while this run lasts: its ledger, journal and champion have one writer.

    A signal that asks for the end is handled until the run has ended. Files that the run makes are
    closed to other users, on a worker as from the command. Files that a killed run has left in the
    dataset's folders are removed.
    """
    logger = get_run_logger()
    dataset.home.enter()
    attempt = Attempt.begin(dataset, flow_run_id())
    dataset.home.writable(dataset.folder)

    def on_wait() -> None:
        logger.info("waiting   for another run of %s", dataset.name)

    try:
        with (
            heard_to_the_end(),
            _library_in_the_log(),
            lock(dataset.lock, on_wait=on_wait),
        ):
            sweep(dataset)
            end_abandoned(dataset)
            yield Held(attempt)
    except Exception as error:
        attempt.end({"type": "FAILED", "name": "Failed", "message": first_line(error)})
        raise


@contextmanager
def _library_in_the_log() -> Generator[None]:
    """Show the library's warnings in the run's log, as PREFECT_LOGGING_EXTRA_LOGGERS would."""
    library = logging.getLogger("pipeline_lib")
    new = [h for h in logging.getLogger("prefect.extra").handlers if h not in library.handlers]
    for handler in new:
        library.addHandler(handler)
    try:
        yield
    finally:
        for handler in new:
            library.removeHandler(handler)


def end_abandoned(dataset: DatasetFolder) -> None:
    """Report to the server how runs of a dataset ended whose process has gone.

    The caller holds the dataset. If the server does not answer, the next run asks again.
    """
    logger = get_run_logger()
    with SyncClientContext.get_or_create() as context:
        client = context.client
        try:
            for attempt in abandoned(dataset):
                ended = _end(client, attempt)
                if ended is not None or attempt.is_old():
                    attempt.forget()
                if ended:
                    logger.info("an earlier run was left open on the Prefect server: %s", ended)
            for flow_run in _forgotten(client, dataset):
                ended = _set(client, flow_run, Crashed(message=GONE), force=False)
                logger.info("an earlier run was left open on the Prefect server: %s", ended)
        except Exception as error:  # noqa: BLE001 - the run has work of its own
            logger.warning(
                "an earlier run is still open on the Prefect server: %s", first_line(error)
            )


def left_open(home: Home) -> list[str]:
    """Return this home's flow runs that the server shows as running, and that have no process."""
    found: list[str] = []
    with SyncClientContext.get_or_create() as context:
        for dataset in home.datasets_with("attempts"):
            for attempt in abandoned(dataset):
                try:
                    flow_run = context.client.read_flow_run(UUID(attempt.flow_run_id))
                except ObjectNotFound:
                    continue
                if flow_run.state is not None and not flow_run.state.is_final():
                    found.append(flow_run.name)
    return found


def _forgotten(client: SyncPrefectClient, dataset: DatasetFolder) -> list[FlowRun]:
    """Return old runs that this project's own database has open, and that never registered.

    An earlier release registered none, and a kill may come before. On a server that others use it
    is not known whose they are.
    """
    context = FlowRunContext.get()
    if get_current_settings().api.url or context is None or context.flow_run is None:
        return []
    kinds = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    is_open = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=kinds)))
    config, now = context.flow_run.parameters.get("config"), datetime.now(UTC)
    return [
        found
        for found in client.read_flow_runs(flow_run_filter=is_open)
        if found.parameters.get("config") == config
        and found.deployment_id is None
        and found.created is not None
        and now - found.created > _FORGOTTEN_AFTER
        and not is_registered(dataset, str(found.id))
    ]


def _end(client: SyncPrefectClient, attempt: Attempt) -> str | None:
    """End a flow run on the server.

    Returns:
        What was done; empty if the run had ended there, None if the server does not know it.
    """
    try:
        flow_run = client.read_flow_run(UUID(attempt.flow_run_id))
    except ObjectNotFound:
        return None
    facts, state = attempt.facts(), flow_run.state
    if page := facts.get("page"):
        _publish(client, flow_run, facts, Path(str(page)))
    wanted = _state_of(facts)
    is_final = state is not None and state.is_final()
    if state is not None and is_final and (wanted.is_crashed() or state.type == wanted.type):
        return ""
    return _set(client, flow_run, wanted, force=is_final)


def _set(
    client: SyncPrefectClient, flow_run: FlowRun, wanted: State[object], *, force: bool
) -> str:
    """End a flow run and its task runs; the server frees its place among those of a deployment."""
    client.set_flow_run_state(flow_run.id, wanted, force=force)
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
    for task_run in client.read_task_runs(flow_run_filter=of_run, limit=_MAX_TASK_RUNS):
        if task_run.state is not None and not task_run.state.is_final():
            client.set_task_run_state(task_run.id, Crashed(message=GONE), force=True)
    return f"{flow_run.name} is {wanted.name} now"


def _state_of(facts: dict[str, Json]) -> State[object]:
    if "type" not in facts:
        return Crashed(message=GONE)
    kind, name, message = (str(facts.get(key, "")) for key in ("type", "name", "message"))
    return State(type=StateType(kind), name=name, message=message)


def _publish(
    client: SyncPrefectClient, flow_run: FlowRun, facts: dict[str, Json], page: Path
) -> None:
    try:
        text = page.read_text("utf-8")
    except OSError:
        return
    client.create_artifact(
        ArtifactCreate(
            key=str(facts.get("artifact")),
            type="markdown",
            description=str(facts.get("about")),
            data=text,
            flow_run_id=flow_run.id,
        )
    )
