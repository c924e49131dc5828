"""What `auto` chooses follows from the table's shape, smoothly, and keeps what a config sets."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.automatic import (
    TableShape,
    boosting_settings,
    choose,
    network_settings,
)
from pipeline_lib.config.load import config_yaml, flat_settings
from pipeline_lib.config.models import AutoSettings, BlendSettings, BoostingSettings
from pipeline_lib.config.recipes import CHOSEN
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.errors import TrainingError

SHAPES = st.builds(
    TableShape,
    n_train=st.integers(1, 100_000_000),
    n_classes=st.integers(2, 1_000) | st.just(0),
    n_categories=st.lists(st.integers(0, 1_000_000), max_size=20).map(tuple),
    n_numbers=st.integers(0, 5_000),
)
MakeConfig = Callable[..., PipelineConfig]
SMALL = TableShape(4_000, 2, (3, 40), 9)


def _kinds(shape: TableShape, **auto: Any) -> list[str]:
    choice = choose(AutoSettings(**auto), TrainingSettings(), shape)
    return [member.kind for member in choice.model.members]


@given(shape=SHAPES, effort=st.sampled_from(["quick", "standard"]))
def test_a_choice_is_a_config_of_its_own_and_says_why(shape: TableShape, effort: Any) -> None:
    choice = choose(AutoSettings(effort=effort), TrainingSettings(), shape)

    assert BlendSettings.model_validate(choice.model.model_dump(mode="json")) == choice.model
    trained = TrainingSettings.model_validate(choice.training.model_dump(mode="json"))
    assert trained == choice.training
    parts = [reason.part for reason in choice.reasons]
    assert len(set(parts)) == len(parts) >= len(choice.model.members)
    assert all(reason.why for reason in choice.reasons)


def test_trees_a_network_and_a_linear_model_are_blended() -> None:
    assert _kinds(SMALL) == ["boosting", "boosting", "boosting", "tabular_mlp", "linear"]


def test_a_quick_choice_has_no_network_and_no_training_by_epochs_to_explain() -> None:
    choice = choose(AutoSettings(effort="quick"), TrainingSettings(), SMALL)

    kinds = [member.kind for member in choice.model.members]
    assert kinds == ["boosting", "boosting", "boosting", "linear"]
    assert "training" not in {reason.part for reason in choice.reasons}


@pytest.mark.parametrize("categories", [(), (2,), (2, 2, 1)])
def test_statistics_of_the_target_are_for_columns_of_more_than_two_categories(
    categories: tuple[int, ...],
) -> None:
    choice = choose(AutoSettings(), TrainingSettings(), TableShape(4_000, 2, categories, 9))

    trees = [each for each in choice.model.members if isinstance(each, BoostingSettings)]
    assert not any(each.target_statistics for each in trees)


@given(n_train=st.integers(1, 100_000_000), n_classes=st.integers(0, 1_000))
def test_a_few_more_rows_hardly_change_the_trees(n_train: int, n_classes: int) -> None:
    less, more = (
        boosting_settings(TableShape(n, n_classes, (), 9)) for n in (n_train, n_train + 100)
    )

    assert 0.03 <= less.learning_rate <= more.learning_rate <= 0.1
    assert more.learning_rate - less.learning_rate <= 0.002
    for name in ("num_leaves", "min_child_samples", "min_data_per_group"):
        assert getattr(less, name) <= getattr(more, name) <= getattr(less, name) + 1


def test_trees_of_a_million_rows_have_lightgbms_own_settings() -> None:
    from lightgbm import LGBMClassifier

    trees = boosting_settings(TableShape(1_000_000, 2, (9,), 9))

    own = LGBMClassifier().get_params()
    for name in ("learning_rate", "num_leaves", "min_child_samples"):
        assert getattr(trees, name) == own[name]
    documented = {"min_data_per_group": 100, "cat_smooth": 10, "cat_l2": 10}
    assert {name: getattr(trees, name) for name in documented} == documented


def test_small_tables_have_trees_with_lightgbms_own_settings_too() -> None:
    from lightgbm import LGBMClassifier

    own = LGBMClassifier().get_params()
    for n_train, n_trees in ((4_000, 2), (1_000_000, 1)):
        choice = choose(AutoSettings(), TrainingSettings(), TableShape(n_train, 2, (), 9))
        trees = [each for each in choice.model.members if isinstance(each, BoostingSettings)]
        assert len(trees) == n_trees
        assert trees[-1].learning_rate == own["learning_rate"]
        assert trees[-1].num_leaves == own["num_leaves"]


@given(n_train=st.integers(1, 100_000_000))
def test_more_rows_never_mean_a_narrower_network(n_train: int) -> None:
    less, more = (network_settings(TableShape(n, 2, (), 1)) for n in (n_train, 2 * n_train))

    assert 128 <= less.d_hidden[0] <= more.d_hidden[0] <= min(512, 1.3 * less.d_hidden[0])


@given(n_numbers=st.integers(0, 5_000))
def test_many_numbers_have_fewer_bins_each(n_numbers: int) -> None:
    network = network_settings(TableShape(4_000, 2, (), n_numbers))

    assert 2 <= network.n_bins <= 16
    assert network.n_bins == 2 or network.n_bins * n_numbers <= 2_048


@pytest.mark.parametrize("name", sorted(CHOSEN))
def test_what_the_config_sets_of_the_training_is_kept(name: str) -> None:
    values: dict[str, Any] = {
        "epochs": 7,
        "batch_size": 77,
        "optimizer": {"kind": "sgd", "learning_rate": 0.5},
        "scheduler": {"kind": "none"},
        "ema_decay": 0.5,
        "early_stopping": {"patience": 3},
    }
    training = TrainingSettings.model_validate({name: values[name], "seed": 5})

    choice = choose(AutoSettings(), training, SMALL)

    free = choose(AutoSettings(), TrainingSettings(seed=5), SMALL)
    for each in CHOSEN:
        kept = training if each == name else free.training
        assert getattr(choice.training, each) == getattr(kept, each)
    assert choice.training.seed == 5
    assert f"{name} as the config sets" in str(choice.reasons[-1])


def test_settings_that_do_not_go_with_the_choice_are_an_error_that_says_what_to_do() -> None:
    steps = {"kind": "multistep", "milestones": [90]}
    training = TrainingSettings.model_validate({"scheduler": steps})

    with pytest.raises(TrainingError, match=r"90 is never reached in .* epochs.*Set .*epochs"):
        choose(AutoSettings(), training, TableShape(1_000_000, 2, (), 5))


def _config(table_config: MakeConfig, **training: Any) -> PipelineConfig:
    tree = table_config().model_dump(mode="json")
    return PipelineConfig.model_validate({**tree, "model": {"kind": "auto"}, "training": training})


def test_what_is_chosen_is_no_value_of_the_config(table_config: MakeConfig) -> None:
    config = _config(table_config, epochs=7)

    values = flat_settings(config)

    assert values["training.epochs"] == "7"
    assert not {name for name in values if name.startswith("training.optimizer")}
    assert "early_stopping" not in config_yaml(config)


def test_setting_a_default_is_another_config_than_leaving_the_choice_to_auto(
    table_config: MakeConfig,
) -> None:
    free = _config(table_config)
    fixed = _config(table_config, epochs=TrainingSettings().epochs)

    assert free.digest() != fixed.digest()
    assert PipelineConfig.model_validate(free.model_dump(mode="json")).digest() == free.digest()
    again = PipelineConfig.model_validate(fixed.model_dump(mode="json"))
    assert again.training.model_fields_set >= {"epochs"}
    assert again.digest() == fixed.digest()
