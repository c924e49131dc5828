"""Write the page that says what happened and why, in Prefect and in MLflow."""

from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from pipeline_lib.config import PipelineConfig
from pipeline_lib.evaluation.journal import JournalEntry, append_entry
from pipeline_lib.evaluation.report import DecisionRecord
from pipeline_lib.storage import run_folder
from pipeline_lib.tracking.reference import RunReference


@task(cache_policy=NO_CACHE)
def report(
    config: PipelineConfig, record: DecisionRecord, entry: JournalEntry, run: RunReference
) -> Path:
    """Publish the decision record and write the decision into the journal."""
    from pipeline_lib.tracking.runs import TrackedRun
    from pipeline_lib.tracking.views import share_leaderboard
    from pipeline_lib.training.checkpoint import discard_checkpoints

    tracked, page = TrackedRun.of(run), record.to_markdown()
    path = run_folder(run.run_key) / "report.md"
    path.write_text(page, encoding="utf-8")
    create_markdown_artifact(
        page,
        key=f"decision-{config.name.replace('_', '-')}",
        description=f"{config.name}: {record.decision.outcome}",
    )
    tracked.log_text(page, "report.md")
    tracked.describe(page)
    tracked.set_tags({"decision": entry.decision, "decision.reason": entry.reason})
    share_leaderboard(tracked.client, run.experiment_id, config.primary)
    append_entry(config.name, entry)
    discard_checkpoints(path.parent)  # the night is over; forced, it trains again
    return path
