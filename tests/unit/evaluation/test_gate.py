"""The gate lets through what is shown to be good enough, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from pipeline_lib.config.metrics import Metric
from pipeline_lib.evaluation.comparison import Difference, Scores
from pipeline_lib.evaluation.gate import ChampionScores, Decision, decide_promotion
from pipeline_lib.evaluation.results import EvaluationResult

NAN = float("nan")


def _difference(metric: Metric, ours: float, theirs: float, error: float = 0.01) -> Difference:
    """Return a difference whose bound is that of a normal distribution."""
    better = theirs - ours if metric in {"rmse", "log_loss", "brier", "mae"} else ours - theirs
    return Difference(metric, better, error, better - 1.645 * error)


def _decide(
    value: float | None = 0.9,
    *,
    primary: Metric = "macro_f1",
    constant: float | None = 0.2,
    champion: float | ChampionScores | None = None,
    floor: float | None = None,
    losses: tuple[float, float] = (0.3, 0.7),
    error: float = 0.01,
    n_rows: int = 200,
    finite: bool = True,
    chance: float = 0.05,
    says_one_thing: bool = False,
    is_first: bool = True,
) -> Decision:
    """Decide about a model; `losses` are its second metric and that of a constant."""
    second: Metric = "rmse" if primary in {"rmse", "mae", "r2"} else "log_loss"
    scores: Scores = {second: losses[0]} | ({} if value is None else {primary: value})
    baselines: dict[str, Scores] = {}
    against = None
    if constant is not None:
        baselines["constant"] = {second: losses[1], primary: constant}
        metric = primary if value is not None else second
        ours, theirs = scores[metric], baselines["constant"][metric]
        against = _difference(metric, ours, theirs, error)
    result = EvaluationResult(
        scores,
        baselines,
        n_rows=n_rows,
        against_constant=against,
        against_chance=Difference(primary, 0.1, 0.01, chance),
        finite=finite,
        constant=says_one_thing,
        classes=(),
        predictions=Path("x"),
    )
    if isinstance(champion, float):
        known = _difference(primary, value or 0.0, champion, error)
        champion = ChampionScores("3", {primary: champion}, difference=known)
    return decide_promotion(
        primary,
        result,
        champion=champion,
        floor=floor,
        min_test_rows=50,
        max_standard_error=0.05,
        is_first=is_first,
    )


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
        ("brier", 0.21, 0.2, "rejected"),
        ("brier", 0.2, 0.2, "promoted"),
        ("average_precision", 0.19, 0.2, "rejected"),
        ("balanced_accuracy", 0.6, 0.5, "promoted"),
        ("r2", 0.0, 0.1, "rejected"),
    ],
)
def test_the_floor_must_be_reached_from_the_right_side(
    primary: Metric, value: float, floor: float, outcome: str
) -> None:
    constant = 9.0 if primary in {"rmse", "brier"} else -9.0

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


@pytest.mark.parametrize(("error", "outcome"), [(0.06, "promoted"), (0.061, "rejected")])
def test_a_model_beats_a_constant_only_if_the_bound_of_the_difference_is_above_zero(
    error: float, outcome: str
) -> None:
    decision = _decide(0.3, constant=0.2, error=error)  # 0.1 / 1.645 = 0.0608

    assert decision.outcome == outcome
    assert ("95 % bound of the difference -0.0003" in decision.reason) is (outcome == "rejected")


@pytest.mark.parametrize("champion", [None, 0.1])
@pytest.mark.parametrize(("loss", "outcome"), [(0.68, "promoted"), (0.686, "rejected")])
def test_a_model_whose_log_loss_is_no_better_than_a_constants_is_rejected(
    champion: float | None, loss: float, outcome: str
) -> None:
    decision = _decide(0.9, losses=(loss, 0.686), champion=champion)

    assert decision.outcome == outcome
    if outcome == "rejected":
        assert decision.reason == (
            "baseline loss: log_loss 0.6860, needed below the 0.6860 of a constant prediction"
        )


@pytest.mark.parametrize("primary", ["r2", "mae"])
def test_a_regression_has_to_beat_a_constants_rmse_too(primary: Metric) -> None:
    value, constant = (0.4, 0.0) if primary == "r2" else (1.0, 2.0)

    decision = _decide(value, primary=primary, constant=constant, losses=(3.0, 2.9))

    assert decision.outcome == "rejected"
    assert decision.reason == (
        "baseline loss: rmse 3.0000, needed below the 2.9000 of a constant prediction"
    )


def test_without_a_constant_baseline_nothing_is_promoted() -> None:
    decision = _decide(constant=None)

    assert decision.outcome == "rejected"
    assert "no constant baseline to compare with" in decision.reason


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"says_one_thing": True}, "varies"),
        ({"finite": False}, "finite"),
        ({"floor": 0.1, "value": None}, "floor"),
        ({"value": NAN, "losses": (NAN, 0.7)}, "measured"),
        ({"value": None, "losses": (0.3, NAN)}, "measured"),
        ({"value": NAN, "floor": 0.1}, "floor"),
        ({"losses": (NAN, 0.7)}, "baseline loss"),
        ({"losses": (0.3, NAN)}, "baseline loss"),
        ({"error": NAN}, "baseline"),
        ({"chance": 0.0}, "chance"),
        ({"chance": -0.01}, "chance"),
        ({"chance": NAN}, "chance"),
    ],
)
@pytest.mark.parametrize("champion", [None, 0.1])
def test_what_cannot_be_shown_is_a_no(
    change: dict[str, Any], check: str, champion: float | None
) -> None:
    decision = _decide(**change, champion=champion)

    assert decision.outcome == "rejected"
    assert f"{check}: " in decision.reason
    assert check in [c.name for c in decision.checks if not c.passed]


@pytest.mark.parametrize(
    ("primary", "challenger", "champion", "outcome"),
    [
        ("macro_f1", 0.9, 0.9, "kept"),
        ("macro_f1", 0.9 + 1e-15, 0.9, "kept"),
        ("macro_f1", 0.91, 0.9, "promoted"),
        ("macro_f1", 0.89, 0.9, "kept"),
        ("rmse", 1.0, 1.0, "kept"),
        ("rmse", 0.9, 1.0, "promoted"),
        ("rmse", 1.1, 1.0, "kept"),
        ("log_loss", 0.5, 0.4, "kept"),
        ("brier", 0.3, 0.2, "kept"),
        ("brier", 0.1, 0.2, "promoted"),
        ("average_precision", 0.3, 0.2, "promoted"),
        ("balanced_accuracy", 0.1, 0.2, "kept"),
        ("r2", 0.5, 0.4, "promoted"),
    ],
)
def test_a_challenger_takes_over_only_if_it_is_better_so_a_tie_keeps_the_champion(
    primary: Metric, challenger: float, champion: float, outcome: str
) -> None:
    constant = 9.0 if primary in {"rmse", "log_loss", "brier"} else -9.0

    decision = _decide(challenger, primary=primary, constant=constant, champion=champion)

    assert decision.outcome == outcome
    assert "champion v3" in decision.reason


@pytest.mark.parametrize(
    ("value", "champion"), [(0.9, 0.8999), (0.9, 0.85)], ids=["within the error", "far ahead"]
)
def test_a_better_model_is_promoted_whether_or_not_the_difference_is_significant(
    value: float, champion: float
) -> None:
    decision = _decide(value, champion=champion, error=0.02)

    assert decision.outcome == "promoted"
    assert decision.notes == ()
    assert "is better than champion v3" in decision.reason


def test_a_tie_says_so() -> None:
    decision = _decide(1.0, champion=1.0, n_rows=200)

    assert decision.reason == (
        "macro_f1 1.0000 is a tie with champion v3 with 1.0000 on the same rows (+0.0000), "
        "standard error 0.0100"
    )


@pytest.mark.parametrize(("n_rows", "outcome"), [(5, "kept"), (49, "kept"), (50, "promoted")])
def test_fewer_test_rows_than_the_setting_keep_the_champion_and_it_is_said(
    n_rows: int, outcome: str
) -> None:
    decision = _decide(0.9, champion=0.8, n_rows=n_rows)

    said = f"{n_rows} test rows are too few to replace a champion (promotion.min_test_rows: 50)"
    assert decision.outcome == outcome
    assert (said in decision.reason) is (outcome == "kept")
    assert decision.notes == ((said,) if outcome == "kept" else ())


@pytest.mark.parametrize(
    ("primary", "value", "champion", "error", "outcome"),
    [
        ("macro_f1", 0.9, 0.8, 0.049, "promoted"),
        ("macro_f1", 0.9, 0.8, 0.051, "kept"),
        ("r2", 0.3, 0.2, 0.049, "promoted"),
        ("rmse", 150.0, 200.0, 9.9, "promoted"),
        ("rmse", 150.0, 200.0, 10.1, "kept"),
        ("log_loss", 0.3, 0.4, 0.019, "promoted"),
        ("log_loss", 0.3, 0.4, 0.021, "kept"),
        ("brier", 0.1, 0.2, 0.0099, "promoted"),
        ("brier", 0.1, 0.2, 0.0101, "kept"),
        ("average_precision", 0.9, 0.5, 0.049, "promoted"),
        ("average_precision", 0.9, 0.5, 0.051, "kept"),
        ("macro_f1", 0.9, 0.8, NAN, "kept"),
    ],
)
def test_a_difference_that_is_not_precise_enough_keeps_the_champion_and_it_is_said(
    primary: Metric, value: float, champion: float, error: float, outcome: str
) -> None:
    constant = 999.0 if primary in {"rmse", "log_loss", "brier"} else -99.0
    known = ChampionScores(
        "3", {primary: champion}, difference=_difference(primary, value, champion, error)
    )

    decision = _decide(value, primary=primary, constant=constant, champion=known)

    assert decision.outcome == outcome
    assert ("promotion.max_standard_error: 0.05" in decision.reason) is (outcome == "kept")
    assert (len(decision.notes) == 1) is (outcome == "kept")


def test_a_first_model_may_be_tested_on_few_rows_if_it_surely_beats_a_constant() -> None:
    decision = _decide(0.9, n_rows=22)

    assert decision.outcome == "promoted"
    assert decision.notes == ("this first model was judged on only 22 test rows",)


@pytest.mark.parametrize("who", ["challenger", "champion"])
@pytest.mark.parametrize("loss", [0.2, 0.4])
def test_a_primary_metric_that_one_model_lacks_counts_for_neither_and_log_loss_decides(
    who: str, loss: float
) -> None:
    ours, theirs = (None, 0.1) if who == "challenger" else (0.9, NAN)
    champion = ChampionScores(
        "7",
        {"roc_auc": theirs, "log_loss": 0.3},
        difference=_difference("log_loss", loss, 0.3),
    )

    decision = _decide(ours, primary="roc_auc", losses=(loss, 0.7), champion=champion)

    assert decision.outcome == ("promoted" if loss < 0.3 else "kept")
    assert f"log_loss {loss:.4f} is " in decision.reason
    assert decision.notes == ("roc_auc is not defined on these test rows, so log_loss decides",)


def test_a_first_model_without_its_primary_metric_is_judged_by_log_loss() -> None:
    decisions = [_decide(None, primary="roc_auc", losses=(loss, 0.7)) for loss in (0.3, 0.69)]

    assert [decision.outcome for decision in decisions] == ["promoted", "rejected"]
    assert decisions[0].reason == "first model that is good enough: log_loss 0.3000"
    for decision in decisions:
        assert "so log_loss decides" in decision.notes[0]


def test_a_champion_that_cannot_be_compared_stays_and_the_reason_is_told() -> None:
    champion = ChampionScores("7", None, "column 'safety' is missing")

    decision = _decide(0.99, champion=champion)

    assert decision.outcome == "kept"
    assert decision.reason == (
        "champion v7 cannot be compared: column 'safety' is missing; `--promote`, or the alias "
        "`champion` in MLflow, replaces it anyway"
    )
    assert decision.notes == (decision.reason,)
    assert not decision.is_comparable


def test_a_champion_that_can_be_compared_is_told_from_one_that_cannot() -> None:
    assert _decide(0.9, champion=0.8).is_comparable
    assert _decide(0.7, champion=0.8).is_comparable
    assert _decide(0.9).is_comparable


def test_a_champion_without_primary_metric_and_log_loss_stays() -> None:
    champion = ChampionScores("7", {"accuracy": 0.9})

    decision = _decide(0.99, champion=champion)

    assert decision.outcome == "kept"
    assert "macro_f1 is not defined on these test rows" in decision.reason


def test_a_rejected_model_is_told_everything_that_was_wrong() -> None:
    decision = _decide(0.1, floor=0.5, constant=0.2)

    assert decision.outcome == "rejected"
    assert "floor: macro_f1 0.1000, needed ≥ 0.5" in decision.reason
    assert "baseline: macro_f1 0.1000, a constant prediction has 0.2000" in decision.reason


def test_a_champion_that_was_taken_out_makes_no_first_model() -> None:
    decision = _decide(0.9, champion=None, is_first=False)

    assert decision.outcome == "promoted"
    assert decision.reason == "no champion to compare with; good enough: macro_f1 0.9000"
