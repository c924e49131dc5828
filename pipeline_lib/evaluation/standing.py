"""What decides about a promotion besides the scores: requests, dates and the champion's history.

`gate` looks at scores alone. Here the run's standing is added: an experiment registers nothing,
rows of an older date do not replace a model of newer ones, and a champion that is missing although
there was one is not silently replaced. `--promote` overrides these three, and a champion that
cannot be compared; never the evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline_lib.evaluation.gate import ChampionScores, Check, Decision

OVERRIDE = "`--promote` (in the form: promote) overrides this"
REGISTER = "`--promote` (in the form: promote) makes it a regular run"


@dataclass(frozen=True)
class Standing:
    """What is known of a run before it has any result.

    `experiment` is why it is one, or empty; `promote` is the user's request, and `overruled` why
    the run would be an experiment without it; `run_date` is the run's date (ISO); `config_path`,
    `config_project` and `source` name its config, the folder that its path starts from, and its
    table; `notes` are remarks on these.
    """

    experiment: str = ""
    promote: bool = False
    overruled: str = ""
    run_date: str = ""
    config_path: str = ""
    config_project: str = ""
    source: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class History:
    """What registry and journal know of the champion when a decision is made.

    `champion_run_date` is the date of its training rows (ISO; empty if not recorded).
    `no_champion` is why a missing champion is not the normal state before a first run;
    `taken_back` says that the alias was taken from the model of this very run by hand. Both are
    empty otherwise.
    """

    champion_run_date: str = ""
    no_champion: str = ""
    taken_back: str = ""


@dataclass(frozen=True)
class Verdict:
    """The decision, the champion's scores that it looked at, and the version that had the alias.

    `instead_of` is empty if no version had it. `pending` says why the same rows are judged again
    in the next run, or is empty.
    """

    decision: Decision
    champion: ChampionScores | None
    instead_of: str = ""
    pending: str = ""


def apply_standing(
    decision: Decision, standing: Standing, history: History, champion: ChampionScores | None
) -> Decision:
    """Return the decision that stands.

    Args:
        decision: what the evidence says.
        standing: of the run.
        history: of the champion's place.
        champion: what the evidence was compared with.
    """
    objections = _objections(standing, history, champion)
    if decision.outcome == "rejected":
        said = () if standing.experiment else tuple(seen for _, seen in objections)
        return replace(decision, notes=(*decision.notes, *said))
    if standing.experiment:
        seen = f"{standing.experiment}; nothing is registered. {REGISTER}"
        reason = f"an experiment ({standing.experiment}) is not registered; {decision.reason}"
        kept = _kept(decision, "experiment", seen)
        return replace(kept, reason=f"{reason}. {REGISTER}")
    if standing.promote:
        return _by_request(decision, [seen for _, seen in objections])
    for name, objection in objections:
        seen = f"{objection}, so it is not promoted automatically. {OVERRIDE}"
        kept = _kept(decision, name, seen)
        decision = replace(kept, notes=(*kept.notes, objection))
    return decision


def _by_request(decision: Decision, objections: Sequence[str]) -> Decision:
    """Return the decision after a request to promote; evidence against the model stays."""
    if decision.is_comparable and (decision.outcome == "kept" or not objections):
        return decision
    reason = decision.reason
    if decision.is_comparable:
        reason = f"{reason}; by request, though {'; '.join(objections)}"
    else:
        reason = f"by request, though {'; '.join((reason, *objections))}"
    checks = (*decision.checks, Check("by request", True, "the promotion was requested"))
    return replace(decision, outcome="promoted", reason=reason, checks=checks)


def superseded(verdict: Verdict) -> Verdict:
    """Return a verdict that was not carried out because the champion has changed."""
    before = f"version {verdict.instead_of}" if verdict.instead_of else "no version"
    seen = f"{before} was champion when it was judged, and the alias has changed since"
    checks = (*verdict.decision.checks, Check("alias", False, seen))
    decision = Decision("kept", f"{seen}; {verdict.decision.reason}", checks)
    return replace(verdict, decision=decision, pending="the champion was changed meanwhile")


def _objections(
    standing: Standing, history: History, champion: ChampionScores | None
) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if champion is None and history.no_champion:
        found.append(("champion", history.no_champion))
    if champion is not None and standing.run_date and history.champion_run_date:
        ours, theirs = standing.run_date, history.champion_run_date
        if ours < theirs:
            text = f"rows of {ours} are older than those of champion v{champion.version}, {theirs}"
            found.append(("date", text))
    if champion is not None and history.taken_back:
        found.append(("taken back", history.taken_back))
    return found


def _kept(decision: Decision, name: str, seen: str) -> Decision:
    checks = (*decision.checks, Check(name, False, seen))
    reason = seen if decision.outcome == "promoted" else f"{decision.reason}; {seen}"
    return replace(decision, outcome="kept", reason=reason, checks=checks)
