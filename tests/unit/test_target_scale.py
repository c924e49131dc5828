"""Which scale a number is learned on: what chooses it, and what is in the target's own unit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import check_snapshot
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.data.splits.split_rows import SplitRows, split_checked
from pipeline_lib.encoding import NumberTarget
from pipeline_lib.encoding.encoded_splits import encode_splits
from pipeline_lib.errors import ConfigError, ContractError
from pipeline_lib.evaluation.baselines import EncodedSplits, predict_baseline
from pipeline_lib.fitting import TrainingSession, split_rows, start_on_rows, start_training
from pipeline_lib.fitting.target_scale import choose_scale
from pipeline_lib.home import find_home

MakeConfig = Callable[..., PipelineConfig]
Floats = npt.NDArray[np.float64]

BOOSTING: dict[str, Any] = {
    "kind": "boosting",
    "learning_rate": 0.1,
    "max_rounds": 100,
    "patience": 20,
}
NETWORK: dict[str, Any] = {"kind": "tabular_mlp", "d_hidden": [16], "n_shared": 2}
KINDS = pytest.mark.parametrize("model", [BOOSTING, NETWORK], ids=["boosting", "tabular_mlp"])


@pytest.fixture(scope="module")
def config(table_config: MakeConfig) -> MakeConfig:
    """Return a factory of configs of a regression."""

    def make(
        scale: str, *, model: dict[str, Any] = BOOSTING, **sections: dict[str, Any]
    ) -> PipelineConfig:
        made = table_config(data={"task": "regression", "target_scale": scale}, **sections)
        tree = {**made.model_dump(mode="json"), "model": model}
        return PipelineConfig.model_validate(tree)

    return make


def _table(kind: str, n_rows: int = 1200, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    colors = random.integers(0, 4, n_rows)
    sizes = random.normal(20.0, 5.0, n_rows)
    signal, noise = 0.2 * sizes + 0.5 * colors, random.normal(size=n_rows)
    values = {
        "multiplied": np.exp(signal + 0.4 * noise),
        "added": 100 + 3 * signal + noise,
    }[kind]
    return _with(
        pa.table({"color": np.array(["red", "green", "blue", "teal"])[colors], "size": sizes}),
        values,
    )


def _with(table: pa.Table, values: Floats) -> pa.Table:
    if "label" in table.column_names:
        table = table.drop_columns("label")
    return table.append_column("label", pa.array(values, pa.float64()))


def _target(config: PipelineConfig, table: pa.Table) -> NumberTarget:
    target = start_on_rows(config, table).target
    assert isinstance(target, NumberTarget)
    return target


def _trained(config: PipelineConfig, table: pa.Table) -> TrainingSession:
    session = start_on_rows(config, table)
    for _ in session.epochs():
        pass
    return session


def _split(config: PipelineConfig, table: pa.Table) -> SplitRows:
    dataset = find_home().dataset(config.name)
    snapshot = take_snapshot(dataset, RowStream.of(table, source="toy.csv"))
    return split_checked(config, check_snapshot(config, snapshot))


def test_auto_takes_the_log_scale_for_effects_that_multiply(config: MakeConfig) -> None:
    target = _target(config("auto"), _table("multiplied"))

    assert target.log is not None
    assert target.choice.startswith("on the log scale: RMSE ")
    assert " on the linear scale, " in target.choice


def test_auto_stays_on_the_linear_scale_for_effects_that_add(config: MakeConfig) -> None:
    target = _target(config("auto"), _table("added"))

    assert target.log is None
    assert target.choice.startswith("on the linear scale: RMSE ")


def test_the_choice_is_the_same_again_and_with_another_seed(config: MakeConfig) -> None:
    table = _table("multiplied")

    targets = [_target(config("auto", training={"seed": seed}), table) for seed in (0, 0, 7)]

    assert targets[0] == targets[1] == targets[2]


def test_test_rows_do_not_take_part_in_the_choice(config: MakeConfig) -> None:
    table, settings = _table("multiplied"), config("auto")
    _, _, test = split_rows(table, settings)
    is_test = np.isin(table["size"].to_numpy(), test["size"].to_numpy())

    values = np.where(is_test, -5.0, table["label"].to_numpy())
    changed = _with(table, values)

    assert is_test.sum() == test.num_rows
    assert _target(settings, changed) == _target(settings, table)


@pytest.mark.parametrize("of_val", [False, True])
def test_auto_stays_linear_where_a_row_has_no_logarithm_and_log_says_so(
    config: MakeConfig, of_val: bool
) -> None:
    table = _table("multiplied")
    part = split_rows(table, config("auto"))[1 if of_val else 0]
    values = table["label"].to_numpy().copy()
    values[np.flatnonzero(table["size"].to_numpy() == part["size"][3].as_py())] = 0.0

    target = _target(config("auto"), _with(table, values))

    assert target.log is None
    assert "1 of " in target.choice
    assert "training and validation rows are not above 0" in target.choice
    with pytest.raises(ContractError, match=r"label.*not above 0.*`data\.target_scale` to linear"):
        fit(config("log"), _with(table, values))


def test_few_validation_rows_choose_nothing(config: MakeConfig) -> None:
    target = _target(config("auto"), _table("multiplied", n_rows=150))

    assert target.log is None
    assert "fewer than 50 validation rows" in target.choice


@KINDS
@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_the_validation_metric_is_in_the_targets_own_unit(
    config: MakeConfig, model: dict[str, Any], metric: str
) -> None:
    training = {"refit": False}  # what is judged is what answers
    settings = config("log", model=model, evaluation={"primary": metric}, training=training)
    session = _trained(settings, _table("multiplied"))
    _, val, _ = split_rows(_table("multiplied"), settings)

    predicted = session.fitted().predict(val.drop_columns("label"))["prediction"].to_numpy()

    compare = {"rmse": root_mean_squared_error, "mae": mean_absolute_error, "r2": r2_score}[metric]
    expected = compare(val["label"].to_numpy(), predicted)
    assert session.training.figures.primary == pytest.approx(expected, rel=1e-4)
    assert "loss of the logarithm" in session.facts()["validation"]
    assert session.facts()["target"] == "on the log scale"


def test_the_members_of_a_blend_answer_on_one_scale(config: MakeConfig) -> None:
    blend: dict[str, Any] = {"kind": "blend", "members": [BOOSTING, {"kind": "linear"}]}
    settings, table = (
        config("log", model=blend, training={"refit": False}),
        _table("multiplied"),
    )
    session = _trained(settings, table)
    _, val, test = split_rows(table, settings)

    model = session.fitted()
    errors = [
        root_mean_squared_error(part["label"].to_numpy(), model.predict(part)["prediction"])
        for part in (val, test)
    ]

    assert session.training.figures.primary == pytest.approx(errors[0], rel=1e-4)
    assert errors[1] < 0.6 * test["label"].to_numpy().std()


@KINDS
def test_a_model_on_the_log_scale_is_loaded_as_it_was(
    config: MakeConfig, model: dict[str, Any], tmp_path: Path
) -> None:
    table = _table("multiplied")
    fitted = fit(config("log", model=model), table)

    fitted.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")

    assert loaded.target == fitted.target
    np.testing.assert_array_equal(
        loaded.predict(table)["prediction"], fitted.predict(table)["prediction"]
    )
    # Earlier releases read up to version 2, and would take logarithms for numbers.
    assert json.loads((tmp_path / "model" / "model.json").read_text())["version"] == 3


@KINDS
@pytest.mark.parametrize("scale", ["linear", "log", "auto"])
def test_targets_with_outliers_give_a_model_that_answers_with_finite_numbers(
    config: MakeConfig, model: dict[str, Any], scale: str
) -> None:
    table = _table("multiplied", n_rows=600)
    values = table["label"].to_numpy().copy()
    values[::97] = 1e12

    session = _trained(config(scale, model=model), _with(table, values))

    figures, predicted = session.training.figures, session.fitted().predict(table)["prediction"]
    assert figures.primary is not None
    assert np.isfinite([figures.train_loss, figures.val_loss, figures.primary]).all()
    assert np.isfinite(predicted).all()


@KINDS
@pytest.mark.parametrize("scale", ["linear", "log", "auto"])
def test_a_constant_target_is_predicted_as_it_is(
    config: MakeConfig, model: dict[str, Any], scale: str
) -> None:
    table = _with(_table("multiplied", n_rows=600), np.full(600, 250.0))

    fitted = fit(config(scale, model=model), table)

    predicted = fitted.predict(table)["prediction"]
    np.testing.assert_allclose(predicted, 250.0, rtol=1e-3 if scale == "log" else 0.02)


@KINDS
def test_odd_inputs_leave_predictions_of_the_log_scale_in_the_training_range(
    config: MakeConfig, model: dict[str, Any]
) -> None:
    table = _table("multiplied")
    train, _, _ = split_rows(table, config("log"))

    fitted = fit(config("log", model=model), table)
    predicted = fitted.predict({"color": ["never", "red", "red"], "size": [1e300, -1e300, 0.0]})

    low, high = train["label"].to_numpy().min(), train["label"].to_numpy().max()
    assert predicted["prediction"].between(low, high).all()


@pytest.mark.parametrize(("scale", "kind"), [("log", "added"), ("auto", "multiplied")])
def test_encoded_files_have_the_scale_of_a_table_in_memory(
    config: MakeConfig, scale: str, kind: str
) -> None:
    settings, table = config(scale), _table(kind)
    rows = _split(settings, table)

    encoded = encode_splits(settings, rows, today="2026-01-01", choose_scale=choose_scale)
    again = encode_splits(settings, rows, today="2026-01-02", choose_scale=choose_scale)

    target = encoded.read_target()
    assert isinstance(target, NumberTarget)
    assert target == _target(settings, table)
    assert again.read_target() == target
    assert not again.is_new
    assert encoded.scale_said() == (target.choice or "on the log scale")
    y = encoded.read("train").y
    assert y.mean() == pytest.approx(0, abs=1e-5)
    assert y.std() == pytest.approx(1, abs=1e-5)


def test_files_are_written_again_where_auto_stays_linear(config: MakeConfig) -> None:
    table = _table("added")
    rows = _split(config("auto"), table)

    chosen = encode_splits(config("auto"), rows, today="2026-01-01", choose_scale=choose_scale)
    linear = encode_splits(config("linear"), rows, today="2026-01-01")

    assert chosen.digest != linear.digest
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(chosen.read(split).y, linear.read(split).y)


def test_a_checkpoint_belongs_to_the_scale(config: MakeConfig) -> None:
    table, keys = _table("multiplied"), list[str]()
    for scale in ("linear", "log", "auto"):
        settings = config(scale)
        encoded = encode_splits(
            settings, _split(settings, table), today="2026-01-01", choose_scale=choose_scale
        )
        keys.append(start_training(settings, encoded, run_key="r", champion=None).key)

    assert len(set(keys)) == 3
    assert len(keys[0].split()) == 3  # as it was before there were scales


def test_the_constant_is_the_mean_on_either_scale_and_trees_are_on_the_models_scale(
    config: MakeConfig,
) -> None:
    table, found = _table("multiplied"), dict[str, Floats]()
    for scale in ("linear", "log"):
        settings = config(scale)
        encoded = encode_splits(settings, _split(settings, table), today="2026-01-01")
        target, encoder = encoded.read_target(), encoded.read_encoder()
        model = replace(fit(settings, table), encoder=encoder, target=target)
        splits = EncodedSplits(encoded.open("train"), encoded.open("val"), encoded.open("test"))
        for name in ("constant", "boosting"):
            answers = predict_baseline(name, splits, model=model, training=settings.training)
            found[f"{name} {scale}"] = answers.predictions.values

    train, _, test = split_rows(table, config("log"))
    actual = test["label"].to_numpy()
    errors = {
        scale: np.sqrt(np.square(found[f"boosting {scale}"] - actual).mean())
        for scale in ("linear", "log")
    }
    np.testing.assert_allclose(found["constant log"], train["label"].to_numpy().mean())
    np.testing.assert_allclose(found["constant log"], found["constant linear"])
    assert errors["log"] < errors["linear"]  # effects that multiply add up in logarithms
    assert found["boosting log"].mean() == pytest.approx(actual.mean(), rel=0.1)


def test_a_network_on_another_scale_takes_over_all_but_the_last_layer(config: MakeConfig) -> None:
    table = _table("multiplied")
    network: dict[str, Any] = {"kind": "embedding_mlp", "d_hidden": [8]}
    training = {"start_from": "champion"}
    champion = fit(config("linear", model=network), table)

    starts = {
        scale: start_on_rows(
            config(scale, model=network, training=training), table, champion=champion
        ).training.carried
        for scale in ("linear", "log")
    }

    assert starts["linear"] is not None
    assert starts["log"] is not None
    assert starts["linear"].has_head
    assert "a fresh last layer" in str(starts["log"])


def test_classes_have_no_scale(table_config: MakeConfig) -> None:
    with pytest.raises((ConfigError, ValueError), match="log is for a regression"):
        table_config(data={"target_scale": "log"})


def test_a_config_without_a_scale_says_nothing_of_it(config: MakeConfig) -> None:
    linear, log = config("linear"), config("log")

    assert "target_scale" not in linear.model_dump(mode="json")["data"]
    assert log.model_dump(mode="json")["data"]["target_scale"] == "log"
    assert linear.digest() != log.digest()
