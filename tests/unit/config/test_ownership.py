"""Which config is a dataset's own, and what makes a run an experiment."""

from pathlib import Path

import pytest

from pipeline_lib.config import PipelineConfig, load_config
from pipeline_lib.config.ownership import own_config, why_experiment

CONFIG = """
name: shop
data: {source: {kind: csv, path: shop.csv}, target: label, task: binary}
columns: {color: {kind: category}}
"""
PREFECT = """
definitions:
  retrain: &retrain {entrypoint: flows/retrain.py:retrain}
deployments:
  - {name: nightly-other, entrypoint: flows/retrain.py:retrain, parameters: {config: nightly.yaml}}
  - {name: nightly-shop, entrypoint: flows/score.py:score, parameters: {config: nightly.yaml}}
  - <<: *retrain
    name: nightly-shop
    parameters: {config: configs/night.yaml}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with four configs of one dataset."""
    (tmp_path / "configs").mkdir()
    for name in ("configs/shop.yaml", "configs/night.yaml", "configs/champion.yaml", "other.yaml"):
        (tmp_path / name).write_text(CONFIG)
    (tmp_path / "prefect.yaml").write_text(PREFECT)
    return tmp_path


def test_the_champions_config_comes_before_the_nightly_one_and_that_before_its_name(
    project: Path,
) -> None:
    assert own_config("shop", project, of_champion="configs/champion.yaml") == (
        "configs/champion.yaml"
    )
    assert own_config("shop", project) == "configs/night.yaml"
    (project / "configs/night.yaml").unlink()
    assert own_config("shop", project) == "configs/shop.yaml"
    (project / "configs/shop.yaml").unlink()
    assert own_config("shop", project) is None


def test_a_champions_config_that_was_renamed_owns_nothing(project: Path) -> None:
    (project / "configs/champion.yaml").rename(project / "configs/new_name.yaml")

    assert own_config("shop", project, of_champion="configs/champion.yaml") == "configs/night.yaml"


@pytest.mark.parametrize(
    "text", ["", "[", "deployments: 3", "deployments: [3]", "- a", "deployments: [{name: x}]"]
)
def test_a_project_file_that_says_nothing_owns_nothing(project: Path, text: str) -> None:
    (project / "prefect.yaml").write_text(text)

    assert own_config("shop", project) == "configs/shop.yaml"


def test_a_run_of_the_own_config_is_no_experiment_wherever_it_is_started(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = own_config("shop", project)
    monkeypatch.chdir(project / "configs")

    config = load_config("night.yaml")

    assert config.path == "configs/night.yaml"
    assert why_experiment(config, config, own) == ""


def test_another_config_of_the_same_name_makes_an_experiment(project: Path) -> None:
    config = load_config(project / "other.yaml")

    why = why_experiment(config, config, own_config("shop", project))

    assert why == "its config is other.yaml, that of shop is configs/night.yaml"


@pytest.mark.parametrize(
    ("assignments", "is_experiment"),
    [
        (["training.epochs=7"], True),
        (["training.scheduler.kind=cosine"], True),
        ([], False),
        (["data.target=label"], False),  # what the file says anyway
    ],
)
def test_values_of_a_run_make_an_experiment_if_they_change_anything(
    project: Path, assignments: list[str], is_experiment: bool
) -> None:
    path = project / "configs/night.yaml"
    config, plain = load_config(path, assignments=assignments), load_config(path)

    why = why_experiment(config, plain, "configs/night.yaml")

    assert bool(why) is is_experiment


def test_a_config_that_is_valid_only_with_values_of_its_own_makes_an_experiment(
    project: Path,
) -> None:
    config = load_config(project / "configs/night.yaml")

    assert why_experiment(config, None, "configs/night.yaml")


def test_a_config_without_a_file_is_an_experiment_where_another_owns_the_name(
    project: Path,
) -> None:
    made = PipelineConfig.model_validate(
        load_config(project / "other.yaml").model_dump(mode="json")
    )

    assert why_experiment(made, made, "configs/night.yaml")
    assert why_experiment(made, made, None) == ""


def test_without_a_project_file_paths_still_start_from_the_folder_around_configs(
    project: Path,
) -> None:
    (project / "prefect.yaml").unlink()
    (project / "shop.yaml").write_text(CONFIG)

    own = load_config(project / "configs/shop.yaml")
    others = [load_config(project / name) for name in ("configs/night.yaml", "shop.yaml")]

    path = own_config("shop", own.project)
    assert own.path_in_project == path == "configs/shop.yaml"
    assert why_experiment(own, own, path) == ""
    for other in others:
        assert other.project == project
        assert "that of shop is configs/shop.yaml" in why_experiment(other, other, path)


def test_the_config_of_the_champions_project_owns_the_dataset_for_other_projects_while_it_is_there(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "mine.yaml"
    outside.write_text(CONFIG)
    other = load_config(outside)

    def own() -> str | None:
        return own_config(
            "shop",
            other.project,
            of_champion="configs/champion.yaml",
            champions_project=str(project),
        )

    assert own() == str(project / "configs/champion.yaml")
    assert "that of shop is" in why_experiment(other, other, own())
    (project / "configs/champion.yaml").rename(project / "configs/new_name.yaml")
    assert own() is None
    copied = outside.parent / "configs/champion.yaml"  # a copied or moved project goes on
    copied.parent.mkdir()
    copied.write_text(CONFIG)
    assert own() == "configs/champion.yaml"
