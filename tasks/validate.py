"""Hold the rows against the contract, and against the rows that taught the champion."""

from dataclasses import dataclass
from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import CheckedRows, check_snapshot
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.errors import DriftError, rows_that
from pipeline_lib.evaluation.standing import Standing
from pipeline_lib.monitoring.history import Night, remember_night
from pipeline_lib.monitoring.monitor import Watch, Watched, known_classes, volume_of
from pipeline_lib.monitoring.volume import source_settings


@dataclass(frozen=True)
class Validated:
    """Rows that may be trained on, and what was seen of them; `ledger` is news of its codes."""

    rows: CheckedRows
    watched: Watched
    ledger: tuple[str, ...] = ()
    growth: str | None = None

    def notes(self) -> list[str]:
        """Return what a person should know of the rows, a line each."""
        notes = [*self.rows.snapshot.news, *self.ledger, *self.rows.report.lines()]
        if self.growth is not None:
            notes.append(self.growth)
        if self.rows.quarantine is not None:
            n_rows = self.rows.report.n_quarantined
            notes.append(f"{rows_that(n_rows, 'are in quarantine')}: {self.rows.quarantine}")
        return [*notes, *self.watched.new_words, *(leak.sentence for leak in self.watched.leaks)]


@task(cache_policy=NO_CACHE)
def validate(
    config: PipelineConfig,
    snapshot: Snapshot,
    run_date: date,
    standing: Standing = Standing(),  # noqa: B008 - frozen
) -> Validated:
    """Stop the night if rows break a rule, put aside what may be; tell drift and leaks."""
    from pipeline_lib.encoding.encoded_splits import read_ledger
    from pipeline_lib.tracking.ledger_recovery import recover_ledger
    from pipeline_lib.tracking.store import connect
    from pipeline_lib.tracking.versions import champion_version

    logger, client = get_run_logger(), connect()
    recovered = recover_ledger(client, config)
    ledger = read_ledger(config.name)
    known = {name: vocabulary.known for name, vocabulary in ledger.items()}
    champion = champion_version(client, config.name)
    reference = champion.tags.get("data.digest") if champion else None
    volume = volume_of(config, run_date=run_date, champion=reference)
    watch = Watch(config, snapshot, {name: each.words for name, each in known.items()})
    spelled = known | known_classes(config, champion=reference)
    rows = check_snapshot(config, snapshot, on_batch=watch.see, known=spelled)
    growth = volume.hold(rows.n_rows, source=snapshot.source)
    watched = watch.finish(
        reference=reference, run_date=run_date, is_volume_said=growth is not None
    )
    validated = Validated(rows, watched, recovered, growth)
    logger.info(
        "validate  %s rows keep the contract of %d columns", f"{rows.n_rows:,}", len(config.columns)
    )
    for text in [*validated.notes()[len(snapshot.news) :], *watched.sentences()]:
        logger.warning("validate  %s", text)
    if watched.matters:
        emit_event(
            event="evergreen.drift.detected",
            resource={"prefect.resource.id": f"evergreen.dataset.{config.name}"},
            payload={"dataset": config.name, "drift": list(watched.sentences())},
        )
        if config.validation.drift.severity == "stop":
            raise DriftError(config.name, watched.sentences())
    if not standing.experiment:
        arrivals = watched.arrivals.record if watched.arrivals else None
        settings = source_settings(config.data.source)
        remember_night(config.name, snapshot, Night(watched.rows.record, arrivals, settings))
    return validated
