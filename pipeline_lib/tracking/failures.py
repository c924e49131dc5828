"""The MLflow run of a run that was stopped or failed."""

from collections.abc import Mapping
from contextlib import suppress

from mlflow.exceptions import MlflowException

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.errors import ServerError
from pipeline_lib.evaluation.report import FailureRecord
from pipeline_lib.home import Home
from pipeline_lib.tracking.reference import RunReference
from pipeline_lib.tracking.runs import TrackedRun, start_run
from pipeline_lib.tracking.store import what_failed
from pipeline_lib.tracking.versions import DECISION, REASON


class _EndedError(Exception):
    """Makes a run that is started here end as FAILED."""


def track_failure(
    config: PipelineConfig,
    home: Home,
    snapshot: Snapshot | None,
    run: RunReference | None,
    record: FailureRecord,
    *,
    run_key: str,
    run_name: str,
    tags: Mapping[str, str],
) -> str:
    """Record how a run ended in its MLflow run, which is started if there is none yet.

    Returns:
        The run's id.

    Raises:
        ServerError: MLflow is absent or refuses.
    """
    if run is None:
        with (
            suppress(_EndedError),
            start_run(
                config, home, snapshot, run_key=run_key, run_name=run_name, tags=tags
            ) as made,
        ):
            run = made
            raise _EndedError
    assert run is not None
    tracked = TrackedRun.of(run)
    page = record.to_markdown()
    try:
        tracked.set_tags({DECISION: record.outcome, REASON: record.summary})
        tracked.log_text(page, "report.md")
        tracked.describe(page)
    except MlflowException as error:
        raise ServerError(what_failed(tracked.client, error)) from error
    return run.run_id
