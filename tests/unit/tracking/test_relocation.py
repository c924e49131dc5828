"""A home that was moved or copied: its database follows, and nothing is written elsewhere."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.home import Home, find_home
from pipeline_lib.storage.digests import digest_file
from pipeline_lib.tracking.relocation import follow_home
from pipeline_lib.tracking.runs import start_run
from pipeline_lib.tracking.store import connect, experiment_id

MakeConfig = Callable[..., PipelineConfig]
Use = Callable[[Path], MlflowClient]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Return a function that connects to the store of a home."""

    def connected(home: Path) -> MlflowClient:
        monkeypatch.setenv("EVERGREEN_HOME", str(home))
        return connect(find_home())

    return connected


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home with a run that has an artifact, and a registered version."""
    home = tmp_path_factory.mktemp("a project") / ".evergreen"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        client = connect(find_home())
        run = client.create_run(experiment_id(client, "cars"))
        client.log_text(run.info.run_id, "hello", "a/report.md")
        client.create_registered_model("cars")
        client.create_model_version("cars", f"{run.info.artifact_uri}/a", run.info.run_id)
        connect(find_home())
    return home


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    """Return such a home for one test; it lies where it was made."""
    place = tmp_path / "old" / ".evergreen"
    shutil.copytree(filled, place)
    follow_home(Home(place))
    return place


def _moved(home: Path, name: str) -> Path:
    """Move the project of a home."""
    place = home.parent.with_name(name)
    home.parent.rename(place)
    return place / home.name


def _run_id(client: MlflowClient) -> str:
    experiment = client.get_experiment_by_name("cars")
    assert experiment is not None
    (first, *_) = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    return str(first.info.run_id)


def _report(client: MlflowClient, folder: Path) -> str:
    folder.mkdir()
    return Path(client.download_artifacts(_run_id(client), "a/report.md", str(folder))).read_text()


def _addresses(home: Path) -> set[str]:
    with sqlite3.connect(home / "mlflow.db") as database:
        rows = [
            *database.execute("SELECT artifact_location FROM experiments WHERE name = 'cars'"),
            *database.execute("SELECT artifact_uri FROM runs"),
            *database.execute("SELECT source FROM model_versions"),
        ]
    return {str(address) for (address,) in rows}


@pytest.mark.parametrize("name", ["new", "a b", "ü#", "50%", "it's"])
@pytest.mark.parametrize("is_noted", [True, False], ids=["noted", "of an earlier release"])
def test_a_moved_home_reads_and_writes_its_artifacts_where_it_is_now(
    home: Path, use: Use, tmp_path: Path, name: str, is_noted: bool
) -> None:
    if not is_noted:
        (home / "home.json").unlink()
    moved = _moved(home, name)

    client = use(moved)
    client.log_text(_run_id(client), "later", "a/later.md")
    client.log_text(client.create_run(experiment_id(client, "cars")).info.run_id, "x", "b.md")

    assert _report(client, tmp_path / "out") == "hello"
    assert len(list(moved.glob("artifacts/cars/*/artifacts/a/later.md"))) == 1
    assert len(list(moved.glob("artifacts/cars/*/artifacts/b.md"))) == 1
    assert not home.parent.exists()
    version = client.get_model_version("cars", "1")
    assert str(version.source).startswith(f"{moved.as_uri()}/artifacts/cars/")


def test_a_copied_home_leaves_the_files_and_the_database_of_the_original_alone(
    home: Path, use: Use, tmp_path: Path
) -> None:
    copy = tmp_path / "copy" / ".evergreen"
    shutil.copytree(home, copy)
    before = {path: digest_file(path) for path in home.rglob("*") if path.is_file()}

    client = use(copy)
    client.log_text(_run_id(client), "of the copy", "a/report.md")

    assert before == {path: digest_file(path) for path in home.rglob("*") if path.is_file()}
    assert _report(client, tmp_path / "of the copy") == "of the copy"
    assert _report(use(home), tmp_path / "of the original") == "hello"


def test_a_move_is_reported_once(home: Path, use: Use, caplog: pytest.LogCaptureFixture) -> None:
    moved = _moved(home, "new")

    use(moved)
    use(moved)

    told = [text for text in caplog.messages if "moved" in text]
    assert told == [f"the home was moved or copied from {home}: 4 addresses of artifacts follow it"]
    assert json.loads((moved / "home.json").read_text()) == {"home": str(moved)}


def test_a_home_that_is_moved_twice_and_back_follows_each_time(
    home: Path, use: Use, tmp_path: Path
) -> None:
    for number, name in enumerate(("new", "newer", "old", "new")):
        home = _moved(home, name)
        assert _report(use(home), tmp_path / f"out{number}") == "hello"


@pytest.mark.parametrize("is_noted", [True, False], ids=["noted", "of an earlier release"])
def test_artifacts_outside_the_home_stay_where_a_person_has_put_them(
    home: Path, use: Use, tmp_path: Path, is_noted: bool
) -> None:
    client = use(home)
    outside = {
        "far": (tmp_path / "disk" / "artifacts" / "far").as_uri(),
        "beside": f"{home.parent.as_uri()}/.evergreen2/artifacts/beside",
        "bucket": "s3://bucket/artifacts/bucket",
        "server": "mlflow-artifacts:/artifacts/server",
    }
    for name, location in outside.items():
        client.create_experiment(name, artifact_location=location)
    if not is_noted:
        (home / "home.json").unlink()

    client = use(_moved(home, "new"))

    for name, location in outside.items():
        experiment = client.get_experiment_by_name(name)
        assert experiment is not None
        assert experiment.artifact_location == location


@pytest.mark.parametrize("form", ["file://{home}/artifacts/{id}", "{home}/artifacts/{id}"])
def test_artifacts_of_a_server_started_on_the_home_follow_it_too(
    home: Path, use: Use, tmp_path: Path, form: str
) -> None:
    client = use(home)
    number = client.create_experiment("served", artifact_location="file:///to/be/known")
    with sqlite3.connect(home / "mlflow.db") as database:
        location = form.format(home=home, id=number)
        database.execute(
            "UPDATE experiments SET artifact_location = ? WHERE name = 'served'", (location,)
        )
    client.log_text(client.create_run(number).info.run_id, "x", "b.md")
    (home / "home.json").unlink()

    moved = _moved(home, "new")
    client = use(moved)

    (run,) = client.search_runs([number])
    place = client.download_artifacts(run.info.run_id, "b.md", str(tmp_path))
    assert Path(place).read_text() == "x"
    assert str(moved) in str(run.info.artifact_uri)


def test_a_kill_before_the_new_place_is_noted_changes_nothing_that_is_done(
    home: Path, use: Use, tmp_path: Path
) -> None:
    moved = _moved(home, "new")
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pipeline_lib.home import Home\n"
        "from pipeline_lib.tracking.relocation import follow_home\n"
        "def kill(event, arguments):\n"
        "    if event == 'os.rename': os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(kill)\n"
        "follow_home(Home(Path(sys.argv[1])))\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(moved)], check=False)
    after_the_kill = _addresses(moved)

    client = use(moved)

    assert killed.returncode == -signal.SIGKILL
    assert json.loads((moved / "home.json").read_text()) == {"home": str(moved)}
    assert _addresses(moved) == after_the_kill
    assert _report(client, tmp_path / "out") == "hello"


def test_two_processes_follow_a_moved_home_at_once(home: Path, use: Use, tmp_path: Path) -> None:
    moved = _moved(home, "new")
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from pipeline_lib.home import Home\n"
        "from pipeline_lib.tracking.relocation import follow_home\n"
        "follow_home(Home(Path(sys.argv[1])))\n"
    )

    both = [subprocess.Popen([sys.executable, "-c", script, str(moved)]) for _ in range(2)]

    assert [process.wait() for process in both] == [0, 0]
    assert all(address.startswith(moved.as_uri()) for address in _addresses(moved))
    assert _report(use(moved), tmp_path / "out") == "hello"


def test_a_run_that_a_kill_left_open_before_the_move_is_ended_after_it(
    home: Path,
    use: Use,
    table_config: MakeConfig,
    snapshot: Snapshot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, client = table_config(name="cars"), use(home)
    with start_run(config, find_home(), snapshot, run_key="one", run_name="n", tags={}) as killed:
        pass
    client.update_run(killed.run_id, "RUNNING")

    client = use(_moved(home, "datasets"))
    with start_run(config, find_home(), snapshot, run_key="two", run_name="n", tags={}):
        pass

    assert client.get_run(killed.run_id).info.status == "KILLED"
