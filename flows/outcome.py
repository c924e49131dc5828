"""What a retraining comes to: the decision record, and the few facts that leave the flow."""

from dataclasses import dataclass
from pathlib import Path

from flows.tracked import flow_url
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.prepared import SplitRows
from pipeline_lib.encoding.prepared import EncodedData
from pipeline_lib.evaluation.journal import JournalEntry
from pipeline_lib.evaluation.report import DecisionRecord
from pipeline_lib.evaluation.results import EvaluationResult
from pipeline_lib.tracking.reference import RegisteredVersion, RunReference
from tasks.decide import Verdict
from tasks.train import Trained
from tasks.validate import Validated


@dataclass(frozen=True)
class Outcome:
    """How a night ended. `decision` is promoted, kept, rejected or skipped."""

    decision: str
    reason: str
    version: str
    report: str
    links: dict[str, str]

    @classmethod
    def of(cls, record: DecisionRecord, page: Path, run: RunReference) -> "Outcome":
        """Return the outcome of a night that trained."""
        links = {"flow run": flow_url(), "MLflow run": run.url}
        decision = record.decision
        return cls(decision.outcome, decision.reason, record.version, str(page), links)


def skipped(past: JournalEntry) -> Outcome:
    """Return the outcome of a night with nothing new."""
    reason = (
        f"nothing is new: rows and config are those of {past.decided_at}, "
        f"when the model was {past.decision}"
    )
    return Outcome("skipped", reason, past.version, "", {"flow run": flow_url()})


def record_of(
    config: PipelineConfig,
    validated: Validated,
    rows: SplitRows,
    encoded: EncodedData,
    trained: Trained,
    result: EvaluationResult,
    verdict: Verdict,
    version: RegisteredVersion | None,
    run: RunReference,
) -> DecisionRecord:
    """Gather what the decision record shows."""
    links = {"flow run": flow_url(), "MLflow run": run.url}
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
        notes=[*validated.notes(), *rows.warnings, *trained.notes, *verdict.decision.notes],
        drift=watched.rows,
        drift_of_new=watched.arrivals,
        training=trained.facts,
        data_digest=snapshot.digest,
        links=links,
    )
