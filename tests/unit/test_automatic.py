"""`model: {kind: auto}` from a config to a saved model: what it chose is trained, said and kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.models import LinearSettings
from pipeline_lib.fitting import TrainingSession, start_on_rows
from pipeline_lib.models import member_kind

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


@pytest.fixture
def config(table_config: MakeConfig) -> PipelineConfig:
    """Return a config that leaves all but the epochs to `auto`."""
    return _auto(table_config, epochs=2)


def _auto(table_config: MakeConfig, **training: Any) -> PipelineConfig:
    tree = table_config().model_dump(mode="json")
    tree |= {"model": {"kind": "auto"}, "training": {"device": "cpu", **training}}
    return PipelineConfig.model_validate(tree)


def _trained(session: TrainingSession) -> TrainingSession:
    for _ in session.epochs():
        pass
    return session


def test_a_table_is_learned_by_the_blend_that_is_chosen_for_its_shape(
    config: PipelineConfig, toy_table: MakeTable
) -> None:
    session = _trained(start_on_rows(config, toy_table(200)))

    n_train = session.given.train.n_rows
    assert session.kind.name == session.config.model.kind == "blend"
    assert session.config.training.epochs == 2
    assert session.config.training.optimizer.kind == "adamw"
    assert f"{n_train} training rows" in session.facts()["chosen by auto"]
    assert "target statistics: 1 of 1 category columns" in session.facts()["chosen by auto"]


def test_the_saved_model_holds_the_settings_that_were_chosen(
    config: PipelineConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    fitted = fit(config, toy_table(200))
    fitted.save(tmp_path / "model")

    spec = json.loads((tmp_path / "model" / "model.json").read_text("utf-8"))
    again = load_model(tmp_path / "model")

    assert spec["model"]["kind"] == "blend"
    assert spec["model"]["members"][0]["learning_rate"] == 0.03
    rows = toy_table(20, seed=1).drop_columns(["label"])
    assert again.predict(rows).equals(fitted.predict(rows))


def test_a_model_that_claims_to_be_auto_is_none(
    config: PipelineConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    from pipeline_lib.errors import ModelError
    from pipeline_lib.storage.publishing import publish

    fit(config, toy_table(200)).save(tmp_path / "model")
    with publish(tmp_path / "forged", {}) as scratch:
        for file in (tmp_path / "model").rglob("*"):
            if file.is_file() and file.name != "manifest.json":
                place = scratch / file.relative_to(tmp_path / "model")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.read_bytes())
        spec = json.loads((scratch / "model.json").read_text("utf-8"))
        (scratch / "model.json").write_text(json.dumps({**spec, "model": {"kind": "auto"}}))

    with pytest.raises(ModelError, match="'auto'"):
        load_model(tmp_path / "forged")


def test_the_same_rows_and_config_are_trained_alike(
    config: PipelineConfig, toy_table: MakeTable
) -> None:
    table = toy_table(200)

    first, second = (_trained(start_on_rows(config, table)) for _ in range(2))

    assert first.config.digest() == second.config.digest()
    assert first.training.figures.val_loss == second.training.figures.val_loss


def test_a_kind_of_ones_own_is_trained_as_auto_would_train_a_network(
    config: PipelineConfig, toy_table: MakeTable
) -> None:
    session = start_on_rows(config, toy_table(200), kind=member_kind(LinearSettings()))

    assert session.kind.name == "linear"
    assert session.config.training.ema_decay is not None
    assert not session.reasons


def test_the_config_itself_is_left_as_it_is(config: PipelineConfig, toy_table: MakeTable) -> None:
    before = config.digest()

    start_on_rows(config, toy_table(200))

    assert config.digest() == before
    assert config.model.kind == "auto"
