"""What a training has made already is no baseline to train once more, and is never served."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding import EncodedSplit
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.evaluation.baselines import EncodedSplits
from pipeline_lib.evaluation.evaluate import evaluate_model
from pipeline_lib.evaluation.results import EvaluationResult
from pipeline_lib.fitting import TrainingSession, save_held, split_rows, start_on_rows
from pipeline_lib.training.keeper import Keeper
from tests.unit.encoding.in_memory import write_split

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]

TREES = {"kind": "boosting", "max_rounds": 60, "learning_rate": 0.3}
DULL = {"kind": "linear", "l2": 1e9}  # hardly more than a constant: a blend has no use for it
NET = {"kind": "tabular_mlp", "d_hidden": [8]}


@pytest.fixture
def make(table_config: MakeConfig) -> MakeConfig:
    """Return a factory of configs with a model; a list is that of a blend's members."""

    def config(model: Any, **sections: Any) -> PipelineConfig:
        tree = table_config(**sections).model_dump(mode="json")
        settings = {"kind": "blend", "members": model} if isinstance(model, list) else model
        return PipelineConfig.model_validate({**tree, "model": settings})

    return config


def _trained(config: PipelineConfig, table: pa.Table, folder: Path) -> TrainingSession:
    session = start_on_rows(config, table)
    list(session.epochs())
    session.fitted().save(folder / "model")
    return session


def _evaluated(session: TrainingSession, table: pa.Table, folder: Path) -> EvaluationResult:
    """Return the result of a training as the nightly run makes it."""
    held = save_held(session, folder / "model", folder / "baselines")
    model, files = load_model(folder / "model"), list[SplitFile]()
    for number, rows in enumerate(split_rows(table, session.config)):
        split = EncodedSplit.of(rows, model.encoder, model.target)
        write_split(folder / f"{number}.parquet", split, model.encoder, model.target)
        files.append(SplitFile(folder / f"{number}.parquet", model.encoder))
    test_rows = [split_rows(table, session.config)[2]]
    return evaluate_model(
        session.config,
        model,
        test_rows,
        splits=EncodedSplits(*files),
        out=folder / "predictions.parquet",
        held=held,
    ).result


def _untrainable(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    for kind in kinds:

        def refuse(*_: object, kind: str = kind) -> None:
            pytest.fail(f"{kind} was trained twice")

        name = {"linear": "linear.LinearKind", "boosting": "boosting.BoostingKind"}[kind]
        monkeypatch.setattr(f"pipeline_lib.models.{name}.fit", refuse)


@pytest.mark.parametrize("kind", ["linear", "boosting"])
def test_a_model_of_the_kind_of_a_baseline_is_that_baseline(
    make: MakeConfig,
    toy_table: MakeTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    table = toy_table(300)
    session = _trained(make({"kind": kind}), table, tmp_path)
    _untrainable(monkeypatch, kind)

    result = _evaluated(session, table, tmp_path)

    assert result.baselines[kind] == result.scores
    assert result.fit_s[kind] == session.training.figures.fit_s > 0
    again = "fitted again on training and validation rows; it was not trained twice"
    assert f"the baseline {kind} is the new model itself, {again}" in result.notes
    assert result.worth is not None
    assert result.worth.baseline != kind
    assert not (tmp_path / "baselines").exists()


def test_members_of_a_blend_are_its_baselines_whatever_their_weights(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, config = toy_table(300), make([DULL, TREES])
    session = _trained(config, table, tmp_path)
    _untrainable(monkeypatch, "linear", "boosting")

    result = _evaluated(session, table, tmp_path)

    monkeypatch.undo()
    assert any("weight 0.00" in note for note in result.notes), "none is without weight"
    for kind, settings in (("linear", DULL), ("boosting", TREES)):
        alone = fit(make(settings), table)
        test = split_rows(table, config)[2]
        predicted = alone.predict(test.drop(["label"]))["prediction"]
        accuracy = np.mean(predicted.to_numpy() == test["label"].to_numpy())
        assert result.baselines[kind]["accuracy"] == pytest.approx(accuracy)
        assert result.fit_s[kind] > 0
    assert {path.name for path in (tmp_path / "baselines").iterdir()} == {"linear", "boosting"}


def test_the_saved_model_holds_no_member_without_weight(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    session = _trained(make([DULL, TREES]), toy_table(300), tmp_path)
    before = set((tmp_path / "model").rglob("*"))

    save_held(session, tmp_path / "model", tmp_path / "baselines")

    assert set((tmp_path / "model").rglob("*")) == before
    assert len(list((tmp_path / "model" / "members").iterdir())) == 1


def test_of_two_members_of_a_kind_the_one_with_its_defaults_is_the_baseline(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    config = make([{"kind": "linear", "l2": 9.0}, {"kind": "linear"}])
    session = _trained(config, toy_table(300), tmp_path)

    held = save_held(session, tmp_path / "model", tmp_path / "baselines")

    assert set(held) == {"linear"}
    assert load_model(held["linear"].folder).kind.settings.model_dump() == {
        "kind": "linear",
        "l2": 1.0,
        "max_passes": 1000,
    }


def test_a_baseline_that_the_config_does_not_ask_for_is_not_kept(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    config = make([{"kind": "linear"}], evaluation={"baselines": ["constant", "boosting"]})
    session = _trained(config, toy_table(300), tmp_path)

    assert save_held(session, tmp_path / "model", tmp_path / "baselines") == {}


class _Stopped(BaseException):
    """What a signal raises."""


def test_a_member_that_had_ended_before_a_kill_is_still_the_baseline(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    table, config = toy_table(300), make([TREES, NET, {"kind": "linear"}], training={"epochs": 4})
    first, place = start_on_rows(config, table), tmp_path / "run"
    place.mkdir()
    with suppress(_Stopped), Keeper(first.training.resumable, place, key="k", every_s=1):
        for record in first.epochs():
            if record.epoch == 2:
                raise _Stopped
    again = start_on_rows(config, table)
    Keeper(again.training.resumable, place, key="k", every_s=1)
    list(again.epochs())
    again.fitted().save(tmp_path / "model")

    held = save_held(again, tmp_path / "model", tmp_path / "baselines")

    assert held["boosting"].fit_s > 0
    (tmp_path / "whole").mkdir()
    whole = _trained(config, table, tmp_path / "whole")
    expected = save_held(whole, tmp_path / "whole" / "model", tmp_path / "whole" / "baselines")
    for kind in ("boosting", "linear"):
        ours, theirs = (load_model(found[kind].folder) for found in (held, expected))
        assert ours.predict(table).equals(theirs.predict(table))
