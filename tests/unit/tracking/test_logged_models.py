"""Nothing stays pending in MLflow, and each version has one package."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import LoggedModelStatus

from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.errors import ModelError
from pipeline_lib.home import find_home
from pipeline_lib.serving import FittedModel
from pipeline_lib.tracking import package as package_module
from pipeline_lib.tracking.package import package_model, packaged
from pipeline_lib.tracking.runs import start_run
from tests.unit.tracking.conftest import MakeConfig, Registered

Register = Callable[[str, str], Registered]


def _statuses(client: MlflowClient, made: Registered) -> list[LoggedModelStatus]:
    models = client.search_logged_models([made.run.reference.experiment_id])
    return sorted(LoggedModelStatus(model.status) for model in models)


def test_a_model_is_pending_until_it_is_registered_and_ready_then(
    client: MlflowClient, register: Register
) -> None:
    made = register("logged_ready", "key-1")

    assert _statuses(client, made) == [LoggedModelStatus.READY]
    package_model(made.run, made.folder)
    assert LoggedModelStatus.PENDING in _statuses(client, made)


def test_the_next_night_removes_what_a_kill_left_pending_and_keeps_what_is_registered(
    client: MlflowClient, register: Register, table_config: MakeConfig, snapshot: Snapshot
) -> None:
    made = register("logged_killed", "key-1")
    registered = Path(download_artifacts(made.uri))
    # Killed after the version was made, and before the model was ready; then in the next one.
    client.finalize_logged_model(made.uri.removeprefix("models:/"), LoggedModelStatus.PENDING)
    left = Path(download_artifacts(package_model(made.run, made.folder)))
    other = register("logged_other", "key-2")
    pending = package_model(other.run, other.folder)

    config = table_config(name="logged_killed")
    with start_run(config, find_home(), snapshot, run_key="key-9", run_name="n", tags={}):
        pass

    assert _statuses(client, made) == [LoggedModelStatus.READY]
    assert not left.exists()
    assert registered.exists()
    assert client.get_logged_model(pending.removeprefix("models:/")) is not None


def test_a_package_that_cannot_be_verified_leaves_nothing(
    client: MlflowClient,
    register: Register,
    fitted: FittedModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import pandas as pd

    made = register("logged_unverified", "key-1")
    monkeypatch.setattr(package_module, "_REPLAY_TIMEOUT_S", 0.01)

    with pytest.raises(ModelError, match="took over"):
        packaged(made.run, made.folder, pd.DataFrame({"color": ["red"], "size": [1.0]}))

    assert _statuses(client, made) == [LoggedModelStatus.READY]


def test_packaging_puts_nothing_into_the_temporary_folder(
    register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, make = list[str](), tempfile.mkdtemp

    def counted(*args: str | None) -> str:
        asked.append(make(*args))
        return asked[-1]

    made = register("logged_scratch", "key-1")
    monkeypatch.setattr(tempfile, "mkdtemp", counted)

    package_model(made.run, made.folder)

    assert len(asked) <= 1  # MLflow's, for notebooks: it stays empty (3.17)


def test_a_package_is_small(register: Register) -> None:
    package = Path(download_artifacts(register("logged_small", "k").uri))
    files = [path for path in package.rglob("*") if path.is_file()]

    assert len(files) < 130
    assert sum(path.stat().st_size for path in files) < 600_000
