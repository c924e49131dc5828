"""A blend: members that learn in their own ways, in one artefact; a failed one is named."""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.models import (
    BlendSettings,
    BoostingSettings,
    LinearSettings,
    MemberSettings,
    TabularMLPSettings,
)
from pipeline_lib.errors import ModelError, TrainingError
from pipeline_lib.fitting import TrainingSession, start_on_rows
from pipeline_lib.models import BlendKind, BlendModel, Dimensions
from pipeline_lib.training.keeper import Keeper

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]

TREES = BoostingSettings(max_rounds=30)
LINE = LinearSettings()
NET = TabularMLPSettings(d_hidden=(8,))


@pytest.fixture
def make(table_config: MakeConfig) -> Callable[..., PipelineConfig]:
    """Return a factory of configs of a blend of members."""

    def config(*members: MemberSettings, **sections: Any) -> PipelineConfig:
        tree = table_config(**sections).model_dump(mode="json")
        settings = BlendSettings(members=members).model_dump(mode="json")
        return PipelineConfig.model_validate({**tree, "model": settings})

    return config


def _answers(config: PipelineConfig, table: pa.Table) -> pd.DataFrame:
    return fit(config, table).predict(table)


@pytest.mark.parametrize("member", [TREES, LINE, NET], ids=lambda m: m.kind)
def test_a_blend_of_one_answers_as_that_model_does(
    make: MakeConfig, toy_table: MakeTable, member: MemberSettings
) -> None:
    table, blend = toy_table(250), make(member)
    alone = {**blend.model_dump(mode="json"), "model": member.model_dump(mode="json")}

    answers = _answers(blend, table)

    expected = _answers(PipelineConfig.model_validate(alone), table)
    pd.testing.assert_frame_equal(answers, expected, check_exact=True)


def test_a_member_that_cannot_be_trained_is_left_out_and_named(
    make: MakeConfig, toy_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    session = start_on_rows(make(TREES, LINE), toy_table(250))

    list(session.epochs())

    (note,) = session.notes_after()
    assert note.startswith("boosting is not part of the blend: LightGBM cannot be loaded")
    assert len(session.fitted().predict(toy_table(250))) == 250


def test_a_blend_without_any_member_is_an_error(
    make: MakeConfig, toy_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)

    with pytest.raises(TrainingError, match="no member could be trained: boosting"):
        fit(make(TREES), toy_table(250))


class _Stopped(BaseException):
    """What a signal raises."""


def test_a_member_that_had_ended_is_not_trained_again(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, table = make(TREES, NET, LINE, training={"epochs": 4}), toy_table(250)
    expected = _answers(config, table)
    first = start_on_rows(config, table)

    with suppress(_Stopped), Keeper(first.training.resumable, tmp_path, key="k", every_s=1):
        for record in first.epochs():
            if record.epoch == 2:
                raise _Stopped
    monkeypatch.setattr("pipeline_lib.models.boosting.BoostingKind.fit", _Stopped)
    again = start_on_rows(config, table)
    keeper = Keeper(again.training.resumable, tmp_path, key="k", every_s=1)
    records = list(again.epochs())

    assert keeper.resumed_at == "member 2 of 3, tabular_mlp, epoch 3"
    assert [record.epoch for record in records] == [3, 4]
    pd.testing.assert_frame_equal(again.fitted().predict(table), expected, check_exact=True)


def test_what_stands_on_the_page_adds_up(make: MakeConfig, toy_table: MakeTable) -> None:
    session = start_on_rows(make(TREES, LINE, NET), toy_table(400))
    list(session.epochs())

    model = session.training.model()
    assert isinstance(model, BlendModel)
    assert sum(member.weight for member in model.members) == pytest.approx(1.0)
    course = session.facts()["blend, by the validation rows"]
    assert all(kind in course for kind in ("boosting", "linear", "tabular_mlp"))


def _saved(session: TrainingSession, folder: Path) -> tuple[BlendKind, dict[str, Any], Dimensions]:
    kind, given = session.kind, session.given
    assert isinstance(kind, BlendKind)
    return kind, {"version": 2, **session.training.model().save(folder)}, given.dimensions


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec.update(members=[]),
        lambda spec: spec.update(temperature=9.0),
        lambda spec: spec["members"][0].update(position=7),
        lambda spec: spec["members"][0].update(position=-1),
        lambda spec: spec["members"][0].update(position="../0"),
        lambda spec: spec["members"][0].update(weight=0.0),
        lambda spec: spec["members"][0].update(weight=float("nan")),
        lambda spec: spec["members"].extend(spec["members"] * 1000),
    ],
)
def test_a_model_file_that_no_blend_wrote_is_refused(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path, change: Callable[[Any], object]
) -> None:
    session = start_on_rows(make(TREES, LINE), toy_table(250))
    list(session.epochs())
    kind, spec, dimensions = _saved(session, tmp_path)
    change(spec)

    with pytest.raises((ValueError, TypeError)):
        kind.load(tmp_path, spec, dimensions)


def test_a_saved_blend_answers_as_it_did_and_misses_a_members_file(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    model = fit(make(LINE, NET), toy_table(250))
    model.save(tmp_path / "model")
    rows = pd.DataFrame({"color": ["red", "never seen"], "size": [20.0, 21.0]})

    again = load_model(tmp_path / "model").predict(rows)
    (file,) = (tmp_path / "model" / "members" / "0").glob("*.safetensors")
    file.unlink()

    pd.testing.assert_frame_equal(again, model.predict(rows), check_exact=True)
    with pytest.raises(ModelError, match="not those of its manifest"):
        load_model(tmp_path / "model")
