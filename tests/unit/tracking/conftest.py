"""One embedded MLflow store for the session: creating its tables takes seconds."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest
from mlflow import MlflowClient

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.home import find_home
from pipeline_lib.serving import FittedModel
from pipeline_lib.tracking.package import package_model
from pipeline_lib.tracking.reference import RegisteredVersion
from pipeline_lib.tracking.registry import register_version
from pipeline_lib.tracking.runs import TrackedRun, start_run
from pipeline_lib.tracking.store import connect

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


@pytest.fixture(scope="session")
def store_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home whose store the first test creates and the others share."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def evergreen_home_of_the_test(store_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point EVERGREEN_HOME at the shared store; tests use names of their own in it."""
    monkeypatch.setenv("EVERGREEN_HOME", str(store_home))
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    return store_home


@pytest.fixture
def client() -> MlflowClient:
    """Return a client of the shared store."""
    return connect(find_home())


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Return a snapshot of rows that nobody reads."""
    return Snapshot(tmp_path, "ab" * 32, 1728, "toy.csv", dataset=find_home().dataset("toy"))


@pytest.fixture(scope="session")
def fitted(table_config: MakeConfig, toy_table: MakeTable) -> FittedModel:
    """Return a small model to package."""
    return fit(table_config(), toy_table(200))


class Registered(NamedTuple):
    """A version and where it came from."""

    run: TrackedRun
    uri: str
    folder: Path
    version: RegisteredVersion


@pytest.fixture
def register(
    table_config: MakeConfig, snapshot: Snapshot, fitted: FittedModel, tmp_path: Path
) -> Callable[[str, str], Registered]:
    """Return a function that packages and registers the model under a name and run key."""

    def make(name: str, run_key: str) -> Registered:
        config = table_config(name=name)
        folder = tmp_path / run_key / "model"
        fitted.save(folder)
        tags = {"trigger": "manual"}
        with start_run(
            config, find_home(), snapshot, run_key=run_key, run_name="n", tags=tags
        ) as reference:
            run = TrackedRun.of(reference)
            uri = package_model(run, folder)
            version = register_version(run, name, uri, folder, {"decision": "promoted"})
        return Registered(run, uri, folder, version)

    return make
