"""What a retraining comes to: the decision record, and the few facts that leave the flow."""

from dataclasses import dataclass
from pathlib import Path

from flows.tracked import flow_url
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.data.splits.split_rows import SplitRows
from pipeline_lib.encoding.encoded_splits import EncodedData
from pipeline_lib.evaluation import journal
from pipeline_lib.evaluation.journal import JournalEntry
from pipeline_lib.evaluation.report import DecisionRecord
from pipeline_lib.evaluation.results import EvaluationResult
from pipeline_lib.evaluation.standing import Standing
from pipeline_lib.tracking.reference import RunReference, Settled
from tasks.train import Trained
from tasks.validate import Validated


@dataclass(frozen=True)
class Outcome:
    """How a night ended. `decision` is promoted, kept, rejected or skipped.

    `version` is the new model's, of a skipped night the one its rows had made. `champion` is the
    version in use now, empty if there is none. `notes` are what a person should know.
    """

    decision: str
    reason: str
    version: str
    report: str
    links: dict[str, str]
    champion: str = ""
    experiment: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: DecisionRecord, entry: JournalEntry, page: Path) -> "Outcome":
        """Return the outcome of a night that trained."""
        links = {k: url for k, url in record.links.items() if k in ("flow run", "MLflow run")}
        return cls(
            entry.decision,
            entry.reason,
            entry.version,
            str(page),
            links,
            champion=entry.champion or "",
            experiment=bool(entry.experiment),
            notes=(*record.notes, *record.result.notes),
        )


def skipped(entry: JournalEntry, standing: Standing) -> Outcome:
    """Return the outcome of a night with nothing new; `entry` is its line in the journal."""
    return Outcome(
        "skipped",
        entry.reason,
        entry.version,
        "",
        {"flow run": flow_url()},
        champion=entry.champion or "",
        experiment=bool(entry.experiment),
        notes=standing.notes,
    )


def entry_of(
    config: PipelineConfig,
    settled: Settled,
    standing: Standing,
    snapshot: Snapshot,
    run: RunReference,
) -> JournalEntry:
    """Return the journal's line of a night that made a decision."""
    return journal.entry_of(
        config,
        settled.verdict,
        standing,
        version=settled.version.version if settled.version else "",
        run_key=run.run_key,
        run_id=run.run_id,
        data_digest=snapshot.digest,
    )


def record_of(
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
    """Gather what the decision record shows."""
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
