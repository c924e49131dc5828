"""`configs/defaults.yaml`: what all configs of a project share, and which value wins."""

import os
from pathlib import Path

import pytest

from pipeline_lib.config import Overrides, PipelineConfig, load_config
from pipeline_lib.config.ownership import own_config
from pipeline_lib.config.places import place_of
from pipeline_lib.config.project_configs import project_configs
from pipeline_lib.errors import ConfigError

SHOP = """\
name: shop
data: {source: {kind: csv, path: shop.csv}, target: label, task: binary}
columns: {color: {kind: category}}
"""
SHARED = """\
# Our house rules.
training:
  epochs: 7
  optimizer:
    kind: adamw
    learning_rate: 0.003
    weight_decay: 0.02
  scheduler: {kind: step, step_size: 2}
split: {val: 0.2}
tracking:
  tags:
    team: cars
    stage: test
evaluation:
  baselines: [constant, gradient_boosting]
model: {dropout: 0.2}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with shared settings, and go there."""
    (tmp_path / "prefect.yaml").touch()
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/defaults.yaml").write_text(SHARED)
    (tmp_path / "configs/shop.yaml").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(project: Path, more: str, *assignments: str) -> PipelineConfig:
    """Return the config of the shop with more in it."""
    (project / "configs/shop.yaml").write_text(SHOP + more)
    return load_config("configs/shop.yaml", assignments=assignments)


def refused(project: Path, more: str, *assignments: str) -> list[str]:
    """Return what is wrong with the config of the shop with more in it."""
    with pytest.raises(ConfigError) as raised:
        loaded(project, more, *assignments)
    return [str(problem) for problem in raised.value.problems]


def test_a_config_inherits_what_it_does_not_say(project: Path) -> None:
    config = loaded(project, "")

    assert config.training.epochs == 7
    assert config.training.optimizer.model_dump()["weight_decay"] == 0.02
    assert config.split.model_dump() == {"val": 0.2, "test": 0.15, "seed": 0, "kind": "hash"}
    assert config.tracking.tags == {"team": "cars", "stage": "test"}


def test_mappings_are_merged_and_the_config_wins(project: Path) -> None:
    more = "training: {epochs: 9, optimizer: {learning_rate: 0.5}}\ntracking: {tags: {team: x}}\n"

    config = loaded(project, more)

    assert config.training.epochs == 9
    assert config.training.optimizer.model_dump() == {
        "kind": "adamw",
        "learning_rate": 0.5,
        "weight_decay": 0.02,
        "weight_decay_embeddings": 0.0,
    }
    assert config.tracking.tags == {"team": "x", "stage": "test"}


def test_a_mapping_of_another_kind_is_replaced_whole(project: Path) -> None:
    more = "training: {optimizer: {kind: sgd}}\nsplit: {kind: time, val_days: 9, test_days: 9}\n"

    config = loaded(project, more, "data.time=day")

    assert config.training.optimizer.model_dump()["weight_decay"] == 0.0
    assert config.split.kind == "time"  # `val` of the shared split is no key of it


def test_a_model_of_another_kind_takes_nothing_of_a_shared_one_without_a_kind(
    project: Path,
) -> None:
    assert loaded(project, "model: {kind: linear, l2: 2.0}\n").model.kind == "linear"
    assert loaded(project, "", "model.kind=linear").model.kind == "linear"
    assert loaded(project, "model: {kind: embedding_mlp}\n").model.dropout == 0.2


def test_a_mapping_of_the_same_kind_is_merged(project: Path) -> None:
    config = loaded(project, "split: {kind: hash, test: 0.3}\n")

    assert config.split.model_dump() == {"val": 0.2, "test": 0.3, "seed": 0, "kind": "hash"}


def test_lists_are_replaced_and_null_is_a_value(project: Path) -> None:
    (project / "configs/defaults.yaml").write_text(f"{SHARED}promotion: {{floor: 0.9}}\n")

    config = loaded(project, "evaluation: {baselines: [constant]}\npromotion: {floor: null}\n")

    assert config.evaluation.baselines == ("constant",)
    assert config.promotion.floor is None


def test_a_run_sets_values_over_both_files(project: Path) -> None:
    config = loaded(project, "", "training.epochs=3", "training.optimizer.kind=sgd")
    overridden = load_config("configs/shop.yaml", Overrides(epochs=4))

    assert config.training.epochs == 3
    assert config.training.optimizer.kind == "sgd"
    assert overridden.training.epochs == 4


def test_what_was_inherited_is_known_by_its_keys(project: Path) -> None:
    config = loaded(project, "training: {optimizer: {learning_rate: 0.5}}\n", "training.epochs=3")

    assert {".".join(keys) for keys in config.inherited} == {
        "training.optimizer.kind",
        "training.optimizer.weight_decay",
        "training.scheduler.kind",
        "training.scheduler.step_size",
        "split.val",
        "model.dropout",
        "tracking.tags.team",
        "tracking.tags.stage",
        "evaluation.baselines",
    }


def test_a_shared_value_counts_as_one_of_the_config_in_its_digest(project: Path) -> None:
    before = loaded(project, "").digest()

    (project / "configs/defaults.yaml").write_text(SHARED.replace("epochs: 7", "epochs: 8"))
    changed = loaded(project, "").digest()
    (project / "configs/defaults.yaml").unlink()
    written_out = loaded(project, SHARED).digest()

    assert changed != before
    assert written_out == before


def test_a_mistake_is_reported_in_the_file_and_line_that_it_is_in(project: Path) -> None:
    (project / "configs/defaults.yaml").write_text(
        SHARED.replace("epochs: 7", "epochs: 0").replace("team: cars", "team: x\n    team: y")
    )

    problems = refused(project, "evaluation: {primary: rmse}\ntrainig: {}\n")

    assert [problem.partition(": ")[0] for problem in problems] == [
        "configs/shop.yaml:4",
        "configs/shop.yaml:5",
        "configs/defaults.yaml:3",
        "configs/defaults.yaml:13",
    ]
    assert "must be at least 1" in problems[2]
    assert "found duplicate key 'team'" in problems[3]


def test_a_rule_between_both_files_is_reported_where_the_config_says_more(project: Path) -> None:
    problems = refused(
        project, "training: {epochs: 9, scheduler: {kind: multistep, milestones: [9]}}\n"
    )

    assert problems == [
        "configs/shop.yaml:4: training.scheduler.milestones: 9 is never reached in 9 epochs"
    ]


def test_a_setting_that_data_breaks_is_found_in_the_file_that_has_it(project: Path) -> None:
    config = loaded(project, "training: {seed: 1}\n")

    assert place_of(config, ["training", "epochs"]) == "configs/defaults.yaml:3"
    assert place_of(config, ["training", "seed"]) == "configs/shop.yaml:4"
    assert place_of(config, ["columns", "color"]) == "configs/shop.yaml:3"


@pytest.mark.parametrize("key", ["name: x", "data: {target: x}", "columns: {a: {kind: number}}"])
def test_what_is_of_one_dataset_may_not_be_shared(project: Path, key: str) -> None:
    (project / "configs/defaults.yaml").write_text(f"{SHARED}{key}\n")

    (problem,) = refused(project, "")

    assert problem.startswith(
        f"configs/defaults.yaml:17: {key.partition(':')[0]}: belongs to one dataset"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "configs/defaults.yaml:1: is not a mapping"),
        ("a: [\n", "configs/defaults.yaml:2: is not valid YAML"),
        ("training: {epoch: 3}\n", "configs/defaults.yaml:1: training.epoch: unknown key; did you"),
        ("columns_: {}\n", "configs/defaults.yaml:1: columns_: unknown key; did you mean columns?"),
    ],
)
def test_shared_settings_that_are_wrong_are_no_config_without_them(
    project: Path, text: str, said: str
) -> None:
    (project / "configs/defaults.yaml").write_text(text)

    assert refused(project, "")[0].startswith(said)


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_shared_settings_may_be_empty(project: Path, text: str) -> None:
    (project / "configs/defaults.yaml").write_text(text)

    assert loaded(project, "").inherited == ()


def test_shared_settings_are_no_dataset(project: Path) -> None:
    (project / "configs/link.yaml").symlink_to("defaults.yaml")

    for name in ("configs/defaults.yaml", "configs/link.yaml"):
        with pytest.raises(ConfigError, match="share, and is not a dataset's config"):
            load_config(name)
    assert own_config("defaults", project) is None
    assert own_config("shop", project) == "configs/shop.yaml"


def test_shared_settings_with_the_other_ending_are_not_passed_over(project: Path) -> None:
    (project / "configs/defaults.yaml").rename(project / "configs/defaults.yml")

    (problem,) = refused(project, "")

    assert problem.startswith(
        "configs/defaults.yml: is not read: shared settings stand in defaults"
    )


def test_configs_in_other_folders_of_the_project_inherit_and_those_of_others_do_not(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (project / "deep/er").mkdir(parents=True)
    (project / "deep/er/shop.yaml").write_text(SHOP)
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "shop.yaml"
    elsewhere.write_text(SHOP)

    assert load_config("deep/er/shop.yaml").training.epochs == 7
    assert load_config(elsewhere).training.epochs == 100


def test_the_configs_of_a_project_are_its_datasets_by_name(project: Path) -> None:
    for name in (".hidden.yaml", "b.yml", "a.yaml", "notes.txt", ".evergreen.schema.json"):
        (project / "configs" / name).write_text(SHOP)
    (project / "configs/folder.yaml").mkdir()

    assert [path.name for path in project_configs(project)] == ["a.yaml", "b.yml", "shop.yaml"]


@pytest.mark.parametrize("kind", ["folder", "link to none", "loop of links", "pipe"])
def test_shared_settings_that_are_no_file_are_refused_and_not_left_out(
    project: Path, kind: str
) -> None:
    path = project / "configs/defaults.yaml"
    path.unlink()
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to("defaults.yaml" if kind == "loop of links" else "gone.yaml")

    told = refused(project, "")

    assert len(told) == 1
    assert told[0].startswith("configs/defaults.yaml: is no file that can be read")
