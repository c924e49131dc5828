"""Which MLflow, and what is said when it is not there."""

import os
import shutil
import socket
import socketserver
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline_lib.errors import ServerError, StorageError, UsageError
from pipeline_lib.home import find_home
from pipeline_lib.tracking.store import connect, experiment_id, tracking_uri, ui_url


@pytest.fixture
def hanging_up() -> Iterator[tuple[int, list[object]]]:
    """Give the port of a server that answers no one, and the clients that have called."""
    callers: list[object] = []

    class HangUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            callers.append(self.client_address)

    with socketserver.TCPServer(("127.0.0.1", 0), HangUp) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1], callers
        server.shutdown()
        thread.join()


def test_a_server_that_does_not_answer_is_asked_once_though_mlflow_would_retry_for_minutes(
    hanging_up: tuple[int, list[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, callers = hanging_up
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")

    with pytest.raises(ServerError, match=rf"no MLflow server answers at 127\.0\.0\.1:{port}"):
        connect(find_home())

    assert len(callers) == 1


def test_a_port_where_no_server_listens_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:  # bound, and never listens
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")

        with pytest.raises(ServerError, match=rf"no MLflow server answers at 127\.0\.0\.1:{port}"):
            connect(find_home())


@pytest.mark.parametrize("uri", ["http://", "http://no host/", "https://127.0.0.1:x"])
def test_an_address_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    with pytest.raises((ServerError, UsageError), match="MLFLOW_TRACKING_URI"):
        connect(find_home())


def test_without_a_server_the_database_lies_below_the_home_and_not_where_one_stands(
    client: MlflowClient, store_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del client
    monkeypatch.chdir(tmp_path)

    assert tracking_uri(find_home()) == f"sqlite:///{store_home}/mlflow.db"
    connect(find_home())
    assert list(tmp_path.iterdir()) == []
    assert ui_url() == "http://127.0.0.1:5000"


def test_another_home_is_another_store_in_the_same_process(
    client: MlflowClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del client

    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "other"))

    assert tracking_uri(find_home()) == f"sqlite:///{tmp_path}/other/mlflow.db"


def test_a_home_that_cannot_be_written_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "file" / "home"))

    with pytest.raises(StorageError, match="EVERGREEN_HOME"):
        connect(find_home())


def test_a_database_of_another_mlflow_is_told_with_its_reason(
    client: MlflowClient, store_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del client
    shutil.copy(store_home / "mlflow.db", tmp_path / "mlflow.db")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '0c779009ac13'")
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))

    with pytest.raises(ServerError, match="out-of-date database schema"):
        connect(find_home())


def test_an_experiment_is_created_once(client: MlflowClient) -> None:
    first = experiment_id(client, "store_a")

    assert experiment_id(client, "store_a") == first


def test_a_deleted_experiment_is_told_with_the_command_that_restores_it(
    client: MlflowClient,
) -> None:
    found = experiment_id(client, "store_b")
    client.delete_experiment(found)

    with pytest.raises(ServerError, match=rf"mlflow experiments restore --experiment-id {found}"):
        experiment_id(client, "store_b")


def test_a_home_is_no_setting_that_the_next_home_of_the_process_meets(
    client: MlflowClient, store_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del client
    experiment_id(connect(find_home()), "store_c")
    shutil.copy(store_home / "mlflow.db", tmp_path / "mlflow.db")
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))

    other = connect(find_home())
    experiment_id(other, "store_d")

    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert other.tracking_uri == mlflow.get_tracking_uri() == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("EVERGREEN_HOME", str(store_home))
    assert connect(find_home()).get_experiment_by_name("store_d") is None


def test_the_server_that_a_person_names_stays_the_setting_of_the_process(
    client: MlflowClient, store_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del client
    uri = f"sqlite:///{store_home}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))

    assert connect(find_home()).tracking_uri == uri
    assert os.environ["MLFLOW_TRACKING_URI"] == uri
