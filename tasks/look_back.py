"""Find an earlier decision on the same rows and config that still stands."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.evaluation.journal import (
    JournalEntry,
    append_entry,
    champion_after,
    last_decision,
    read_journal,
    skipped_entry,
)
from pipeline_lib.evaluation.standing import Standing


@task(cache_policy=NO_CACHE)
def look_back(
    config: PipelineConfig, snapshot: Snapshot, standing: Standing, force: bool
) -> JournalEntry | None:
    """Return the journal's line of a run with nothing new, or None if there is something to do."""
    dataset = snapshot.dataset
    entries = read_journal(dataset)
    past = last_decision(
        entries,
        data_digest=snapshot.digest,
        config_digest=config.digest(),
        experiment=bool(standing.experiment),
    )
    if past is None or force:
        return None
    from pipeline_lib.tracking.champions import why_again
    from pipeline_lib.tracking.store import connect

    champion = champion_after(entries, past)
    asked = standing.promote and past.decision == "kept"
    why = "a promotion is asked for"
    if not asked:
        why = why_again(connect(dataset.home), config.name, past, champion)
    if why:
        get_run_logger().warning("look back nothing is new since %s, but %s", past.decided_at, why)
        return None
    entry = skipped_entry(past, champion=champion, standing=standing)
    append_entry(dataset, entry)
    return entry
