"""Write the page of a run that was stopped or failed, in Prefect, in MLflow and on disk."""

from collections.abc import Callable, Mapping

from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import run_key
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.errors import DataError, EvergreenError, ServerError
from pipeline_lib.evaluation.journal import JournalEntry, append_entry, now
from pipeline_lib.evaluation.report import FailureRecord
from pipeline_lib.home import DatasetFolder, RunFolder
from pipeline_lib.tracking.reference import RunReference
from pipeline_lib.wording import first_line
from tasks.publish import publish_page


def report_failure(
    config: PipelineConfig,
    dataset: DatasetFolder,
    error: Exception,
    *,
    snapshot: Snapshot | None,
    run: RunReference | None,
    run_name: str,
    tags: Mapping[str, str],
    links: Mapping[str, str],
) -> None:
    """Leave page, journal line and MLflow run; what cannot be written is a warning.

    Args:
        config: of the dataset.
        dataset: its files.
        error: what ended the run.
        snapshot: the rows, if it got so far.
        run: the MLflow run, if it got so far; without it one is made.
        run_name: of a run that is made.
        tags: of a run that is made.
        links: of the page.
    """
    outcome = "stopped" if isinstance(error, DataError) else "failed"
    record = FailureRecord(config.name, outcome, error, snapshot, links)
    page, key = record.to_markdown(), run_key(config, snapshot) if snapshot else ""
    run_id = "" if run is None else run.run_id

    def track() -> None:
        from pipeline_lib.tracking.failures import track_failure

        nonlocal run_id
        run_id = track_failure(
            config, dataset.home, snapshot, run, record, run_key=key, run_name=run_name, tags=tags
        )

    def entry() -> None:
        made = JournalEntry(
            decided_at=now(),
            decision=outcome,
            reason=record.summary,
            version="",
            run_key=key,
            run_id=run_id,
            data_digest=snapshot.digest if snapshot else "",
            config_digest=config.digest(),
        )
        append_entry(dataset, made)

    files = dataset.home.run(key or f"{config.name}-without-rows")
    _attempt(lambda: _write_page(files, page))
    if not isinstance(error, ServerError):
        _attempt(track)
    _attempt(entry)
    if isinstance(error, EvergreenError) and not isinstance(error, ServerError):
        _attempt(lambda: publish_page(dataset, files.report, outcome))


def _attempt(step: Callable[[], object]) -> None:
    """Take one step; its failure hides neither the next step nor the error that ended the run."""
    try:
        step()
    except Exception as problem:  # noqa: BLE001 - the run ends with an error of its own
        get_run_logger().warning(
            "report    the page of this run is incomplete: %s", first_line(problem)
        )


def _write_page(files: RunFolder, page: str) -> None:
    files.home.writable(files.folder)
    files.report.write_text(page, encoding="utf-8")
    get_run_logger().info("report    the page of this run is %s", files.report)
