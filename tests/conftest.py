"""What every test stands on: a home of its own, one thread, no server from outside."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, settings

from pipeline_lib.config import PipelineConfig

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]

settings.register_profile(
    "evergreen",
    database=None,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("evergreen")


@pytest.fixture(autouse=True)
def evergreen_home_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point EVERGREEN_HOME at a folder of the test, and forget servers named outside."""
    home = tmp_path / "home"
    monkeypatch.setenv("EVERGREEN_HOME", str(home))
    for name in list(os.environ):
        if name.startswith(("MLFLOW_TRACKING", "PREFECT_API_URL", "PREFECT_HOME")):
            monkeypatch.delenv(name)
    if "torch" in sys.modules:  # tests of the config never bring it
        sys.modules["torch"].set_num_threads(1)
    return home


@pytest.fixture(scope="session")
def harness() -> Iterator[None]:
    """One Prefect server for the whole session, which lets nobody else in."""
    from prefect.settings import (
        PREFECT_API_AUTH_STRING,
        PREFECT_SERVER_API_AUTH_STRING,
        temporary_settings,
    )
    from prefect.testing.utilities import prefect_test_harness

    secret = f"tests:{secrets.token_urlsafe(16)}"
    with (
        temporary_settings(
            {PREFECT_API_AUTH_STRING: secret, PREFECT_SERVER_API_AUTH_STRING: secret}
        ),
        prefect_test_harness(server_startup_timeout=900),
    ):
        yield


@pytest.fixture(scope="session")
def table_config() -> MakeConfig:
    """Return a factory of small configs; keywords replace or extend its top-level sections."""

    def make(**sections: dict[str, Any] | str) -> PipelineConfig:
        tree: dict[str, Any] = {
            "name": "toy",
            "data": {
                "source": {"kind": "csv", "path": "toy.csv"},
                "target": "label",
                "task": "multiclass",
            },
            "columns": {"color": {"kind": "category"}, "size": {"kind": "number"}},
            "model": {"d_hidden": [8], "dropout": 0.0, "dropout_embedding": 0.0},
            "training": {
                "epochs": 3,
                "batch_size": 32,
                "device": "cpu",
                "optimizer": {"kind": "adam", "learning_rate": 0.01},
            },
        }
        for name, section in sections.items():
            extends = isinstance(section, dict) and name != "columns"
            tree[name] = {**tree.get(name, {}), **section} if extends else section
        return PipelineConfig.model_validate(tree)

    return make


@pytest.fixture(scope="session")
def toy_table() -> MakeTable:
    """Return a factory of tables: `color` and `size` decide `label`; rows are all different."""

    def make(n_rows: int = 200, *, task: str = "multiclass", seed: int = 0) -> pa.Table:
        random = np.random.default_rng(seed)
        colors = np.array(["red", "green", "blue", "teal"])[random.integers(0, 4, n_rows)]
        sizes = random.normal(20.0, 5.0, n_rows)
        if task == "regression":
            labels = pa.array(1000.0 + 30.0 * sizes + 50.0 * (colors == "red"), pa.float64())
        elif task == "binary":
            labels = pa.array(np.where((sizes > 20) ^ (colors == "red"), "yes", "no").tolist())
        else:
            named = np.where(colors == "red", "hot", np.where(sizes > 20, "large", "small"))
            labels = pa.array(named.tolist(), pa.string())
        return pa.table(
            {"color": pa.array(colors.tolist(), pa.string()), "size": sizes, "label": labels}
        )

    return make
