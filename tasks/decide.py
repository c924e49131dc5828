"""Let the gate choose between the new model and the champion."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.splits.split_rows import SplitRows
from pipeline_lib.evaluation.comparison import gain
from pipeline_lib.evaluation.results import EvaluationResult
from pipeline_lib.evaluation.standing import Standing, Verdict
from pipeline_lib.tracking.reference import RunReference
from tasks.train import Trained


@task(cache_policy=NO_CACHE)
def decide(
    config: PipelineConfig,
    rows: SplitRows,
    trained: Trained,
    result: EvaluationResult,
    standing: Standing,
    run: RunReference,
) -> Verdict:
    """Score the champion on the same raw test rows, and decide."""
    from pipeline_lib.tracking.judgement import Candidate, judge
    from pipeline_lib.tracking.runs import TrackedRun

    tracked = TrackedRun.of(run)
    verdict = judge(tracked, Candidate(config, rows, trained.model_folder, result, standing))
    champion, decision = verdict.champion, verdict.decision
    if champion is not None and champion.scores is not None:
        theirs, ours = champion.scores, result.scores
        tracked.log_metrics({f"champion/{name}": value for name, value in theirs.items()})
        both = {name: gain(name, ours[name], theirs[name]) for name in ours if name in theirs}
        tracked.log_metrics({f"delta/{name}": value for name, value in both.items()})
    logger = get_run_logger()
    for note in decision.notes:
        logger.warning("decide    %s", note)
    logger.info("decide    %s: %s", decision.outcome, decision.reason)
    return verdict
