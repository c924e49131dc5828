"""The decision between challenger and champion. It fails closed: without evidence it is no.

A challenger must be sane, reach the floor and surely beat the constant baseline; then its primary
metric must be better than that of the champion on the same rows, on enough of them. Where it is
undefined for one of the models, log loss decides, or RMSE. This is the evidence alone.
"""

import math
from dataclasses import dataclass
from typing import Literal

from pipeline_lib.config.metrics import METRIC_FACTS, Metric, fallback_metric
from pipeline_lib.evaluation.comparison import (
    Difference,
    Scores,
    better_or_equal,
    deciding_metric,
    gain,
    is_better,
    is_tie,
)
from pipeline_lib.evaluation.results import EvaluationResult

Outcome = Literal["promoted", "kept", "rejected"]


@dataclass(frozen=True)
class Check:
    """One condition of the gate, whether it holds, and the numbers that it looked at."""

    name: str
    passed: bool
    seen: str


@dataclass(frozen=True)
class ChampionScores:
    """The champion's scores on this run's test rows.

    `problem` is why there are none; `saw_other_split` says that the champion was trained with
    another split, so that some of these rows may have been its training rows. `difference` is how
    much better the challenger is on the same rows, by the metric that decides. `notes` are what a
    person should know of how it read the rows.
    """

    version: str
    scores: Scores | None
    problem: str = ""
    saw_other_split: bool = False
    difference: Difference | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What was decided.

    `promoted`: the challenger becomes champion; `kept`: the champion stays; `rejected`: the
    challenger is not fit, champion or not. `notes` are warnings. `is_comparable` is False if there
    is a champion that cannot be compared with the challenger.
    """

    outcome: Outcome
    reason: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    is_comparable: bool = True


def decide_promotion(
    primary: Metric,
    result: EvaluationResult,
    *,
    champion: ChampionScores | None,
    floor: float | None,
    min_test_rows: int,
    max_standard_error: float,
    is_first: bool = True,
) -> Decision:
    """Decide about a challenger.

    Args:
        primary: the metric that counts.
        result: the challenger's scores on this run's test rows.
        champion: the champion's scores on the same rows; None if there is no champion.
        floor: the worst primary metric that may be promoted.
        min_test_rows: fewer do not replace a champion.
        max_standard_error: of the difference to the champion; a larger one does not replace it.
            Of metrics whose lower values are better a share of the champion's value.
        is_first: whether there never was a champion, if there is none.
    """
    finite, varies = result.finite, not result.constant
    checks = [
        Check(
            "finite",
            finite,
            f"{'all' if finite else 'not all'} predictions are finite",
        ),
        Check("varies", varies, "predictions vary" if varies else "predictions are constant"),
        *_floor(primary, result.scores, floor),
        *_baseline(primary, result),
    ]
    constant = result.baselines.get("constant", {})
    metric = deciding_metric(primary, result.scores, constant)
    if failed := [check for check in checks if not check.passed]:
        reason = "; ".join(f"{check.name}: {check.seen}" for check in failed)
        return Decision("rejected", reason, tuple(checks), _substitute(primary, metric))
    assert metric is not None
    if champion is None:
        notes = _substitute(primary, metric)
        if result.n_rows < min_test_rows:
            first = "first " if is_first else ""
            notes += (f"this {first}model was judged on only {_rows(result.n_rows)}",)
        what = "first model that is" if is_first else "no champion to compare with;"
        reason = f"{what} good enough: {metric} {result.scores[metric]:.4f}"
        return Decision("promoted", reason, tuple(checks), notes)
    metric = deciding_metric(primary, result.scores, champion.scores or {})
    if metric is None:
        against = _incomparable(primary, champion)
        every = (*checks, against)
        return Decision("kept", against.seen, every, (against.seen,), is_comparable=False)
    verdict = _verdict(metric, result.scores[metric], champion)
    sizes = [
        _enough_rows(result.n_rows, min_test_rows),
        _precise_enough(metric, champion, max_standard_error),
    ]
    too_small = tuple(check.seen for check in sizes if not check.passed)
    outcome: Outcome = "promoted" if verdict.passed and not too_small else "kept"
    reason = "; ".join([*too_small, verdict.seen])
    notes = (*_substitute(primary, metric), *too_small, *champion.notes)
    return Decision(outcome, reason, (*checks, *sizes, verdict), notes)


def _substitute(primary: Metric, metric: Metric | None) -> tuple[str, ...]:
    """Return the note that another metric than the primary one decides, if so."""
    if metric in (primary, None):
        return ()
    return (f"{primary} is not defined on these test rows, so {metric} decides",)


def _floor(primary: Metric, scores: Scores, floor: float | None) -> list[Check]:
    if floor is None:
        return []
    sign = "≤" if METRIC_FACTS[primary].lower_is_better else "≥"
    value = scores.get(primary, math.nan)
    said = "is not defined on these test rows" if math.isnan(value) else f"{value:.4f}"
    seen = f"{primary} {said}, needed {sign} {floor:g}"
    return [Check("floor", better_or_equal(primary, value, floor), seen)]


def _baseline(primary: Metric, result: EvaluationResult) -> list[Check]:
    """Return whether the model surely beats a constant, and whether its loss does too."""
    constant, scores = result.baselines.get("constant"), result.scores
    if constant is None:
        return [Check("baseline", False, "no constant baseline to compare with")]
    metric, second = deciding_metric(primary, scores, constant), fallback_metric(primary)
    if metric is None:
        either = primary if primary == second else f"neither {primary} nor {second}"
        verb = "is not" if primary == second else "is"
        return [Check("measured", False, f"{either} {verb} defined on these test rows")]
    known = result.against_constant
    lower = known.lower if known is not None and known.metric == metric else math.nan
    seen = (
        f"{metric} {scores[metric]:.4f}, a constant prediction has {constant[metric]:.4f} (95 % "
        f"bound of the difference {lower:+.4f}, needed > 0)"
    )
    checks = [Check("baseline", lower > 0, seen)]
    if METRIC_FACTS[metric].guesses_beat_constant:
        checks.append(_chance(metric, scores[metric], result.against_chance))
    if metric != second:
        ours, theirs = scores.get(second, math.nan), constant.get(second, math.nan)
        seen = f"{second} {ours:.4f}, needed below the {theirs:.4f} of a constant prediction"
        checks.append(Check("baseline loss", is_better(second, ours, theirs), seen))
    return checks


def _chance(metric: Metric, value: float, known: Difference | None) -> Check:
    if known is None or known.metric != metric:
        return Check("chance", False, "the score of shuffled predictions is not known")
    seen = (
        f"{metric} {value:.4f}, the same predictions, shuffled, have "
        f"{value - known.gain:.4f} (95 % bound of the difference {known.lower:+.4f}, needed > 0)"
    )
    return Check("chance", known.lower > 0, seen)


def _incomparable(primary: Metric, champion: ChampionScores) -> Check:
    why = champion.problem or f"{primary} is not defined on these test rows"
    seen = (
        f"champion v{champion.version} cannot be compared: {why}; `--promote`, or the alias "
        "`champion` in MLflow, replaces it anyway"
    )
    return Check("champion", False, seen)


def _enough_rows(n_rows: int, least: int) -> Check:
    enough, seen = n_rows >= least, _rows(n_rows)
    if not enough:
        seen += f" are too few to replace a champion (promotion.min_test_rows: {least})"
    return Check("test rows", enough, seen)


def _precise_enough(metric: Metric, champion: ChampionScores, most: float) -> Check:
    assert champion.scores is not None
    known = champion.difference
    error = known.standard_error if known is not None and known.metric == metric else math.nan
    is_error = METRIC_FACTS[metric].lower_is_better
    limit = most * abs(champion.scores[metric]) if is_error else most
    size = "is not known" if math.isnan(error) else f"is {error:.4f}"
    seen = f"the standard error of the difference in {metric} {size}"
    if not error <= limit:
        seen += (
            f", more than {limit:.4f}: too few test rows (promotion.max_standard_error: {most:g})"
        )
    return Check("precision", error <= limit, seen)


def _verdict(metric: Metric, value: float, champion: ChampionScores) -> Check:
    assert champion.scores is not None
    name, theirs = f"champion v{champion.version}", champion.scores[metric]
    better = is_better(metric, value, theirs)
    word = "a tie with" if is_tie(value, theirs) else "better than" if better else "worse than"
    known = champion.difference
    error = "" if known is None else f", standard error {known.standard_error:.4f}"
    seen = (
        f"{metric} {value:.4f} is {word} {name} with {theirs:.4f} on the same rows "
        f"({gain(metric, value, theirs):+.4f}){error}"
    )
    if champion.saw_other_split:
        seen += "; it was trained with another split, which may make its scores too good"
    return Check("champion", better, seen)


def _rows(n_rows: int) -> str:
    return f"{n_rows:,} test row" if n_rows == 1 else f"{n_rows:,} test rows"
