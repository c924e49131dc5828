"""Write the page that shows what happened and why, in Prefect and in MLflow."""

import contextlib
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.evaluation.journal import JournalEntry, append_entry
from pipeline_lib.evaluation.report import DecisionRecord
from pipeline_lib.tracking.reference import RunReference
from pipeline_lib.wording import refusal
from tasks.publish import publish_page


@task(cache_policy=NO_CACHE)
def report(
    config: PipelineConfig, record: DecisionRecord, entry: JournalEntry, run: RunReference
) -> Path:
    """Publish the decision record and write the decision into the journal."""
    from pipeline_lib.tracking.unrecorded import record_decision
    from pipeline_lib.training.checkpoint import discard_checkpoints

    path, dataset = run.files.report, run.home.dataset(config.name)
    try:
        path.write_text(record.to_markdown(), encoding="utf-8")
    except OSError as error:  # what was decided has been done: a champion may have moved
        get_run_logger().warning(
            "report    the decision stands, and its page is not written: %s", refusal(error, path)
        )
    publish_page(dataset, path, record.decision.outcome)
    tags = {"decision": entry.decision, "decision.reason": entry.reason}
    if why_not := record_decision(dataset, run, path, tags, config.primary):
        get_run_logger().warning("report    %s; the next run writes the page there", why_not)
    append_entry(dataset, entry)
    with contextlib.suppress(OSError):  # one that stays costs its room alone
        discard_checkpoints(path.parent)  # the run is over; forced, it trains again
    return path
