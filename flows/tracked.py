"""The MLflow run of a flow run, and the links between the two."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.checked import run_key
from pipeline_lib.data.snapshot import Snapshot
from pipeline_lib.storage import dataset_folder, lock
from pipeline_lib.tracking.reference import RunReference

# What `prefect server start` takes when nothing else is said.
DEFAULT_UI_URL = "http://127.0.0.1:4200"


def run_name() -> str:
    """Name a flow run, and its MLflow run, after its config and the time it was due (UTC)."""
    return f"{Path(str(flow_run.parameters['config'])).stem} {_due():%Y-%m-%d %H:%M:%S}"


def due_date() -> date:
    """Return the day on which this run was due (UTC): a late run takes the rows of its night."""
    return _due().date()


def _due() -> datetime:
    return flow_run.scheduled_start_time or datetime.now(UTC)


@contextmanager
def only_run_of(name: str) -> Generator[None]:
    """Hold the dataset while this run lasts: its ledger, journal and champion have one writer."""
    logger = get_run_logger()
    place = dataset_folder(name) / ".lock"
    with lock(place, on_wait=lambda: logger.info("waiting   for another run of %s", name)):
        yield


@contextmanager
def tracked_run(config: PipelineConfig, snapshot: Snapshot) -> Generator[RunReference]:
    """Start the MLflow run of this flow run; see `pipeline_lib.tracking.runs.start_run`."""
    from pipeline_lib.tracking.runs import start_run

    tags = {"trigger": _trigger(), "prefect.flow_run_id": _flow_run_id(), "prefect.url": flow_url()}
    with start_run(
        config,
        snapshot,
        run_key=run_key(config, snapshot),
        run_name=run_name(),
        tags=tags,
    ) as run:
        yield run


def flow_url() -> str:
    """Return the page of the flow run that is running."""
    flow_run_id = _flow_run_id()
    known = url_for("flow-run", flow_run_id) if flow_run_id else None
    return known or f"{DEFAULT_UI_URL}/runs/flow-run/{flow_run_id}"


def _flow_run_id() -> str:
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else ""


def _trigger() -> str:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return "command"
    return "schedule" if context.flow_run.auto_scheduled else "deployment"
