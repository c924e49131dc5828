"""CatBoost: its own trees, saved as JSON that is checked; skipped where the extra is absent."""

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.models import CatBoostSettings
from pipeline_lib.errors import ModelError, TrainingError
from pipeline_lib.fitting import TrainingSession, start_on_rows
from pipeline_lib.models.catboost_trees import TREES_FILE, CatBoostKind, CatBoostModel
from pipeline_lib.training.records import Progress
from pipeline_lib.training.rows import TensorSplit

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]

with_catboost = pytest.mark.skipif(
    find_spec("catboost") is None, reason="the extra `catboost` is not installed"
)
TASKS = ("binary", "multiclass", "regression")


@pytest.fixture
def make(table_config: MakeConfig) -> MakeConfig:
    """Return a factory of configs of CatBoost; `model` are its settings."""

    def config(model: dict[str, Any] | None = None, **sections: Any) -> PipelineConfig:
        tree = table_config(**sections).model_dump(mode="json")
        settings = {"kind": "catboost", "max_rounds": 30, **(model or {})}
        return PipelineConfig.model_validate({**tree, "model": settings})

    return config


def _inputs(split: object) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    assert isinstance(split, TensorSplit)
    return split.x_cat.numpy(), split.x_num.numpy(), split.y.numpy()


def _trained(config: PipelineConfig, table: pa.Table) -> tuple[TrainingSession, CatBoostModel]:
    session = start_on_rows(config, table)
    list(session.epochs())
    model = session.training.model()
    assert isinstance(model, CatBoostModel)
    return session, model


@with_catboost
@pytest.mark.parametrize("task", TASKS)
def test_trees_are_those_of_catboosts_own_interface(
    make: MakeConfig, toy_table: MakeTable, task: str
) -> None:
    import catboost  # pyright: ignore[reportMissingImports]

    config = make(data={"task": task}, training={"refit": False})
    session, ours = _trained(config, toy_table(400, task=task))
    (x_cat, x_num, y), val = _inputs(session.given.train), _inputs(session.given.val)
    is_number = task == "regression"
    theirs = (catboost.CatBoostRegressor if is_number else catboost.CatBoostClassifier)(
        iterations=30,
        early_stopping_rounds=100,
        random_seed=0,
        thread_count=1,
        verbose=False,
        allow_writing_files=False,
    )

    def rows(codes: npt.NDArray[Any], numbers: npt.NDArray[Any]) -> list[list[Any]]:
        return [[*map(int, c), *map(float, n)] for c, n in zip(codes, numbers, strict=True)]

    theirs.fit(rows(x_cat, x_num), y, cat_features=[0], eval_set=(rows(*val[:2]), val[2]))

    answers = theirs.predict(rows(*val[:2])) if is_number else theirs.predict_proba(rows(*val[:2]))
    expected = np.asarray(answers).reshape(len(val[2]), -1)
    np.testing.assert_allclose(ours.scores(*val[:2]), expected, atol=1e-9)
    assert ours.learning_rate == pytest.approx(theirs.learning_rate_)


@with_catboost
@pytest.mark.parametrize("task", TASKS)
def test_a_refit_keeps_the_rounds_and_the_learning_rate(
    make: MakeConfig, toy_table: MakeTable, task: str
) -> None:
    table, settings = toy_table(400, task=task), {"max_rounds": 300, "patience": 5}
    sections = {"data": {"task": task}}

    _, alone = _trained(make(settings, **sections, training={"refit": False}), table)
    _, both = _trained(make(settings, **sections), table)

    assert (both.size, both.learning_rate) == (alone.size, alone.learning_rate)
    assert both.text != alone.text


@with_catboost
def test_a_saved_model_is_json_that_names_what_it_requires(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    table = toy_table(400)
    model = fit(make(), table)
    model.save(tmp_path / "model")

    loaded = load_model(tmp_path / "model")

    assert model.predict(table).equals(loaded.predict(table))
    assert loaded.kind.requirements == ("catboost",)
    saved = json.loads((tmp_path / "model" / TREES_FILE).read_text("utf-8"))
    assert len(saved["oblivious_trees"]) == 30


def _set(value: object, *keys: str | int) -> Callable[[Any], None]:
    def change(tree: Any) -> None:
        for key in keys[:-1]:
            tree = tree[key]
        tree[keys[-1]] = value

    return change


@with_catboost
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set(9999, "oblivious_trees", 0, "splits", 0, "split_index"), "does not exist"),
        (_set(-1, "oblivious_trees", 0, "splits", 0, "split_index"), "does not exist"),
        (_set([0.0], "oblivious_trees", 0, "leaf_values"), "other leaves"),
        (_set("x", "oblivious_trees", 0, "leaf_values", 0), "no finite number"),
        (_set([1, [0.0, 0.0]], "scale_and_bias"), "number of classes"),
        (_set([], "features_info", "float_features"), "the encoder has 1 and"),
        (_set(7, "features_info", "categorical_features", 0, "feature_index"), "another column"),
        (_set([2.0, 1.0], "features_info", "float_features", 0, "borders"), "do not ascend"),
        (_set([{}], "features_info", "ctrs"), "damaged"),
        (lambda tree: tree.pop("oblivious_trees"), "damaged"),
    ],
)
def test_a_file_of_trees_that_catboost_did_not_write_is_refused(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path, change: Any, said: str
) -> None:
    model = fit(make(), toy_table(300))
    assert isinstance(model.model, CatBoostModel)
    spec = dict(model.model.save(tmp_path))
    tree = json.loads((tmp_path / TREES_FILE).read_text("utf-8"))
    change(tree)
    (tmp_path / TREES_FILE).write_text(json.dumps(tree), "utf-8")

    with pytest.raises(ValueError, match=said):
        model.kind.load(tmp_path, spec, model.model.dimensions)


@with_catboost
def test_statistics_that_catboost_did_not_write_are_refused(
    make: MakeConfig, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    words = random.integers(0, 40, 600)
    label = np.where((words % 3 == 0) ^ (random.random(600) < 0.1), "yes", "no")
    table = pa.table({"color": words.astype(str), "size": random.normal(size=600), "label": label})
    model = fit(make(data={"task": "binary"}), table)
    assert isinstance(model.model, CatBoostModel)
    spec = dict(model.model.save(tmp_path))
    whole = (tmp_path / TREES_FILE).read_text("utf-8")
    (name,) = list(json.loads(whole)["ctr_data"])[:1]

    for change, said in (
        (_set(0, "ctr_data", name, "hash_stride"), "is not whole"),
        (_set([1], "ctr_data", name, "hash_map"), "is not whole"),
        (_set({}, "ctr_data"), "are not there"),
        (_set(99, "features_info", "ctrs", 0, "target_border_idx"), "a class that does not exist"),
        (_set([], "features_info", "ctrs", 0, "elements"), "of no column"),
        (
            _set(5, "features_info", "ctrs", 0, "elements", 0, "cat_feature_index"),
            "a column that does not exist",
        ),
    ):
        tree = json.loads(whole)
        change(tree)
        (tmp_path / TREES_FILE).write_text(json.dumps(tree), "utf-8")

        with pytest.raises(ValueError, match=said):
            model.kind.load(tmp_path, spec, model.model.dimensions)


@with_catboost
def test_half_a_file_of_trees_is_refused(
    make: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    model = fit(make(), toy_table(300))
    model.save(tmp_path / "model")
    file = tmp_path / "model" / TREES_FILE
    file.write_bytes(file.read_bytes()[:-200])

    with pytest.raises(ModelError):
        load_model(tmp_path / "model")


@with_catboost
def test_what_a_report_raises_ends_the_fit(
    make: MakeConfig, toy_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_lib.fitting.in_one_call._PULSE_S", 0.0)
    session = start_on_rows(make({"max_rounds": 100_000, "patience": 100_000}), toy_table(300))

    def on_pulse(now: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(session.epochs(on_pulse))


@with_catboost
def test_a_constant_target_is_refused_with_catboosts_reason(make: MakeConfig) -> None:
    size = np.random.default_rng(0).normal(size=300)
    table = pa.table({"color": ["a", "b", "c"] * 100, "size": size, "label": [7.0] * 300})

    with pytest.raises(TrainingError, match=r"CatBoost cannot learn from these rows: .*equal"):
        fit(make(data={"task": "regression"}), table)


@with_catboost
def test_a_blend_with_catboost_answers_as_the_saved_one(
    table_config: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    members = [{"kind": "catboost", "max_rounds": 30}, {"kind": "linear"}]
    tree = table_config().model_dump(mode="json")
    blend = {**tree, "model": {"kind": "blend", "members": members}}
    model = fit(PipelineConfig.model_validate(blend), toy_table(300))
    rows = pd.DataFrame({"color": ["red", "never seen"], "size": [20.0, 21.0]})
    model.save(tmp_path / "model")

    answers = load_model(tmp_path / "model").predict(rows)

    pd.testing.assert_frame_equal(answers, model.predict(rows), check_exact=True)
    assert model.kind.requirements == ("catboost",)


@pytest.mark.parametrize(
    ("model", "place"),
    [
        ({"kind": "catboost"}, r"model\.kind"),
        ({"kind": "blend", "members": [{"kind": "linear"}, {"kind": "catboost"}]}, r"members\.1\."),
    ],
)
def test_a_machine_without_catboost_reads_what_brings_it(
    table_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, model: Any, place: str
) -> None:
    monkeypatch.setitem(sys.modules, "catboost", None)
    tree = table_config().model_dump(mode="json")

    with pytest.raises(ValidationError, match=rf"{place}.*pip install 'evergreen-tables\[catboost"):
        PipelineConfig.model_validate({**tree, "model": model})


def test_a_fit_without_catboost_says_what_brings_it(
    table_config: MakeConfig, toy_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "catboost", None)

    with pytest.raises(TrainingError, match=r"evergreen-tables\[catboost\]"):
        fit(table_config(), toy_table(300), kind=CatBoostKind(CatBoostSettings()))
