"""Rules between values, and what every settings class owes to the form, the docs and YAML."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline_lib import config as config_module
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.metrics import METRICS
from pipeline_lib.config.settings import Settings

MakeConfig = Callable[..., PipelineConfig]


def _settings_classes() -> list[type[Settings]]:
    def below(cls: type[Settings]) -> Iterator[type[Settings]]:
        for child in cls.__subclasses__():
            yield child
            yield from below(child)

    return [cls for cls in below(Settings) if not cls.__name__.startswith("_")]


@pytest.mark.parametrize("cls", _settings_classes(), ids=lambda cls: cls.__name__)
def test_every_setting_is_frozen_closed_and_described(cls: type[Settings]) -> None:
    assert cls.model_config.get("frozen") is True
    assert cls.model_config.get("extra") == "forbid"
    assert cls.__doc__
    for name, field in cls.model_fields.items():
        assert field.description or name == "kind", f"{cls.__name__}.{name}"


def test_a_class_name_becomes_a_title_that_a_person_can_read() -> None:
    schema = PipelineConfig.model_json_schema()

    titles = {name: entry["title"] for name, entry in schema["$defs"].items()}

    assert titles["OneCycleSchedule"] == "One cycle"
    assert titles["EmbeddingMLPSettings"] == "Embedding MLP"
    assert titles["SGD"] == "SGD"
    optimizer = schema["$defs"]["Adam"]["properties"]["learning_rate"]
    assert optimizer["title"] == "Learning rate"


@pytest.mark.parametrize(
    ("section", "values", "rule"),
    [
        (
            "training",
            {"epochs": 50, "scheduler": {"kind": "multistep", "milestones": [20, 60]}},
            "60 is never reached in 50 epochs",
        ),
        (
            "training",
            {"epochs": 50, "scheduler": {"kind": "multistep", "milestones": [50]}},
            "50 is never reached in 50 epochs",
        ),
        (
            "training",
            {"epochs": 50, "scheduler": {"kind": "multistep", "milestones": [20, 10]}},
            "milestones: must increase",
        ),
        (
            "training",
            {"epochs": 50, "scheduler": {"kind": "multistep", "milestones": [10, 10]}},
            "milestones: must increase",
        ),
        (
            "training",
            {"epochs": 5, "scheduler": {"kind": "cosine_warmup", "warmup_epochs": 5}},
            "leaves nothing of 5 epochs",
        ),
        (
            "training",
            {"scheduler": {"kind": "cosine", "final_learning_rate": 0.1}},
            "scheduler.final_learning_rate: 0.1 is above the optimizer's learning_rate of 0.01",
        ),
        (
            "training",
            {"scheduler": {"kind": "cosine_warmup", "final_learning_rate": 0.1}},
            "scheduler.final_learning_rate: 0.1 is above",
        ),
        (
            "training",
            {"batch_size": 64, "accumulation": 33},
            "accumulation: 33 parts of a batch of 64 rows have fewer than 2 rows each",
        ),
        ("training", {"batch_size": 1}, "batch_size: must be at least 2"),
        ("training", {"batch_size": 0}, "batch_size: must be at least 2"),
        (
            "training",
            {"optimizer": {"kind": "sgd", "momentum": 0, "nesterov": True}},
            "`nesterov` needs a `momentum` above 0",
        ),
        ("split", {"val": 0.5, "test": 0.5}, "leave no rows to train on"),
        ("data", {"classes": ["a", "a"]}, "lists 'a' twice"),
        ("data", {"task": "binary", "classes": ["a", "b", "c"]}, "a binary task has 2 classes"),
        ("data", {"task": "regression", "classes": ["a", "b"]}, "a regression has no classes"),
        ("columns", {"x": {"kind": "number", "minimum": 2, "maximum": 1}}, "is above maximum"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    table_config: MakeConfig, section: str, values: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ValidationError, match=rule):
        table_config(**{section: values})


def test_a_milestone_one_epoch_before_the_end_is_accepted(table_config: MakeConfig) -> None:
    schedule = {"kind": "multistep", "milestones": [49]}

    config = table_config(training={"epochs": 50, "scheduler": schedule})

    assert config.training.scheduler.kind == "multistep"


def test_a_model_without_a_kind_is_the_one_that_there_was_before_there_were_several(
    table_config: MakeConfig,
) -> None:
    assert table_config(model={"d_hidden": [4]}).model.kind == "embedding_mlp"
    assert config_module.Overrides.model_validate({"model": {"dropout": 0.1}}).model is not None


def test_settings_of_another_kind_of_model_are_refused(table_config: MakeConfig) -> None:
    with pytest.raises(ValidationError, match=r"linear\.d_hidden"):
        table_config(model={"kind": "linear", "d_hidden": [4]})


@pytest.mark.parametrize("task", list(METRICS))
def test_the_primary_metric_is_the_first_of_its_task_unless_one_is_named(
    table_config: MakeConfig, task: str
) -> None:
    config = table_config(data={"task": task})

    assert config.primary == ("rmse" if task == "regression" else "macro_f1")
    assert table_config(data={"task": task}, evaluation={"primary": METRICS[task][1]}).primary == (
        "mae" if task == "regression" else "accuracy"
    )


def test_the_package_offers_what_users_need_and_no_more() -> None:
    assert set(config_module.__all__) == {"Overrides", "PipelineConfig", "load_config"}


def test_a_value_cannot_be_changed_after_it_was_read(table_config: MakeConfig) -> None:
    config = table_config()

    with pytest.raises(ValidationError, match="frozen"):
        config.name = "other"  # type: ignore[misc]
