"""The decision between challenger and champion. It fails closed: what cannot be shown is a no.

A challenger must be sane, reach the floor and beat the constant baseline; then, against a
champion on the same rows, its primary metric must not be worse.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline_lib.config import LOWER_IS_BETTER, Metric
from pipeline_lib.evaluation.comparison import Scores, better_or_equal, gain
from pipeline_lib.evaluation.results import EvaluationResult

Outcome = Literal["promoted", "kept", "rejected"]


@dataclass(frozen=True)
class Check:
    """One thing the gate looked at, and what it saw."""

    name: str
    passed: bool
    seen: str


@dataclass(frozen=True)
class ChampionScores:
    """How the champion does on tonight's test rows.

    `problem` says why it could not be told; `saw_other_split` that it learned by another rule of
    splitting, so that some of these rows may have been its training rows.
    """

    version: str
    scores: Scores | None
    problem: str = ""
    saw_other_split: bool = False


@dataclass(frozen=True)
class Decision:
    """What was decided.

    `promoted`: the challenger becomes champion; `kept`: the champion stays; `rejected`: the
    challenger is not fit, champion or not.
    """

    outcome: Outcome
    reason: str
    checks: tuple[Check, ...]


def decide_promotion(
    primary: Metric,
    result: EvaluationResult,
    *,
    champion: ChampionScores | None,
    floor: float | None,
) -> Decision:
    """Decide about a challenger.

    Args:
        primary: the metric that counts.
        result: what the challenger has shown on tonight's test rows.
        champion: the champion's scores on the same rows; None if there is no champion.
        floor: the worst primary metric that may be promoted.
    """
    finite, varies = result.finite, not result.constant
    checks = [
        Check("finite", finite, "all predictions are finite" if finite else "NaN or infinite"),
        Check("varies", varies, "rows differ" if varies else "the same is said of every row"),
    ]
    value = result.scores.get(primary)
    if value is None:
        checks.append(Check("measured", False, f"{primary} is not defined on these test rows"))
    else:
        checks += _floors(primary, value, result.baselines, floor)
    if failed := [check for check in checks if not check.passed]:
        reason = "; ".join(f"{check.name}: {check.seen}" for check in failed)
        return Decision("rejected", reason, tuple(checks))
    assert value is not None
    if champion is None:
        return Decision(
            "promoted", f"first model that is good enough: {primary} {value:.4f}", tuple(checks)
        )
    against = _against(primary, value, champion)
    outcome: Outcome = "promoted" if against.passed else "kept"
    return Decision(outcome, against.seen, (*checks, against))


def _floors(
    primary: Metric, value: float, baselines: Mapping[str, Scores], floor: float | None
) -> list[Check]:
    checks: list[Check] = []
    sign = "≤" if primary in LOWER_IS_BETTER else "≥"
    if floor is not None:
        reached = better_or_equal(primary, value, floor)
        seen = f"{primary} {value:.4f}, needed {sign} {floor:g}"
        checks.append(Check("floor", reached, seen))
    constant = baselines.get("constant", {}).get(primary)
    if constant is not None:
        beaten = gain(primary, value, constant) > 0
        seen = f"{primary} {value:.4f}, a constant prediction has {constant:.4f}"
        checks.append(Check("baseline", beaten, seen))
    else:
        checks.append(Check("baseline", False, "no constant baseline to compare with"))
    return checks


def _against(primary: Metric, value: float, champion: ChampionScores) -> Check:
    name = f"champion v{champion.version}"
    theirs = None if champion.scores is None else champion.scores.get(primary)
    if theirs is None:
        why = champion.problem or f"{primary} is not defined on these test rows"
        by_hand = "to replace it all the same, give the new version its alias in MLflow"
        return Check("champion", False, f"{name} cannot be compared: {why}; {by_hand}")
    delta = gain(primary, value, theirs)
    verdict = "not worse" if delta >= 0 else "worse"
    seen = (
        f"{primary} {value:.4f} is {verdict} than {name} with {theirs:.4f} on the same rows "
        f"({delta:+.4f})"
    )
    if champion.saw_other_split:
        seen += "; it learned by another split, so they may flatter it"
    return Check("champion", better_or_equal(primary, value, theirs), seen)
