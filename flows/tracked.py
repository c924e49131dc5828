"""The MLflow run of a flow run, and the links between the two."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from prefect.context import FlowRunContext
from prefect.runtime import flow_run
from prefect.utilities.urls import url_for

from pipeline_lib.addresses import link
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import run_key
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.evaluation.standing import Standing
from pipeline_lib.home import DatasetFolder
from pipeline_lib.interruption import heard
from pipeline_lib.shown import printable
from pipeline_lib.tracking.reference import RunReference
from tasks.report_failure import report_failure

_MAX_NAME = 100  # characters; a form may hold anything until the flow looks at it
# What `prefect server start` takes when nothing else is said.
DEFAULT_UI_URL = "http://127.0.0.1:4200"


def run_name() -> str:
    """Name a flow run, and its MLflow run, after its config and the time it was due (UTC)."""
    config = printable(Path(str(flow_run.parameters["config"])).stem)[:_MAX_NAME]
    return f"{config} {_due():%Y-%m-%d %H:%M:%S}"


def due_date() -> date:
    """Return the day on which this run was due (UTC): a late run takes the rows of that day."""
    return _due().date()


def _due() -> datetime:
    return flow_run.scheduled_start_time or datetime.now(UTC)


@contextmanager
def leaves_a_page(config: PipelineConfig, dataset: DatasetFolder) -> Generator["SoFar"]:
    """Give what is known of the run; one that fails leaves a page and a line in the journal."""
    so_far = SoFar(config, dataset)
    try:
        yield so_far
    except Exception as error:
        if heard() is not None:
            raise  # an interruption: the same run may go on later
        report_failure(
            config,
            dataset,
            error,
            snapshot=so_far.snapshot,
            run=so_far.run,
            run_name=run_name(),
            tags=run_tags(),
            links=so_far.links(),
        )
        raise


@dataclass
class SoFar:
    """What is known of a run while it lasts: config, files, rows and MLflow run."""

    config: PipelineConfig
    dataset: DatasetFolder
    snapshot: Snapshot | None = None
    run: RunReference | None = None

    def links(self) -> dict[str, str]:
        """Return the pages of the flow run and, once there is one, of the MLflow run."""
        mlflow_run = {"MLflow run": self.run.url} if self.run else {}
        return {"flow run": flow_url(), **mlflow_run}

    @contextmanager
    def tracked(self, snapshot: Snapshot, standing: Standing) -> Generator[RunReference]:
        """Start the MLflow run; see `pipeline_lib.tracking.runs.start_run`."""
        from pipeline_lib.tracking.runs import start_run

        self.snapshot = snapshot
        tags = {
            **run_tags(),
            "run_date": standing.run_date,
            "experiment": "true" if standing.experiment else "",
        }
        key = run_key(self.config, snapshot)
        with start_run(
            self.config,
            self.dataset.home,
            snapshot,
            run_key=key,
            run_name=run_name(),
            tags=tags,
        ) as self.run:
            yield self.run


def run_tags() -> dict[str, str]:
    """Return the tags of an MLflow run that lead to its flow run."""
    return {"trigger": _trigger(), "prefect.flow_run_id": flow_run_id(), "prefect.url": flow_url()}


def flow_url() -> str:
    """Return the page of the flow run that is running."""
    identity = flow_run_id()
    known = url_for("flow-run", identity) if identity else None
    if known is not None:  # it begins with PREFECT_API_URL, or with PREFECT_UI_URL
        return link(known)
    return f"{DEFAULT_UI_URL}/runs/flow-run/{identity}"


def flow_run_id() -> str:
    """Return the id of the flow run that is running, or an empty string outside one."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else ""


def _trigger() -> str:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return "command"
    return "schedule" if context.flow_run.auto_scheduled else "deployment"
