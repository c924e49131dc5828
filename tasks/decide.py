"""Let the gate choose between the new model and the champion."""

from dataclasses import dataclass, replace

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.prepared import SplitRows
from pipeline_lib.evaluation.comparison import gain
from pipeline_lib.evaluation.gate import ChampionScores, Decision, decide_promotion
from pipeline_lib.evaluation.results import EvaluationResult
from pipeline_lib.tracking.reference import RunReference


@dataclass(frozen=True)
class Verdict:
    """The decision, and the champion's scores that it looked at."""

    decision: Decision
    champion: ChampionScores | None


@task(cache_policy=NO_CACHE)
def decide(
    config: PipelineConfig, rows: SplitRows, result: EvaluationResult, run: RunReference
) -> Verdict:
    """Score the champion on the same raw test rows, and decide."""
    from pipeline_lib.evaluation.evaluate import TEST_BATCH_ROWS, score_champion
    from pipeline_lib.tracking.registry import read_champion
    from pipeline_lib.tracking.runs import TrackedRun

    tracked, champion = TrackedRun.of(run), None
    found = read_champion(tracked.client, config.name)
    if found is not None and found.model is None:
        champion = ChampionScores(found.version, None, found.problem)
    elif found is not None and found.model is not None:
        test_rows = rows.batches("test", TEST_BATCH_ROWS)
        champion = replace(
            score_champion(
                config, found.model, found.version, test_rows, challenger=result.predictions
            ),
            saw_other_split=found.split_rule != rows.rule,
        )
    decision = decide_promotion(
        config.primary,
        result,
        champion=champion,
        floor=config.promotion.floor,
        min_test_rows=config.promotion.min_test_rows,
        max_standard_error=config.promotion.max_standard_error,
    )
    if champion is not None and champion.scores is not None:
        theirs, ours = champion.scores, result.scores
        tracked.log_metrics({f"champion/{name}": value for name, value in theirs.items()})
        both = {name: gain(name, ours[name], theirs[name]) for name in ours if name in theirs}
        tracked.log_metrics({f"delta/{name}": value for name, value in both.items()})
    tracked.set_tags({"decision": decision.outcome, "decision.reason": decision.reason})
    logger = get_run_logger()
    for note in decision.notes:
        logger.warning("decide    %s", note)
    logger.info("decide    %s: %s", decision.outcome, decision.reason)
    return Verdict(decision, champion)
