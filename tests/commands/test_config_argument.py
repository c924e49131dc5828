"""Which config a person means: a path, a name of one in `configs/`, or nothing that is there."""

from pathlib import Path

import pytest

from evergreen.config_argument import dataset_name, find_config
from pipeline_lib.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with the configs `sales` and `shops`, and go there."""
    (tmp_path / "prefect.yaml").write_text("")
    (tmp_path / "configs").mkdir()
    (tmp_path / "sub").mkdir()
    text = (PROJECT / "configs" / "car_evaluation.yaml").read_text()
    for name in ("sales.yaml", "shops.yml"):
        (tmp_path / "configs" / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("configs/sales.yaml", "configs/sales.yaml"),
        ("sales", "configs/sales.yaml"),
        ("sales.yaml", "configs/sales.yaml"),
        ("shops", "configs/shops.yml"),
        ("configs/sales", "configs/sales.yaml"),
    ],
)
def test_a_name_means_the_config_of_the_project(project: Path, given: str, found: str) -> None:
    assert find_config(Path(given)) == Path(found)


def test_a_name_means_the_config_of_the_project_from_a_folder_within_too(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "sub")

    assert find_config(Path("sales")) == Path("../configs/sales.yaml")


def test_a_folder_of_the_datasets_name_does_not_hide_its_config(project: Path) -> None:
    (project / "sales").mkdir()

    assert find_config(Path("sales")) == Path("configs/sales.yaml")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("slaes", "slaes: there is no such file; did you mean configs/sales.yaml?"),
        ("configs/sale.yaml", "no such file; did you mean sales.yaml?"),
        ("elsewhere/sales", "no such file; did you mean configs/sales.yaml?"),
        ("weather", "no such file; known: 'configs/sales.yaml', 'configs/shops.yml'"),
        ("configs", "configs: is a folder; name a config, as 'configs/sales.yaml'"),
        ("", "is a folder"),
        ("prefect", "there is no such file; known:"),
        ("a" * 300, "cannot be read: File name too long"),
    ],
)
def test_what_is_no_config_is_said_with_the_nearest_one(
    project: Path, given: str, said: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        find_config(Path(given))

    assert said in str(raised.value)
    assert raised.value.exit_code == 2


def test_without_any_config_the_way_to_write_one_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match="evergreen new TABLE --target COLUMN"):
        find_config(Path("sales"))


def test_a_config_stands_for_its_dataset(project: Path) -> None:
    assert dataset_name("configs/sales.yaml") == "car_evaluation"
    assert dataset_name("sales") == "sales"
