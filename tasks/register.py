"""Package the model, prove that it loads, make it a version, and move the alias last."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.prepared import SplitRows
from pipeline_lib.evaluation.gate import Decision
from pipeline_lib.tracking.reference import RegisteredVersion, RunReference
from tasks.train import Trained

_GOLDEN_ROWS = 64


@task(cache_policy=NO_CACHE)
def register(
    config: PipelineConfig,
    rows: SplitRows,
    trained: Trained,
    decision: Decision,
    run: RunReference,
) -> RegisteredVersion | None:
    """Register a model that was not rejected; promote it if the gate said so."""
    from pipeline_lib.serving import load_model
    from pipeline_lib.tracking.package import package_model, verify_package
    from pipeline_lib.tracking.registry import STARTED_FROM, promote, register_version
    from pipeline_lib.tracking.runs import TrackedRun

    logger, tracked = get_run_logger(), TrackedRun.of(run)
    if decision.outcome == "rejected":
        logger.info("register  nothing: the model was rejected")
        return None
    model_uri = package_model(tracked, trained.model_folder)
    golden = next(rows.batches("test", _GOLDEN_ROWS)).select(list(config.columns)).to_pandas()
    verify_package(model_uri, golden, load_model(trained.model_folder).predict(golden))
    tags = {
        "decision": decision.outcome,
        "decision.reason": decision.reason,
        "data.digest": rows.snapshot.digest,
        "config.digest": config.digest(),
        "split.rule": rows.rule,
    }
    if trained.started_from:
        tags[STARTED_FROM] = trained.started_from
    version = register_version(tracked, config.name, model_uri, trained.model_folder, tags)
    if decision.outcome == "promoted":
        promote(tracked.client, version)
    again = "" if version.is_new else ", which this very run had before"
    alias = "champion" if decision.outcome == "promoted" else "challenger"
    logger.info("register  version %s%s: %s", version.version, again, alias)
    return version
