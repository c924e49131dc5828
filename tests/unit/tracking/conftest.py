"""One embedded MLflow store for the session: creating its tables takes seconds."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from mlflow import MlflowClient

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.snapshot import Snapshot
from pipeline_lib.serving import FittedModel
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
    return connect()


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Return a snapshot of rows that nobody reads."""
    return Snapshot(tmp_path, "ab" * 32, 1728, "toy.csv")


@pytest.fixture(scope="session")
def fitted(table_config: MakeConfig, toy_table: MakeTable) -> FittedModel:
    """Return a small model to package."""
    return fit(table_config(), toy_table(200))
