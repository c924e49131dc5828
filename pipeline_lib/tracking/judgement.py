"""The verdict on a new model, and how it is carried out in the registry.

Evidence and standing decide together. A promotion is written only over the version that the model
was compared with: if the alias has moved meanwhile, the model is judged again.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.splits.split_rows import SplitRows
from pipeline_lib.evaluation.evaluate import TEST_BATCH_ROWS, score_champion
from pipeline_lib.evaluation.gate import ChampionScores, Check, Decision, decide_promotion
from pipeline_lib.evaluation.journal import JournalEntry, append_entry, entry_of
from pipeline_lib.evaluation.results import EvaluationResult
from pipeline_lib.evaluation.standing import Standing, Verdict, apply_standing, superseded
from pipeline_lib.tracking.champions import history_of, is_unfinished
from pipeline_lib.tracking.mending import mend_champion
from pipeline_lib.tracking.package import packaged
from pipeline_lib.tracking.reference import Settled
from pipeline_lib.tracking.registry import (
    Champion,
    find_twin,
    promote,
    read_champion,
    register_version,
)
from pipeline_lib.tracking.runs import TrackedRun
from pipeline_lib.tracking.versions import (
    CONFIG_PATH,
    CONFIG_PROJECT,
    DECISION,
    EXPERIMENT,
    REASON,
    RUN_DATE,
    SOURCE,
    package_digest,
)

_GOLDEN_ROWS = 64
_MAX_JUDGEMENTS = 3
SUPERSEDED = "superseded"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """A trained model with what was measured of it."""

    config: PipelineConfig
    rows: SplitRows
    folder: Path
    result: EvaluationResult
    standing: Standing


def judge(run: TrackedRun, candidate: Candidate) -> Verdict:
    """Compare a model with the champion on the same raw test rows, and decide."""
    client, name = run.client, candidate.config.name
    sha256 = package_digest(candidate.folder)
    champion = read_champion(client, name)
    if champion is not None and (finished := _finished(run, candidate, champion, sha256)):
        return finished
    note = ""
    if champion is not None and champion.problem and not candidate.standing.experiment:
        champion, note = mend_champion(run, name, champion, golden_rows(candidate))
    scores = None if champion is None else _scores(candidate, champion)
    config, promotion = candidate.config, candidate.config.promotion
    history = history_of(client, config, run_key=run.run_key, sha256=sha256)
    evidence = decide_promotion(
        config.primary,
        candidate.result,
        champion=scores,
        floor=promotion.floor,
        min_test_rows=promotion.min_test_rows,
        max_standard_error=promotion.max_standard_error,
        is_first=not history.no_champion,
    )
    decision = apply_standing(evidence, candidate.standing, history, scores)
    if note:
        decision = replace(decision, notes=(note, *decision.notes))
    pending = ""
    if scores is not None and not evidence.is_comparable and decision.outcome == "kept":
        pending = f"champion v{scores.version} could not be compared"
    return Verdict(decision, scores, champion.version if champion else "", pending)


def _finished(
    run: TrackedRun, candidate: Candidate, champion: Champion, sha256: str
) -> Verdict | None:
    """Return the verdict where the champion is this very model, interrupted or damaged."""
    name = candidate.config.name
    if champion.sha256 != sha256 or candidate.standing.experiment:
        return None
    if champion.problem:
        seen = f"champion v{champion.version} is this very model, and {champion.problem}"
        return _promoted("repaired", seen, champion.version)
    twin = find_twin(run.client, name, run.run_key, sha256)
    if twin is None or str(twin.version) != champion.version:
        return None
    if not is_unfinished(run.client, name, run_key=run.run_key, sha256=sha256):
        return None
    seen = twin.tags.get(REASON, "it was promoted before the run was interrupted")
    return _promoted("interrupted", seen, champion.version)


def _promoted(check: str, seen: str, instead_of: str) -> Verdict:
    return Verdict(Decision("promoted", seen, (Check(check, True, seen),)), None, instead_of)


def _scores(candidate: Candidate, champion: Champion) -> ChampionScores:
    if champion.model is None:
        return ChampionScores(champion.version, None, champion.problem)
    test_rows = candidate.rows.batches("test", TEST_BATCH_ROWS)
    scores = score_champion(
        candidate.config,
        champion.model,
        champion.version,
        test_rows,
        challenger=candidate.result.predictions,
    )
    return replace(scores, saw_other_split=champion.split_rule != candidate.rows.rule)


def settle(
    run: TrackedRun, candidate: Candidate, verdict: Verdict, tags: dict[str, str]
) -> Settled:
    """Package a model, register it, and move the alias if the verdict is to promote it.

    What this very run has registered before, whole, is not packaged again.

    Args:
        run: the run it belongs to.
        candidate: the model.
        verdict: what `judge` returned.
        tags: what its version is tagged with besides the verdict and the standing.

    Raises:
        ModelError: its package does not load in a clean process, or predicts something else there.
    """
    name = candidate.config.name
    twin = find_twin(run.client, name, run.run_key, package_digest(candidate.folder))
    model_uri = (
        str(twin.source) if twin else packaged(run, candidate.folder, golden_rows(candidate))
    )
    for attempt in range(1, _MAX_JUDGEMENTS + 1):
        all_tags = {**tags, **version_tags(candidate, verdict)}
        version = register_version(run, name, model_uri, candidate.folder, all_tags)
        if verdict.decision.outcome != "promoted":
            return Settled(verdict, version)
        if promote(run.client, version, instead_of=verdict.instead_of):
            return Settled(verdict, version)
        # Without it the version would look like one whose promotion a kill has interrupted.
        run.client.set_model_version_tag(name, version.version, DECISION, SUPERSEDED)
        append_entry(
            run.client.home.dataset(name),
            _superseded_entry(run, candidate, verdict, version.version),
        )
        _log.warning("the champion of %s was changed meanwhile: judging again", name)
        if attempt < _MAX_JUDGEMENTS:
            verdict = judge(run, candidate)
    verdict = superseded(verdict)
    version = register_version(
        run, name, model_uri, candidate.folder, {**tags, **version_tags(candidate, verdict)}
    )
    return Settled(verdict, version)


def golden_rows(candidate: Candidate) -> pd.DataFrame:
    """Return the first test rows, for which package and model have to predict the same."""
    columns = list(candidate.config.columns)
    return next(candidate.rows.batches("test", _GOLDEN_ROWS)).select(columns).to_pandas()


def version_tags(candidate: Candidate, verdict: Verdict) -> dict[str, str]:
    """Return the tags of a version that hold the decision and its standing."""
    standing = candidate.standing
    tags = {
        DECISION: verdict.decision.outcome,
        REASON: verdict.decision.reason,
        RUN_DATE: standing.run_date,
        CONFIG_PATH: standing.config_path,
        CONFIG_PROJECT: standing.config_project,
        SOURCE: standing.source,
        EXPERIMENT: "true" if standing.overruled else "",
    }
    return {key: text for key, text in tags.items() if text}


def _superseded_entry(
    run: TrackedRun, candidate: Candidate, verdict: Verdict, version: str
) -> JournalEntry:
    entry = entry_of(
        candidate.config,
        superseded(verdict),
        candidate.standing,
        version=version,
        run_key=run.run_key,
        run_id=run.run_id,
        data_digest=candidate.rows.snapshot.digest,
    )
    return replace(entry, decision=SUPERSEDED, champion=None)
