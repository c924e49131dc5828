"""Where a night's state lies: with the config's project, wherever that is and one stands."""

import shutil
from pathlib import Path

import pyarrow.csv as pa_csv
import pytest
from mlflow import MlflowClient

from flows.retrain import retrain
from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.encoding.encoded_splits import read_ledger
from pipeline_lib.evaluation.journal import read_journal
from pipeline_lib.home import find_home
from pipeline_lib.tracking.store import connect
from tests.flows.conftest import CONFIG


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project; the working directory is another one."""
    folder, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    (folder / "configs").mkdir(parents=True)
    elsewhere.mkdir()
    for place in (folder, elsewhere):
        (place / "prefect.yaml").touch()
    (folder / "configs" / "cars.yaml").write_text(CONFIG)
    monkeypatch.delenv("EVERGREEN_HOME")
    monkeypatch.chdir(elsewhere)
    return folder


def test_a_flow_run_from_elsewhere_keeps_its_state_in_the_configs_project(
    harness: None, project: Path
) -> None:
    state = retrain(str(project / "configs" / "cars.yaml"), return_state=True)  # there is no table

    assert state.is_failed()
    assert (project / ".evergreen" / "datasets" / "cars").is_dir()
    assert [path.name for path in Path.cwd().iterdir()] == ["prefect.yaml"]


@pytest.mark.slow
def test_a_moved_and_a_copied_project_go_on_and_touch_nothing_of_the_old_place(
    harness: None, project: Path, tmp_path: Path
) -> None:
    table = car_evaluation()

    def night(place: Path, n_rows: int) -> str:
        pa_csv.write_csv(table.slice(0, n_rows), place / "cars.csv")
        state = retrain(str(place / "configs" / "cars.yaml"), return_state=True)
        return state.result().reason

    def store(place: Path) -> MlflowClient:
        return connect(find_home(place))

    assert "first model" in night(project, 1400)
    copy, moved = tmp_path / "a copy", tmp_path / "moved ü#"
    shutil.copytree(project, copy)
    before = sorted(path for path in project.rglob("*"))

    of_copy = night(copy, 1500)
    files = sorted(path for path in project.rglob("*"))
    project.rename(moved)
    of_moved = night(moved, 1600)

    assert "champion v1" in of_copy
    assert files == before
    assert "champion v1" in of_moved
    assert not project.exists()
    for place in (copy, moved):
        assert len(store(place).search_model_versions("name = 'cars'")) == 2
        assert len(read_journal(find_home(place).dataset("cars"))) == 2
    assert [path.name for path in Path.cwd().iterdir()] == ["prefect.yaml"]


@pytest.mark.slow
def test_a_night_with_a_lost_ledger_starts_from_the_champions_codes_and_its_page_says_so(
    harness: None, project: Path
) -> None:
    config = str(project / "configs" / "cars.yaml")
    table = car_evaluation()
    pa_csv.write_csv(table.slice(600, 1000), project / "cars.csv")
    retrain(config, return_state=True)
    dataset = find_home(project).dataset("cars")
    before = {n: words.categories.to_pylist() for n, words in read_ledger(dataset).items()}
    shutil.rmtree(dataset.ledger.parent)
    pa_csv.write_csv(table, project / "cars.csv")

    outcome = retrain(config, return_state=True).result()

    after = {n: words.categories.to_pylist() for n, words in read_ledger(dataset).items()}
    assert {name: words[: len(before[name])] for name, words in after.items()} == before
    assert "the ledger was not there: it starts from the" in Path(outcome.report).read_text()
