"""Which project and home are in use, and where its files lie."""

import os
import re
from pathlib import Path

import pytest

from pipeline_lib.errors import StorageError, UsageError
from pipeline_lib.home import Home, find_home, is_run_key, project_of, project_root
from pipeline_lib.storage.folders import writable_folder


def test_the_project_root_is_the_nearest_folder_above_with_a_prefect_yaml(tmp_path: Path) -> None:
    (tmp_path / "prefect.yaml").touch()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)

    assert project_root(deep) == tmp_path.resolve()


def test_without_evergreen_home_state_lies_below_the_project_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prefect.yaml").touch()
    monkeypatch.delenv("EVERGREEN_HOME")
    monkeypatch.chdir(tmp_path)

    assert find_home().root == tmp_path.resolve() / ".evergreen"


def _project(folder: Path, *, marked: bool = True) -> Path:
    """Make a project with a config; return the config."""
    (folder / "configs").mkdir(parents=True)
    if marked:
        (folder / "prefect.yaml").touch()
    config = folder / "configs" / "shop.yaml"
    config.touch()
    return config


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the home be the project's, and work where none is: this project may have been run."""
    monkeypatch.delenv("EVERGREEN_HOME")
    monkeypatch.chdir(tmp_path)


def test_the_home_of_a_config_lies_in_its_project_wherever_one_stands(
    no_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _project(tmp_path / "project")
    _project(tmp_path / "another")

    for place in (tmp_path, tmp_path / "another", Path("/")):
        monkeypatch.chdir(place)
        assert find_home(project_of(config)).root == tmp_path / "project" / ".evergreen"
        assert find_home().root != tmp_path / "project" / ".evergreen"


@pytest.mark.parametrize("place", [".", "configs", "configs/north/shop.yaml"])
def test_a_config_belongs_to_the_nearest_project_above_it(tmp_path: Path, place: str) -> None:
    config = _project(tmp_path / "outer")
    _project(tmp_path / "outer" / "inner")

    below = config.parent / place if place.endswith(".yaml") else config
    nested = tmp_path / "outer" / "inner" / place / "shop.yaml"

    assert project_of(below) == tmp_path / "outer"
    assert project_of(nested) == tmp_path / "outer" / "inner"


def test_without_a_prefect_yaml_the_project_is_the_configs_folder_or_the_one_around_configs(
    no_home: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _project(tmp_path / "plain", marked=False)

    assert project_of(config) == tmp_path / "plain"
    assert project_of(tmp_path / "plain" / "shop.yaml") == tmp_path / "plain"
    for place in (tmp_path / "plain", config.parent):  # where a NAME is asked for
        monkeypatch.chdir(place)
        assert find_home().root == tmp_path / "plain" / ".evergreen"


def test_a_folder_named_configs_with_a_prefect_yaml_is_a_project(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "prefect.yaml").touch()

    assert project_of(tmp_path / "configs" / "shop.yaml") == tmp_path / "configs"


def test_a_linked_config_belongs_to_the_project_of_the_file_it_links_to(tmp_path: Path) -> None:
    config = _project(tmp_path / "project")
    (tmp_path / "linked.yaml").symlink_to(config)
    (tmp_path / "link").symlink_to(tmp_path / "project")

    assert project_of(tmp_path / "linked.yaml") == tmp_path / "project"
    assert project_of(tmp_path / "link" / "configs" / "shop.yaml") == tmp_path / "project"


def test_evergreen_home_is_stronger_than_the_project(tmp_path: Path) -> None:
    config = _project(tmp_path / "project")

    assert find_home(project_of(config)).root == Path(os.environ["EVERGREEN_HOME"])


def test_a_home_that_is_made_is_reported_once_and_another_folder_is_not(
    no_home: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = find_home(project_of(_project(tmp_path / "project")))

    writable_folder(tmp_path / "elsewhere")
    assert caplog.messages == []
    home.writable(home.dataset("shop").folder)
    home.writable(home.dataset("sales").folder)

    assert caplog.messages == [f"home made: {tmp_path}/project/.evergreen"]


def test_a_new_home_beside_one_of_the_working_directory_names_that_one(
    no_home: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = _project(tmp_path / "project")
    (tmp_path / "here" / ".evergreen" / "datasets").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")

    home = find_home(project_of(config))
    home.writable(home.root)

    (told,) = caplog.messages
    assert told.startswith(f"home made: {tmp_path}/project/.evergreen")
    assert f"EVERGREEN_HOME={tmp_path}/here/.evergreen" in told


@pytest.mark.parametrize("name", ["what?", "a%20b", "100%ef"])
def test_a_home_that_databases_would_look_for_elsewhere_is_refused_before_it_is_made(
    no_home: None, tmp_path: Path, name: str
) -> None:
    home = find_home(project_of(_project(tmp_path / name)))

    with pytest.raises(StorageError, match="EVERGREEN_HOME"):
        home.writable(home.dataset("shop").folder)

    assert not (tmp_path / name / ".evergreen").exists()


@pytest.mark.parametrize("name", ["a b", "ümlaut", "50%", "a#b", "a&b=c+d;e"])
def test_a_home_with_any_other_letter_is_taken(no_home: None, tmp_path: Path, name: str) -> None:
    home = find_home(project_of(_project(tmp_path / name)))

    folder = home.writable(home.dataset("shop").folder)

    assert folder == tmp_path / name / ".evergreen" / "datasets" / "shop"


def test_every_file_of_a_home_has_the_place_that_earlier_releases_gave_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    dataset, run = home.dataset("shop"), home.run("0123456789abcdef")

    places = {
        home.mlflow_db: "mlflow.db",
        home.artifacts: "artifacts",
        home.prefect: "prefect",
        home.record: "home.json",
        home.lock: ".home.lock",
        dataset.lock: "datasets/shop/.lock",
        dataset.attempts: "datasets/shop/attempts",
        dataset.snapshots: "datasets/shop/snapshots",
        dataset.splits: "datasets/shop/splits",
        dataset.encoded: "datasets/shop/encoded",
        dataset.segments: "datasets/shop/segments",
        dataset.ledger: "datasets/shop/ledger",
        dataset.journal: "datasets/shop/decisions.jsonl",
        dataset.last_night: "datasets/shop/last_night.json",
        dataset.nights: "datasets/shop/nights.jsonl",
        dataset.unrecorded: "datasets/shop/unrecorded.jsonl",
        dataset.quarantine: "quarantine/shop",
        run.model: "runs/0123456789abcdef/model",
        run.epochs: "runs/0123456789abcdef/epochs.jsonl",
        run.tensorboard: "runs/0123456789abcdef/tensorboard",
        run.predictions: "runs/0123456789abcdef/test_predictions.parquet",
        run.report: "runs/0123456789abcdef/report.md",
    }

    assert {path.relative_to(tmp_path).as_posix() for path in places} == set(places.values())
    assert all(path == tmp_path / name for path, name in places.items())


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../shop", "/etc", "a/b", "Shop", "a\0b", "x" * 64]
)
def test_a_name_that_leads_out_of_the_home_is_no_dataset(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a valid name of a dataset"):
        Home(tmp_path).dataset(name)


@pytest.mark.parametrize(
    "key", ["", ".", "..", "../runs", "/etc", "a/b", ".hidden", "a\0b", "x" * 999]
)
def test_a_key_that_leads_out_of_the_home_is_no_run(tmp_path: Path, key: str) -> None:
    assert not is_run_key(key)
    with pytest.raises(StorageError, match="not a valid run key"):
        Home(tmp_path).run(key)


def test_only_the_map_of_the_home_reads_evergreen_home() -> None:
    project = Path(__file__).parents[2]
    asked = re.compile(r"environ(?:\.get\(|\[)\s*\"EVERGREEN_HOME\"")

    readers = [
        path.relative_to(project).as_posix()
        for room in ("evergreen", "flows", "tasks", "pipeline_lib")
        for path in (project / room).rglob("*.py")
        if asked.search(path.read_text("utf-8"))
    ]

    assert readers == ["pipeline_lib/home.py"]


def test_a_home_of_an_unknown_user_is_refused_where_it_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", "~nobody-of-this-name/x")

    with pytest.raises(UsageError, match="write the whole path"):
        find_home()
