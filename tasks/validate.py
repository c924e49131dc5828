"""Check the rows against the contract, and compare them with the champion's training rows."""

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.evaluation.standing import Standing
from pipeline_lib.monitoring.validate import Validated, refuse_drift, remember, validate_rows


@task(cache_policy=NO_CACHE)
def validate(
    config: PipelineConfig,
    snapshot: Snapshot,
    run_date: date,
    standing: Standing = Standing(),  # noqa: B008 - frozen
) -> Validated:
    """End the run if rows break a rule, quarantine what may be; report drift and leaks."""
    from pipeline_lib.encoding.encoded_splits import read_ledger
    from pipeline_lib.tracking.ledger_recovery import recover_ledger
    from pipeline_lib.tracking.store import connect
    from pipeline_lib.tracking.versions import champion_version

    logger, dataset = get_run_logger(), snapshot.dataset
    client = connect(dataset.home)
    recovered = recover_ledger(client, config)
    champion = champion_version(client, config.name)
    validated = validate_rows(
        config,
        snapshot,
        known={name: vocabulary.known for name, vocabulary in read_ledger(dataset).items()},
        champion=champion.tags.get("data.digest") if champion else None,
        run_date=run_date,
        ledger=recovered,
    )
    n_rows = f"{validated.rows.n_rows:,}"
    logger.info("validate  %s rows keep the contract of %d columns", n_rows, len(config.columns))
    for text in validated.warnings():
        logger.warning("validate  %s", text)
    if validated.watched.matters:
        drift = list(validated.watched.sentences())
        emit_event(
            event="evergreen.drift.detected",
            resource={"prefect.resource.id": f"evergreen.dataset.{config.name}"},
            payload={"dataset": config.name, "drift": drift},
        )
    refuse_drift(config, validated.watched)
    if not standing.experiment:
        remember(config, validated)
    return validated
