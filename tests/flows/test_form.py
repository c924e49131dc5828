"""The run form: what `prefect deploy` tells the server about the flow's parameters."""

from pathlib import Path
from typing import Any

import pytest

from flows.retrain import retrain
from pipeline_lib.config import Overrides


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The flow's parameter schema as the server gets it."""
    return retrain.parameters.model_dump()


def test_the_config_is_a_choice_of_the_files_in_configs(schema: dict[str, Any]) -> None:
    choices = schema["properties"]["config"]["enum"]

    assert choices == sorted(str(path) for path in Path("configs").glob("*.yaml"))
    assert "configs/car_evaluation.yaml" in choices


def test_overrides_offer_epochs_model_optimizer_scheduler_and_seed(schema: dict[str, Any]) -> None:
    overrides = schema["definitions"]["Overrides"]["properties"]

    assert list(overrides) == ["epochs", "model", "optimizer", "scheduler", "seed"]


@pytest.mark.parametrize(("field", "n_kinds"), [("optimizer", 3), ("scheduler", 9)])
def test_each_kind_is_a_tab_of_its_own_beside_none(
    schema: dict[str, Any], field: str, n_kinds: int
) -> None:
    choices = schema["definitions"]["Overrides"]["properties"][field]["anyOf"]

    assert sum("$ref" in choice for choice in choices) == n_kinds
    assert {"type": "null"} in choices


def test_every_parameter_says_what_it_is(schema: dict[str, Any]) -> None:
    described = {name: field.get("description") for name, field in schema["properties"].items()}

    assert all(described.values()), described


def test_what_the_form_submits_is_understood() -> None:
    submitted = {"epochs": 3, "model": None, "optimizer": {"kind": "sgd", "learning_rate": 0.1}}

    overrides = Overrides.model_validate(submitted)

    assert overrides.optimizer is not None
    assert overrides.optimizer.kind == "sgd"
