"""What a form may set: how a model learns; and which files it may name: those of `configs/`."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from prefect.runtime import deployment

from flows.parameters import refuse_strange_paths
from pipeline_lib.config import Overrides, PipelineConfig
from pipeline_lib.config.form import may_set
from pipeline_lib.config.settings import Settings
from pipeline_lib.config.yaml_text import type_choices
from pipeline_lib.errors import ConfigError, UsageError

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = "configs/car_evaluation.yaml"
# A leaf is the keys that lead to a value, and the types it may have.
Leaf = tuple[tuple[str, ...], frozenset[object]]


def leaves(annotation: object, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Yield every value that may be set below a type, through unions, lists and mappings."""
    plain: set[object] = set()
    for choice in type_choices(annotation):
        if isinstance(choice, type) and issubclass(choice, Settings):
            for name, field in choice.model_fields.items():
                yield from leaves(field.annotation, (*path, name))
        elif get_origin(choice) in (tuple, list):
            yield from leaves(get_args(choice)[0], path)
        elif get_origin(choice) is dict:
            yield from leaves(get_args(choice)[1], (*path, "some name"))
        elif get_origin(choice) is Literal:
            plain.add(Literal)
        elif choice is not type(None):
            plain.add(choice)
    if plain:
        yield path, frozenset(plain)


ALL = list(leaves(PipelineConfig))


@pytest.fixture
def from_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "started-by-a-server")
    assert deployment.id


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one config, where a worker would have gone."""
    root = tmp_path / "project"
    shutil.copytree(PROJECT / "configs", root / "configs")
    (root / "prefect.yaml").write_text("name: x\n")
    (root / "data").mkdir()
    monkeypatch.chdir(root)
    return root


def test_the_keys_of_a_config_are_all_found() -> None:
    paths = {".".join(path) for path, _ in ALL}

    assert len(paths) > 120
    assert {
        "name",
        "data.source.query",
        "columns.some name.allowed",
        "validation.rules.function",
        "training.optimizer.momentum",
        "training.loss.class_weights.some name",
        "tracking.tags.some name",
        "split.seed",
        "model.d_hidden",
    } <= paths


@pytest.mark.parametrize("leaf", ALL, ids=lambda leaf: ".".join(leaf[0]))
def test_a_form_may_set_how_a_model_learns_and_no_other_key(
    leaf: Leaf, from_a_server: None
) -> None:
    path, kinds = leaf
    key = ".".join(f'"{part}"' if " " in part else part for part in path)

    if path[0] in {"model", "training"} and path != ("training", "compile"):
        refuse_strange_paths(CONFIG, (f"{key}=1",))
        # A text could name code, a file or a host: none of these keys takes one.
        assert kinds <= {bool, int, float, Literal}
    else:
        with pytest.raises(UsageError, match="are set in the config, not in a form"):
            refuse_strange_paths(CONFIG, (f"{key}=1",))
        assert not may_set(path)


@pytest.mark.parametrize("field", list(Overrides.model_fields))
def test_what_the_form_offers_takes_no_text(field: str) -> None:
    annotation = Overrides.model_fields[field].annotation

    assert all(kinds <= {bool, int, float, Literal} for _, kinds in leaves(annotation))


@pytest.mark.parametrize(
    "assignment",
    [
        "name=victim",
        "promotion.floor=0.1",
        "promotion={}",
        "columns.safety.allowed=null",
        "evaluation.baselines=[]",
        "tracking.tags={a: b}",
        "training.compile=true",
        " training . compile =true",
        "'training'.\"compile\"=true",
        "training={compile: true}",
        "training={<<: {compile: true}}",
        "training={epochs: 3, 'compile': yes}",
        "training: {}=1",
        "data.source.path=/etc/passwd",
        " data={}",
        '"data".source.path=/etc/passwd',
        " 'validation' .rules=[]",
        "validation.rules=[{kind: function, name: x, function: 'os:system'}]",
        "Training.epochs=3",
        "trainings.epochs=3",
        "model_code=x",
        '"training.compile"=true',
        '""=x',
    ],
)
def test_a_form_is_refused_whatever_the_spelling(assignment: str, from_a_server: None) -> None:
    with pytest.raises((UsageError, ConfigError), match=r"not in a form|write KEY=VALUE"):
        refuse_strange_paths(CONFIG, ("training.epochs=2", assignment))


@pytest.mark.parametrize(
    "assignment",
    [
        "training.epochs=3",
        "training={epochs: 3, optimizer: {kind: sgd}}",
        "model.d_hidden=[8]",
        "training.loss={kind: cross_entropy, class_weights: {vgood: 2}}",
    ],
)
def test_a_form_may_say_how_a_model_learns(assignment: str, from_a_server: None) -> None:
    refuse_strange_paths(CONFIG, (assignment,))


@pytest.mark.parametrize(
    "config",
    [
        "data/evil.yaml",
        "evil.yaml",
        "prefect.yaml",
        "/etc/passwd",
        "configs/../data/evil.yaml",
        "configs/../configs/car_evaluation.yaml",
        "../project/configs/car_evaluation.yaml",
        "configs/car_evaluation.yaml\0",
        "configs/\0.yaml",
        "configs/car_evaluation.yaml\n",
        "configs/sub/evil.yaml",
        "configs/evil.yml",
        "configs/evil.txt",
        "configs//etc/passwd.yaml",
        "configs\\evil.yaml",
        "configs/link.yaml",
        "configs/far.yaml",
        "configs/renamed.yaml",
        "configs/.hidden.yaml",
        "configs/folder.yaml",
        "configs/loop.yaml",
        "configs/" + "x" * 5000 + ".yaml",
        "configs/\udc80.yaml",
        "configs",
        ".",
        "",
    ],
)
def test_a_server_may_name_no_file_but_those_of_configs(
    config: str, project: Path, from_a_server: None
) -> None:
    folders = {"": ("evil.yaml",), "data": ("evil.yaml",)}
    folders["configs"] = ("evil.yml", "evil.txt", ".hidden.yaml")
    for folder, names in folders.items():
        for name in names:
            (project / folder / name).write_text("x: 1\n")
    (project / "configs" / "sub").mkdir()
    (project / "configs" / "sub" / "evil.yaml").write_text("x: 1\n")
    (project / "configs" / "folder.yaml").mkdir()
    links = {
        "link.yaml": "../data/evil.yaml",
        "far.yaml": "/etc/passwd",
        "loop.yaml": "loop.yaml",
        "renamed.yaml": "evil.txt",
    }
    for link, target in links.items():
        (project / "configs" / link).symlink_to(target)

    with pytest.raises((UsageError, ConfigError)) as refused:
        refuse_strange_paths(config, ())

    assert len(str(refused.value)) < 500
    assert refused.value.exit_code == 2


def test_a_linked_folder_of_configs_is_not_followed(
    project: Path, tmp_path: Path, from_a_server: None
) -> None:
    (project / "configs").rename(tmp_path / "elsewhere")
    (project / "configs").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UsageError, match="a link that leads out"):
        refuse_strange_paths(CONFIG, ())


def test_a_link_within_configs_is_followed_as_kubernetes_mounts_them(
    project: Path, from_a_server: None
) -> None:
    hidden = project / "configs" / "..2026_11_30"
    hidden.mkdir()
    (project / CONFIG).rename(hidden / "car_evaluation.yaml")
    (project / CONFIG).symlink_to("..2026_11_30/car_evaluation.yaml")

    refuse_strange_paths(CONFIG, ())
    refuse_strange_paths(f"./{CONFIG}", ())


@pytest.mark.parametrize("name", ["configs/defaults.yaml", "./configs/defaults.yaml"])
def test_shared_settings_are_no_choice_of_a_form(
    project: Path, from_a_server: None, name: str
) -> None:
    (project / "configs" / "defaults.yaml").write_text("training: {epochs: 3}\n")
    (project / "configs" / "link.yaml").symlink_to("defaults.yaml")

    for given in (name, "configs/link.yaml"):
        with pytest.raises(UsageError, match="is not a dataset's config"):
            refuse_strange_paths(given, ())
    refuse_strange_paths(CONFIG, ())


def test_shared_settings_outside_of_configs_are_not_followed(
    project: Path, from_a_server: None
) -> None:
    (project / "data" / "shared.yaml").write_text("training: {epochs: 3}\n")
    (project / "configs" / "defaults.yaml").symlink_to("../data/shared.yaml")

    with pytest.raises(UsageError, match=r"configs/defaults\.yaml is a link that leads out"):
        refuse_strange_paths(CONFIG, ())


def test_a_config_that_is_not_there_is_told_so(project: Path, from_a_server: None) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        refuse_strange_paths("configs/none.yaml", ())


def test_a_run_that_works_outside_the_project_is_refused(
    project: Path, from_a_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project / "configs", project / "data" / "configs")
    monkeypatch.chdir(project / "data")

    with pytest.raises(UsageError, match="and not in the project's folder"):
        refuse_strange_paths(CONFIG, ())


def test_who_types_a_command_may_set_them() -> None:
    refuse_strange_paths("/anywhere/cars.yaml", ("data.source.path=/tmp/cars.csv",))
