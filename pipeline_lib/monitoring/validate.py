"""Checks a snapshot against the contract and against earlier runs, in one reading of its rows.

Which rows end the run is decided here: those that break a rule of severity `stop`, far fewer rows
than before, and drift where `validation.drift.severity` is `stop`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import CheckedRows, check_snapshot
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.errors import DriftError
from pipeline_lib.monitoring.history import Night, remember_night
from pipeline_lib.monitoring.monitor import Watch, Watched, known_classes, volume_of
from pipeline_lib.monitoring.volume import source_settings
from pipeline_lib.wording import rows_that


@dataclass(frozen=True)
class Validated:
    """Rows that may be trained on, and what was seen of them; `ledger` is news of its codes."""

    rows: CheckedRows
    watched: Watched
    ledger: tuple[str, ...] = ()
    growth: str | None = None

    def notes(self) -> list[str]:
        """Return the warnings for a person, a line each; the snapshot's own news come first."""
        return [*self.rows.snapshot.news, *self._of_rows()]

    def warnings(self) -> list[str]:
        """Return what a log shows besides the snapshot's news: the notes, and drift."""
        return [*self._of_rows(), *self.watched.sentences()]

    def _of_rows(self) -> list[str]:
        notes = [*self.ledger, *self.rows.report.lines()]
        if self.growth is not None:
            notes.append(self.growth)
        if self.rows.quarantine is not None:
            n_rows = self.rows.report.n_quarantined
            notes.append(f"{rows_that(n_rows, 'are in quarantine')}: {self.rows.quarantine}")
        return [*notes, *self.watched.new_words, *(leak.sentence for leak in self.watched.leaks)]


def validate_rows(
    config: PipelineConfig,
    snapshot: Snapshot,
    *,
    known: Mapping[str, KnownWords],
    champion: str | None,
    run_date: date,
    ledger: tuple[str, ...] = (),
) -> Validated:
    """Check a snapshot, and compare it with the champion's rows and with earlier runs.

    Args:
        config: of the dataset.
        snapshot: the rows.
        known: the ledger's words, by column.
        champion: digest of the champion's snapshot, if there is one.
        run_date: the run's date.
        ledger: news of the ledger, handed on.

    Raises:
        ContractError: rows break a rule that stops, or more than the quarantine's budget.
        VolumeError: there are far fewer rows than before.
        StorageError: the champion's profile is damaged, or a place cannot be written.
    """
    volume = volume_of(config, snapshot.dataset, run_date=run_date, champion=champion)
    words: dict[str, pa.Array] = {name: each.words for name, each in known.items()}
    watch = Watch(config, snapshot, words)
    spelled = {**known, **known_classes(config, snapshot.dataset, champion=champion)}
    rows = check_snapshot(config, snapshot, on_batch=watch.see, known=spelled)
    growth = volume.hold(rows.n_rows, source=snapshot.source)
    watched = watch.finish(reference=champion, run_date=run_date, is_volume_said=growth is not None)
    return Validated(rows, watched, ledger, growth)


def refuse_drift(config: PipelineConfig, watched: Watched) -> None:
    """End the run if its rows drifted and the config says so.

    Raises:
        DriftError: they did, and `validation.drift.severity` is `stop`.
    """
    if watched.matters and config.validation.drift.severity == "stop":
        raise DriftError(config.name, watched.sentences())


def remember(config: PipelineConfig, validated: Validated) -> None:
    """Make these rows the last ones, which later runs are compared with."""
    watched = validated.watched
    arrivals = watched.arrivals.record if watched.arrivals else None
    settings = source_settings(config.data.source)
    night = Night(watched.rows.record, arrivals, settings)
    remember_night(validated.rows.snapshot, night)
