"""The gate lets through what is shown to be good enough, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from pipeline_lib.config import Metric
from pipeline_lib.evaluation.comparison import Scores
from pipeline_lib.evaluation.gate import ChampionScores, Decision, decide_promotion
from pipeline_lib.evaluation.results import EvaluationResult

NAN = float("nan")


def _decide(
    value: float | None = 0.9,
    *,
    primary: Metric = "macro_f1",
    constant: float | None = 0.2,
    champion: float | ChampionScores | None = None,
    floor: float | None = None,
    **sanity: Any,
) -> Decision:
    scores: Scores = {} if value is None else {primary: value}
    baselines: dict[str, Scores] = {} if constant is None else {"constant": {primary: constant}}
    result = EvaluationResult(
        scores,
        baselines,
        **{"finite": True, "constant": False, "classes": (), "predictions": Path("x"), **sanity},
    )
    if isinstance(champion, float):
        champion = ChampionScores("3", {primary: champion})
    return decide_promotion(primary, result, champion=champion, floor=floor)


def test_the_first_model_that_is_good_enough_is_promoted() -> None:
    decision = _decide(0.9, floor=0.8)

    assert decision.outcome == "promoted"
    assert decision.reason == "first model that is good enough: macro_f1 0.9000"
    assert all(check.passed for check in decision.checks)


@pytest.mark.parametrize(
    ("primary", "value", "floor", "outcome"),
    [
        ("macro_f1", 0.79, 0.8, "rejected"),
        ("macro_f1", 0.8, 0.8, "promoted"),
        ("macro_f1", 0.81, 0.8, "promoted"),
        ("rmse", 2.1, 2.0, "rejected"),
        ("rmse", 2.0, 2.0, "promoted"),
        ("rmse", 1.9, 2.0, "promoted"),
        ("r2", 0.0, 0.1, "rejected"),
    ],
)
def test_the_floor_must_be_reached_from_the_right_side(
    primary: Metric, value: float, floor: float, outcome: str
) -> None:
    constant = 9.0 if primary == "rmse" else -9.0

    decision = _decide(value, primary=primary, floor=floor, constant=constant)

    assert decision.outcome == outcome
    assert ("floor" in decision.reason) is (outcome == "rejected")


@pytest.mark.parametrize(
    ("primary", "value", "constant"),
    [("macro_f1", 0.2, 0.2), ("macro_f1", 0.1, 0.2), ("rmse", 2.0, 2.0), ("log_loss", 0.7, 0.6)],
)
def test_a_model_that_does_not_beat_a_constant_is_rejected_champion_or_not(
    primary: Metric, value: float, constant: float
) -> None:
    worse_champion = 99.0 if primary in {"rmse", "log_loss"} else -99.0

    decisions = [
        _decide(value, primary=primary, constant=constant, champion=champion)
        for champion in (None, worse_champion)
    ]

    for decision in decisions:
        assert decision.outcome == "rejected"
        assert decision.reason.startswith("baseline: ")


def test_without_a_constant_baseline_nothing_is_promoted() -> None:
    decision = _decide(constant=None)

    assert decision.outcome == "rejected"
    assert "no constant baseline to compare with" in decision.reason


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"constant_model": True}, "varies"),
        ({"finite": False}, "finite"),
        ({"value": None}, "measured"),
        ({"value": NAN}, "baseline"),
        ({"value": NAN, "floor": 0.1}, "floor"),
        ({"constant": NAN}, "baseline"),
        ({"value": float("-inf")}, "baseline"),
    ],
)
@pytest.mark.parametrize("champion", [None, 0.1])
def test_what_cannot_be_shown_is_a_no(
    change: dict[str, Any], check: str, champion: float | None
) -> None:
    sanity = {"finite": change.get("finite", True)}
    result = EvaluationResult(
        {} if change.get("value", 0.9) is None else {"macro_f1": change.get("value", 0.9)},
        {"constant": {"macro_f1": change.get("constant", 0.2)}},
        finite=sanity["finite"],
        constant=change.get("constant_model", False),
        classes=(),
        predictions=Path("x"),
    )
    against = None if champion is None else ChampionScores("3", {"macro_f1": champion})

    decision = decide_promotion("macro_f1", result, champion=against, floor=change.get("floor"))

    assert decision.outcome == "rejected"
    assert f"{check}: " in decision.reason
    assert check in [c.name for c in decision.checks if not c.passed]


@pytest.mark.parametrize(
    ("primary", "challenger", "champion", "outcome"),
    [
        ("macro_f1", 0.9, 0.9, "promoted"),
        ("macro_f1", 0.91, 0.9, "promoted"),
        ("macro_f1", 0.89, 0.9, "kept"),
        ("rmse", 1.0, 1.0, "promoted"),
        ("rmse", 0.9, 1.0, "promoted"),
        ("rmse", 1.1, 1.0, "kept"),
        ("log_loss", 0.5, 0.4, "kept"),
        ("r2", 0.5, 0.4, "promoted"),
        ("macro_f1", 0.9, NAN, "kept"),
    ],
)
def test_a_challenger_takes_over_only_if_it_is_not_worse(
    primary: Metric, challenger: float, champion: float, outcome: str
) -> None:
    constant = 9.0 if primary in {"rmse", "log_loss"} else -9.0

    decision = _decide(challenger, primary=primary, constant=constant, champion=champion)

    assert decision.outcome == outcome
    assert "champion v3" in decision.reason


def test_a_champion_that_cannot_be_compared_stays_and_the_reason_is_told() -> None:
    champion = ChampionScores("7", None, "column 'safety' is missing")

    decision = _decide(0.99, champion=champion)

    assert decision.outcome == "kept"
    assert decision.reason == (
        "champion v7 cannot be compared: column 'safety' is missing; to replace it all the same, "
        "give the new version its alias in MLflow"
    )


def test_a_champion_without_the_primary_metric_stays() -> None:
    champion = ChampionScores("7", {"accuracy": 0.9})

    decision = _decide(0.99, champion=champion)

    assert decision.outcome == "kept"
    assert "macro_f1 is not defined on these test rows" in decision.reason


def test_a_rejected_model_is_told_everything_that_was_wrong() -> None:
    decision = _decide(0.1, floor=0.5, constant=0.2)

    assert decision.outcome == "rejected"
    assert "floor: macro_f1 0.1000, needed ≥ 0.5" in decision.reason
    assert "baseline: macro_f1 0.1000, a constant prediction has 0.2000" in decision.reason
