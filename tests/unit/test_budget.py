"""A budget of CPU seconds is turned into lengths once; who repeats a run keeps its plan."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.models import BlendSettings, BoostingSettings, LinearSettings
from pipeline_lib.errors import StorageError, TrainingError
from pipeline_lib.fitting import TrainingSession, start_on_rows
from pipeline_lib.fitting.budget import Cost, shared_out, within_budget
from pipeline_lib.models import member_kind

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]

COSTS = st.builds(
    Cost,
    fixed_s=st.floats(0, 10),
    unit_s=st.floats(1e-6, 10),
    one=st.just("round"),
    units=st.just("rounds"),
    most=st.integers(50, 10_000),
    least=st.integers(1, 50),
    weight=st.floats(0.1, 3),
)


@given(costs=st.lists(COSTS, min_size=1, max_size=6), seconds=st.floats(0, 1e6))
def test_what_is_shared_out_is_paid_for(costs: list[Cost], seconds: float) -> None:
    lengths = shared_out(costs, seconds)

    needed = sum(cost.seconds(cost.least) for cost in costs)
    if seconds < needed:
        assert all(n < cost.least for n, cost in zip(lengths, costs, strict=True))
        return
    assert all(cost.least <= n <= cost.most for n, cost in zip(lengths, costs, strict=True))
    spent = sum(cost.seconds(n) for n, cost in zip(lengths, costs, strict=True))
    assert spent <= seconds * (1 + 1e-9) or spent <= needed * (1 + 1e-9)


@given(costs=st.lists(COSTS, min_size=1, max_size=6))
def test_with_seconds_enough_all_have_the_length_that_they_ask_for(costs: list[Cost]) -> None:
    enough = sum(cost.seconds(cost.most + 1) for cost in costs) * len(costs) * 40

    assert shared_out(costs, enough) == [cost.most for cost in costs]


def _started(
    table_config: MakeConfig, table: pa.Table, model: dict[str, Any], **training: Any
) -> TrainingSession:
    tree = table_config().model_dump(mode="json")
    settings = {"device": "cpu", "batch_size": 16, "epochs": 100_000, **training}
    tree |= {"model": model, "training": settings}
    return start_on_rows(PipelineConfig.model_validate(tree), table)


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ({"kind": "boosting", "max_rounds": 100_000}, "max_rounds"),
        ({"kind": "linear", "max_passes": 100}, "max_passes"),
        ({"kind": "embedding_mlp"}, "epochs"),
        ({"kind": "tabular_mlp"}, "epochs"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["kind"],
)
def test_each_kind_has_a_length_that_a_budget_bounds(
    table_config: MakeConfig, toy_table: MakeTable, model: dict[str, Any], key: str
) -> None:
    session = _started(table_config, toy_table(120), model, budget_s=10)

    settings = session.config.training if key == "epochs" else session.config.model
    asked = model.get(key, 100_000)
    assert 1 <= getattr(settings, key) <= asked
    assert session.bought[-1].startswith("by speeds measured on this machine")


def test_a_blend_is_planned_whole_and_the_page_says_that_speeds_were_measured(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    session = _started(table_config, toy_table(120), {"kind": "auto"}, epochs=5, budget_s=12)

    for _ in session.epochs():
        pass

    model = session.config.model
    assert isinstance(model, BlendSettings)
    assert isinstance(model.members[0], BoostingSettings)
    assert model.members[0].max_rounds >= 50
    assert "by speeds measured on this machine" in session.facts()["budget"]
    assert session.facts()["chosen by auto"]


def test_what_has_no_place_in_a_small_budget_is_left_out_and_said(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    model = {"kind": "blend", "members": [{"kind": "linear"}, {"kind": "embedding_mlp"}]}

    session = _started(table_config, toy_table(2_000), model, n_members=64, budget_s=4)

    assert isinstance(session.config.model, BlendSettings)
    assert [member.kind for member in session.config.model.members] == ["linear"]
    assert session.bought[0].startswith("no embedding_mlp, for which ")


@pytest.mark.parametrize("kind", ["boosting", "linear", "tabular_mlp", "auto"])
def test_a_budget_too_small_for_anything_is_an_error_that_names_what_it_takes(
    table_config: MakeConfig, toy_table: MakeTable, kind: str
) -> None:
    with pytest.raises(TrainingError, match=r"budget_s: 1e-06 CPU .* too few .* about \d"):
        _started(table_config, toy_table(120), {"kind": kind}, budget_s=1e-6)


def test_a_schedule_that_does_not_go_with_the_epochs_is_an_error(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    schedule = {"kind": "multistep", "milestones": [99_999]}

    with pytest.raises(TrainingError, match=r"CPU seconds pay .* epochs.*99999 is never reached"):
        _started(
            table_config,
            toy_table(120),
            {"kind": "embedding_mlp"},
            budget_s=50,
            scheduler=schedule,
        )


@pytest.fixture
def session(table_config: MakeConfig, toy_table: MakeTable) -> TrainingSession:
    """Return a session whose budget is not turned into a plan yet."""
    model = {"kind": "boosting", "max_rounds": 100_000}
    return _started(table_config, toy_table(120), model)


def _with_budget(session: TrainingSession, file: Path, budget_s: float = 5.0) -> Any:
    from dataclasses import replace

    training = session.config.training.model_copy(update={"budget_s": budget_s})
    config = session.config.model_copy(update={"training": training})
    return within_budget(replace(session.given, config=config), session.kind, file=file)


def test_a_plan_is_kept_and_taken_again(session: TrainingSession, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    first, _, lines = _with_budget(session, file)
    kept = json.loads(file.read_text("utf-8"))
    kept["model"]["max_rounds"] = 77  # as a slower machine had planned
    file.write_text(json.dumps(kept), encoding="utf-8")

    again, kind, said = _with_budget(session, file)

    assert first.model.kind == again.model.kind == "boosting"
    assert again.model.model_dump()["max_rounds"] == 77
    assert kind.settings == again.model
    assert said == lines


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "[" * 100_000, '{"version": 1}', '{"version": 2}']
)
def test_a_plan_that_cannot_be_read_is_made_again(
    session: TrainingSession, tmp_path: Path, damage: str
) -> None:
    file = tmp_path / "plan.json"
    file.write_text(damage, encoding="utf-8")

    config, _, _ = _with_budget(session, file)

    assert json.loads(file.read_text("utf-8"))["model"] == config.model.model_dump(mode="json")


def test_a_plan_that_cannot_be_written_is_an_error_with_its_place(
    session: TrainingSession, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*gone.plan\.json: No such file"):
        _with_budget(session, tmp_path / "gone" / "plan.json")


def test_another_budget_is_another_plan(session: TrainingSession, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    _with_budget(session, file)
    before = json.loads(file.read_text("utf-8"))

    _with_budget(session, file, budget_s=7.0)

    assert json.loads(file.read_text("utf-8"))["asked"] != before["asked"]


def test_a_kind_of_ones_own_cannot_be_planned(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    tree = table_config().model_dump(mode="json")
    tree["training"]["budget_s"] = 5
    config = PipelineConfig.model_validate(tree)

    with pytest.raises(TrainingError, match="kind linear takes is not known; leave it out"):
        start_on_rows(config, toy_table(120), kind=member_kind(LinearSettings()))
