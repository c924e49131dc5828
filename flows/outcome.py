"""What a retraining ends with: the decision record, and the few facts that leave the flow."""

from dataclasses import dataclass
from pathlib import Path

from flows.tracked import flow_url
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.splits.split_rows import SplitRows
from pipeline_lib.encoding.encoded_splits import EncodedData
from pipeline_lib.evaluation import journal
from pipeline_lib.evaluation.journal import JournalEntry
from pipeline_lib.evaluation.report import DecisionRecord
from pipeline_lib.evaluation.results import EvaluationResult
from pipeline_lib.evaluation.standing import Standing
from pipeline_lib.monitoring.validate import Validated
from pipeline_lib.tracking.reference import RunReference, Settled
from tasks.train import Trained


@dataclass(frozen=True)
class Outcome:
    """How a run ended. `decision` is promoted, kept, rejected or skipped.

    `version` is the new model's, of a skipped run the one that its rows had made. `champion` is
    the version in use now, empty if there is none. `notes` are warnings for a person.
    """

    decision: str
    reason: str
    version: str
    report: str
    links: dict[str, str]
    champion: str = ""
    experiment: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decided:
    """A run that made a decision: what its page shows, and its line in the journal."""

    record: DecisionRecord
    entry: JournalEntry

    @classmethod
    def of(
        cls,
        config: PipelineConfig,
        validated: Validated,
        rows: SplitRows,
        encoded: EncodedData,
        trained: Trained,
        result: EvaluationResult,
        settled: Settled,
        standing: Standing,
        run: RunReference,
    ) -> "Decided":
        """Gather what the stages found."""
        record = _record(config, validated, rows, encoded, trained, result, settled, standing, run)
        entry = journal.entry_of(
            config,
            settled.verdict,
            standing,
            version=settled.version.version if settled.version else "",
            run_key=run.run_key,
            run_id=run.run_id,
            data_digest=validated.rows.snapshot.digest,
        )
        return cls(record, entry)

    def outcome(self, page: Path) -> Outcome:
        """Return the outcome; `page` is the file of the decision record."""
        record, entry = self.record, self.entry
        links = {k: url for k, url in record.links.items() if k in ("flow run", "MLflow run")}
        notes = (*record.notes, *record.result.notes)
        return _outcome(entry, entry.decision, str(page), links, notes)


def skipped(entry: JournalEntry, standing: Standing) -> Outcome:
    """Return the outcome of a run with nothing new; `entry` is its line in the journal."""
    return _outcome(entry, "skipped", "", {"flow run": flow_url()}, standing.notes)


def _outcome(
    entry: JournalEntry, decision: str, page: str, links: dict[str, str], notes: tuple[str, ...]
) -> Outcome:
    return Outcome(
        decision,
        entry.reason,
        entry.version,
        page,
        links,
        champion=entry.champion or "",
        experiment=bool(entry.experiment),
        notes=notes,
    )


def _record(
    config: PipelineConfig,
    validated: Validated,
    rows: SplitRows,
    encoded: EncodedData,
    trained: Trained,
    result: EvaluationResult,
    settled: Settled,
    standing: Standing,
    run: RunReference,
) -> DecisionRecord:
    """Return what the page shows."""
    links = {"flow run": flow_url(), "MLflow run": run.url}
    verdict, version = settled.verdict, settled.version
    if version is not None:
        links["registered model"] = version.url
    snapshot, watched = validated.rows.snapshot, validated.watched
    return DecisionRecord(
        config.name,
        config.data.task,
        config.primary,
        verdict.decision,
        result,
        verdict.champion,
        version=version.version if version else "",
        source=snapshot.source,
        n_rows={str(name): n for name, n in rows.n_rows.items()},
        changes=encoded.changes,
        notes=[
            *standing.notes,
            *validated.notes(),
            *rows.warnings,
            *trained.notes,
            *verdict.decision.notes,
        ],
        drift=watched.rows,
        drift_of_new=watched.arrivals,
        training=trained.facts,
        data_digest=snapshot.digest,
        links=links,
        experiment=standing.experiment,
    )
