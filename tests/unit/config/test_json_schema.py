"""The schema by which an editor completes and checks a config, compared with the loader."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from evergreen.reference import SCHEMA
from pipeline_lib.config import load_config
from pipeline_lib.config.json_schema import SCHEMA_COMMENT, SCHEMA_FILE, config_schema, schema_text
from pipeline_lib.errors import ConfigError
from tests.unit.config.test_problems import TEXT as WHOLE
from tests.unit.config.toy import TEXT, write

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
VALIDATOR = Draft202012Validator(config_schema())


def wrong(text: str) -> list[str]:
    """Return what an editor would underline, as it reads YAML: dates are text."""
    yaml = YAML(typ="safe", pure=True)
    tree: Any = json.loads(json.dumps(yaml.load(text), default=str))
    return [error.message for error in VALIDATOR.iter_errors(tree)]


def test_the_schema_is_one_and_is_that_of_the_settings() -> None:
    Draft202012Validator.check_schema(config_schema())

    assert SCHEMA.read_text("utf-8") == schema_text(), "run python -m evergreen.reference"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_config_of_the_project_is_valid_and_names_the_schema(path: Path) -> None:
    text = path.read_text("utf-8")

    assert wrong(text) == []
    assert text.splitlines()[0] == SCHEMA_COMMENT
    assert (path.parent / SCHEMA_FILE).is_file()


@pytest.mark.parametrize("text", [TEXT, WHOLE], ids=["short", "whole"])
def test_what_loads_is_valid(tmp_path: Path, text: str) -> None:
    load_config(write(tmp_path, text))

    assert wrong(text) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("training:", "trainig:"),
        ("name: toy\n", ""),
        ("target: label", "tarjet: label"),
        ("learning_rate: 0.01", "learning_rat: 0.01"),
        ("kind: adam", "kind: adm"),
        ("kind: csv", "kind: cvs"),
        ("path: toy.csv", "pth: toy.csv"),
        ("{kind: number}", "{kind: numeral}"),
        ("{kind: number}", "{}"),
        ("{kind: number}", "{kind: number, minimums: 1}"),
        ("epochs: 50", "epochs: 0"),
        ("epochs: 50", "epochs: many"),
        ("epochs: 50", "epochs: 1.5"),
        ("task: multiclass", "task: multi"),
        ("step_size: 5", "step_size: -5"),
        ("training:", "evaluation: {primary: accuracy_}\ntraining:"),
        ("training:", "validation: {rules: [{name: x, expression: a > 0}]}\ntraining:"),
    ],
)
def test_a_typical_typo_is_underlined_and_refused(tmp_path: Path, old: str, new: str) -> None:
    text = TEXT.replace(old, new, 1)

    with pytest.raises(ConfigError):
        load_config(write(tmp_path, text))

    assert wrong(text)


def test_a_value_that_the_shared_settings_may_give_is_not_asked_for(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").touch()
    (tmp_path / "configs").mkdir()
    shared = "training: {optimizer: {kind: sgd}, scheduler: {kind: step, step_size: 3}}\n"
    (tmp_path / "configs/defaults.yaml").write_text(shared)
    text = TEXT[: TEXT.index("training:")]
    text += "training: {optimizer: {momentum: 0.5}, scheduler: {gamma: 0.5}}\n"

    config = load_config(write(tmp_path / "configs", text))

    assert config.training.scheduler.kind == "step"
    assert wrong(text) == []


def test_every_setting_has_a_title_and_a_description_in_the_editor() -> None:
    schema = config_schema()

    for kind in (schema, *schema["$defs"].values()):
        for name, value in kind["properties"].items():
            assert name == "kind" or value.get("description"), (kind["title"], name)
            assert value.get("title") or "$ref" in value or "anyOf" in value, name
