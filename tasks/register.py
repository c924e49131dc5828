"""Package the model, check that it loads, make it a version, and move the alias last."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.splits.split_rows import SplitRows
from pipeline_lib.evaluation.results import EvaluationResult
from pipeline_lib.evaluation.standing import Standing, Verdict
from pipeline_lib.tracking.reference import RunReference, Settled
from tasks.train import Trained


@task(cache_policy=NO_CACHE)
def register(
    config: PipelineConfig,
    rows: SplitRows,
    trained: Trained,
    result: EvaluationResult,
    verdict: Verdict,
    standing: Standing,
    run: RunReference,
) -> Settled:
    """Register a model that was not rejected; promote it if the gate said so."""
    from pipeline_lib.tracking.judgement import Candidate, settle
    from pipeline_lib.tracking.registry import STARTED_FROM
    from pipeline_lib.tracking.runs import TrackedRun

    logger, tracked = get_run_logger(), TrackedRun.of(run)
    if verdict.decision.outcome == "rejected" or standing.experiment:
        why = "an experiment" if standing.experiment else "the model was rejected"
        logger.info("register  nothing: %s", why)
        return Settled(verdict, None)
    tags = {
        "data.digest": rows.snapshot.digest,
        "config.digest": config.digest(),
        "split.rule": rows.rule,
    }
    if trained.started_from:
        tags[STARTED_FROM] = trained.started_from
    candidate = Candidate(config, rows, trained.model_folder, result, standing)
    settled = settle(tracked, candidate, verdict, tags)
    version, outcome = settled.version, settled.verdict.decision.outcome
    if version is not None:
        again = "" if version.is_new else ", which this run had registered before"
        is_champion = outcome == "promoted" or version.version == settled.verdict.instead_of
        alias = "champion" if is_champion else "challenger"
        logger.info("register  version %s%s: %s", version.version, again, alias)
    return settled
