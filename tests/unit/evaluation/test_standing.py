"""What a person, a date or a missing champion change about a decision, and what they never do."""

from dataclasses import replace

import pytest

from pipeline_lib.evaluation.gate import ChampionScores, Check, Decision, Outcome
from pipeline_lib.evaluation.standing import History, Standing, apply_standing

CHAMPION = ChampionScores("1", {"macro_f1": 0.8})
INCOMPARABLE = ChampionScores("1", None, "it predicts another column")
LATER = History(champion_run_date="2026-11-28")
MISSING = History(no_champion="shop has 2 versions in the registry and no champion")
TAKEN = History(taken_back="version 2 has been replaced by version 1 since")


def _decision(outcome: Outcome) -> Decision:
    return Decision(outcome, f"because it is {outcome}", (Check("finite", True, "fine"),))


@pytest.mark.parametrize("outcome", ["promoted", "kept", "rejected"])
@pytest.mark.parametrize("promote", [False, True])
def test_an_ordinary_night_ends_as_the_evidence_says(outcome: Outcome, promote: bool) -> None:
    standing = Standing(promote=promote, run_date="2026-11-28")

    decision = apply_standing(_decision(outcome), standing, LATER, CHAMPION)

    assert decision == _decision(outcome)


@pytest.mark.parametrize("outcome", ["promoted", "kept"])
def test_an_experiment_is_kept_and_says_what_it_came_to_and_how_to_promote(
    outcome: Outcome,
) -> None:
    standing = Standing(experiment="values differ from configs/shop.yaml")

    decision = apply_standing(_decision(outcome), standing, History(), CHAMPION)

    assert decision.outcome == "kept"
    assert "values differ from configs/shop.yaml" in decision.reason
    assert f"because it is {outcome}" in decision.reason
    assert "--promote" in decision.reason
    assert (decision.checks[-1].name, decision.checks[-1].passed) == ("experiment", False)


def test_rows_of_an_older_date_do_not_replace_a_model_of_newer_ones() -> None:
    older = Standing(run_date="2026-11-27")

    decision = apply_standing(_decision("promoted"), older, LATER, CHAMPION)

    assert decision.outcome == "kept"
    assert "2026-11-27" in decision.reason
    assert "2026-11-28" in decision.reason


@pytest.mark.parametrize(
    ("ours", "theirs"), [("2026-11-28", "2026-11-28"), ("2026-11-29", "2026-11-28"), ("", "x")]
)
def test_rows_of_the_same_or_a_later_date_do(ours: str, theirs: str) -> None:
    history = History(champion_run_date=theirs)

    decision = apply_standing(_decision("promoted"), Standing(run_date=ours), history, CHAMPION)

    assert decision.outcome == "promoted"


@pytest.mark.parametrize(
    ("history", "champion"), [(LATER, CHAMPION), (MISSING, None), (TAKEN, CHAMPION)]
)
def test_a_person_overrules_dates_and_absence_but_never_the_evidence(
    history: History, champion: ChampionScores | None
) -> None:
    plain, asked = Standing(run_date="2026-11-01"), Standing(run_date="2026-11-01", promote=True)

    by_itself = apply_standing(_decision("promoted"), plain, history, champion)
    wanted = apply_standing(_decision("promoted"), asked, history, champion)
    worse = apply_standing(_decision("kept"), asked, history, champion)

    assert (by_itself.outcome, wanted.outcome, worse.outcome) == ("kept", "promoted", "kept")
    assert "--promote" in by_itself.reason


@pytest.mark.parametrize("promote", [False, True])
def test_a_rejected_model_stays_rejected_whoever_asks(promote: bool) -> None:
    standing = Standing(experiment="" if promote else "as asked", promote=promote)

    decision = apply_standing(_decision("rejected"), standing, MISSING, INCOMPARABLE)

    assert decision == _decision("rejected")


def test_a_champion_that_cannot_be_compared_is_replaced_only_by_request() -> None:
    kept = replace(_decision("kept"), is_comparable=False)

    by_itself = apply_standing(kept, Standing(), History(), INCOMPARABLE)
    asked = apply_standing(kept, Standing(promote=True), History(), INCOMPARABLE)

    assert by_itself == kept
    assert asked.outcome == "promoted"
    assert asked.reason == "by request, though because it is kept"


@pytest.mark.parametrize("outcome", ["promoted", "kept"])
def test_both_dates_of_an_older_night_are_in_its_reason_and_notes_whatever_the_evidence(
    outcome: Outcome,
) -> None:
    older = Standing(run_date="2026-11-27")

    decision = apply_standing(_decision(outcome), older, LATER, CHAMPION)

    assert decision.outcome == "kept"
    for text in (decision.reason, decision.notes[-1]):
        assert "2026-11-27" in text
        assert "2026-11-28" in text


@pytest.mark.parametrize("outcome", ["promoted", "rejected"])
def test_a_missing_champion_is_noted_also_for_a_model_that_is_not_fit(outcome: Outcome) -> None:
    decision = apply_standing(_decision(outcome), Standing(), MISSING, None)

    assert decision.outcome != "promoted"
    assert decision.notes == (MISSING.no_champion,)


def test_what_a_person_has_overruled_is_in_the_reason() -> None:
    asked = Standing(run_date="2026-11-27", promote=True)

    decision = apply_standing(_decision("promoted"), asked, LATER, CHAMPION)

    assert decision.outcome == "promoted"
    assert "by request, though rows of 2026-11-27 are older" in decision.reason
    assert decision.checks[-1] == Check("by request", True, "the promotion was requested")
