"""Boosting: LightGBM's own trees, the same for any number of threads, from tables of any shape."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
import torch

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.errors import ModelError, TrainingError
from pipeline_lib.fitting import TrainingSession, start_on_rows
from pipeline_lib.models.boosting import TREES_FILE, BoostingModel
from pipeline_lib.training.rows import TensorSplit

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


@pytest.fixture
def make(table_config: MakeConfig) -> MakeConfig:
    """Return a factory of configs of boosting; `model` are its settings."""

    def config(model: dict[str, Any] | None = None, **sections: Any) -> PipelineConfig:
        tree = table_config(**sections).model_dump(mode="json")
        settings = {"kind": "boosting", "max_rounds": 40, **(model or {})}
        return PipelineConfig.model_validate({**tree, "model": settings})

    return config


def _fitted(config: PipelineConfig, table: pa.Table) -> tuple[TrainingSession, BoostingModel]:
    session = start_on_rows(config, table)
    list(session.epochs())
    model = session.training.model()
    assert isinstance(model, BoostingModel)
    return session, model


def _inputs(split: object) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    assert isinstance(split, TensorSplit)
    return split.x_cat.numpy(), split.x_num.numpy(), split.y.numpy()


def test_trees_are_those_of_lightgbms_own_interface(make: MakeConfig, toy_table: MakeTable) -> None:
    config = make(data={"task": "binary"}, training={"refit": False})
    session, model = _fitted(config, toy_table(400, task="binary"))
    (x_cat, x_num, y), val = _inputs(session.given.train), _inputs(session.given.val)
    settings = config.model.model_dump(exclude={"kind", "target_statistics", "max_rounds"})

    theirs = lightgbm.LGBMClassifier(
        n_estimators=40,
        subsample_freq=1,
        deterministic=True,
        force_row_wise=True,
        random_state=0,
        n_jobs=1,
        verbose=-1,
        early_stopping_rounds=settings.pop("patience"),
        **settings,
    )
    theirs.fit(
        np.hstack([x_cat, x_num]),
        y,
        eval_set=[(np.hstack(val[:2]), val[2])],
        categorical_feature=[0],
    )

    expected = theirs.predict_proba(np.hstack(val[:2]))
    np.testing.assert_allclose(model.scores(*val[:2]), expected, atol=1e-6)
    assert model.n_rounds == theirs.best_iteration_


@pytest.mark.parametrize("with_statistics", [False, True])
def test_the_number_of_threads_changes_nothing(
    make: MakeConfig,
    toy_table: MakeTable,
    with_statistics: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline_lib.models.boosting._ONE_THREAD_ROWS", 0)
    table, texts = toy_table(3000), list[str]()
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        _, model = _fitted(make({"target_statistics": with_statistics}), table)
        texts.append(model.trees.model_to_string().split("\nparameters:")[0])

    assert texts[0] == texts[1]


def test_rounds_are_chosen_by_validation_and_kept_for_all_rows(
    make: MakeConfig, toy_table: MakeTable
) -> None:
    model = {"max_rounds": 500, "patience": 5}
    table = toy_table(400, task="binary")
    alone, chosen = _fitted(make(model, data={"task": "binary"}, training={"refit": False}), table)
    both, refit = _fitted(make(model, data={"task": "binary"}), table)

    assert chosen.n_rounds == refit.n_rounds < 500
    assert alone.training.figures.val_loss == both.training.figures.val_loss
    rows = _inputs(alone.given.train)[:2]
    assert (chosen.scores(*rows) != refit.scores(*rows)).any()
    assert "training and validation rows" in both.facts()["fit"]


def test_a_refit_sees_the_validation_rows(make: MakeConfig) -> None:
    """One category stands in validation rows alone: only a refit can know it."""
    random = np.random.default_rng(0)
    words = np.array(["a"] * 600 + ["b"] * 200 + ["a"] * 100)
    split = ["train"] * 600 + ["val"] * 200 + ["test"] * 100
    label = np.where(words == "b", "yes", random.choice(["yes", "no"], 900))
    table = pa.table({"color": words, "size": random.normal(size=900), "label": label, "s": split})
    sections = {"data": {"task": "binary"}, "split": {"kind": "predefined", "column": "s"}}
    rows = pd.DataFrame({"color": ["b"], "size": [0.0]})

    alone = fit(make(**sections, training={"refit": False}), table).predict(rows)
    again = fit(make(**sections), table).predict(rows)

    assert again["probability_yes"][0] > alone["probability_yes"][0]


@pytest.mark.parametrize("model", [{}, {"target_statistics": True}])
def test_streamed_rows_give_the_trees_of_rows_in_memory(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path, model: dict[str, Any]
) -> None:
    from tests.unit.encoding.in_memory import write_split

    config, table = make(model), toy_table(2000)
    session, in_memory = _fitted(config, table)
    paths: list[Path] = []
    for name, split in (("train", session.given.train), ("val", session.given.val)):
        x_cat, x_num, y = _inputs(split)
        paths.append(tmp_path / f"{name}.parquet")
        from pipeline_lib.encoding import EncodedSplit

        write_split(paths[-1], EncodedSplit(x_cat, x_num, y), session.encoder, session.target)
    tree = config.model_dump(mode="json")
    tree["training"]["memory_budget_mb"] = 1
    streamed = TrainingSession.start(
        PipelineConfig.model_validate(tree), session.encoder, session.target, *paths
    )
    list(streamed.epochs())

    model_of_both = streamed.training.model()
    rows = _inputs(session.given.train)[:2]
    np.testing.assert_array_equal(model_of_both.scores(*rows), in_memory.scores(*rows))


def test_weights_of_classes_are_weights_of_rows(make: MakeConfig, toy_table: MakeTable) -> None:
    table = toy_table(400, task="binary")
    heavy = {"kind": "cross_entropy", "class_weights": {"blue": 20.0}}
    plain, weighted = (
        fit(make(data={"task": "binary"}, training={"loss": loss}), table)
        for loss in ({"kind": "cross_entropy"}, heavy | {"class_weights": {_positive(table): 20.0}})
    )

    name = f"probability_{_positive(table)}"
    assert weighted.predict(table)[name].mean() > plain.predict(table)[name].mean() + 0.1


def _positive(table: pa.Table) -> str:
    return max(table["label"].to_pylist())


def test_a_number_far_outside_does_not_ruin_a_huber_loss(
    make: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(400, task="regression")
    values = table["label"].to_numpy().copy()
    values[3] = 1e12
    outlier = table.set_column(table.column_names.index("label"), "label", pa.array(values))

    for loss in ({"kind": "mse"}, {"kind": "huber", "delta": 1.0}):
        model = fit(make(data={"task": "regression"}, training={"loss": loss}), outlier)

        assert np.isfinite(model.predict(table)["prediction"]).all()


@pytest.mark.parametrize(
    "cut",
    [
        lambda text: text[: len(text) // 2],
        lambda _: "",
        lambda _: "tree\nend of trees\n",
        lambda text: text.replace("num_leaves=", "num_leaves=9999999"),
        lambda text: text.replace("split_feature=0", "split_feature=99999999"),
        lambda text: text.replace("max_feature_idx=", "max_feature_idx=7"),
    ],
)
def test_trees_that_are_not_those_that_were_saved_are_refused(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path, cut: Callable[[str], str]
) -> None:
    fit(make(), toy_table(300)).save(tmp_path / "model")
    file = tmp_path / "model" / TREES_FILE
    file.write_text(cut(file.read_text()))

    with pytest.raises(ModelError, match="are not those of its manifest"):
        load_model(tmp_path / "model")


def test_half_a_file_of_trees_is_refused_whatever_the_manifest_says(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    model = fit(make(), toy_table(300))
    spec = dict(model.model.save(tmp_path))
    text = (tmp_path / TREES_FILE).read_text()
    (tmp_path / TREES_FILE).write_text(text[: len(text) // 2])
    assert isinstance(model.model, BoostingModel)

    with pytest.raises(ValueError, match="not whole"):
        model.kind.load(tmp_path, spec, model.model.dimensions)


def test_a_machine_without_lightgbm_reads_one_line(
    make: MakeConfig, toy_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)

    with pytest.raises(TrainingError, match=r"^LightGBM cannot be loaded: .*pip install lightgbm"):
        fit(make(), toy_table(300))


WIDE = {f"x{n}": {"kind": "number"} for n in range(1000)}
CLASSES = [["1", "2", "3"], ["true", "false"], [" ", "  "], ["🙂", "🙃", "{}"], ['a"b', "c:d,e"]]


def test_a_table_of_a_thousand_columns_is_learned_from(make: MakeConfig) -> None:
    random = np.random.default_rng(0)
    columns = {name: random.normal(size=200) for name in WIDE}
    table = pa.table({**columns, "label": np.where(columns["x0"] > 0, "a", "b")})

    model = fit(make({"max_rounds": 5}, data={"task": "binary"}, columns=WIDE), table)

    assert len(model.predict(table)) == 200


@pytest.mark.parametrize("classes", CLASSES)
def test_classes_of_any_name_are_learned(make: MakeConfig, classes: list[str]) -> None:
    random = np.random.default_rng(0)
    colors = random.choice(classes, 300)
    table = pa.table({"color": colors, "size": random.normal(size=300), "label": colors})
    task = "binary" if len(classes) == 2 else "multiclass"

    model = fit(make({"max_rounds": 60}, data={"task": task, "classes": classes}), table)

    assert (model.predict(table)["prediction"].astype(str) == colors).mean() > 0.9


def test_a_category_of_its_own_for_each_row_is_no_reason_to_stop(make: MakeConfig) -> None:
    random = np.random.default_rng(0)
    words, size = [f"w{n}" for n in range(500)], random.normal(size=500)
    table = pa.table({"color": words, "size": size, "label": np.where(size > 0, "a", "b")})

    for statistics in (False, True):
        config = make({"target_statistics": statistics}, data={"task": "binary"})
        model = fit(config, table)

        assert (model.predict(table)["prediction"] == table["label"].to_pandas()).mean() > 0.9
