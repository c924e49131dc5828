"""A Prefect server that is killed for good while a network learns."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

EPOCHS = 600
TOLD_LATER = "Prefect does not know how this run ended; the next run reports it"


@pytest.mark.slow
def test_a_night_whose_prefect_goes_away_trains_to_its_end_and_says_what_happened(
    tmp_path: Path, start: Callable[..., Any], prefect_server: Any
) -> None:
    home, api = tmp_path / "home", f"{prefect_server.url}/api"
    settings = {"PREFECT_API_URL": api, "PREFECT_CLIENT_MAX_RETRIES": "1"}

    command = start(home, f"training.epochs={EPOCHS}", **settings)
    command.wait_until(lambda: len(command.epochs()) > 60)
    prefect_server.kill()
    code = command.wait()
    prefect_server.start()
    again = start(home, f"training.epochs={EPOCHS}", **settings)

    assert again.wait() == 0, again.printed
    assert "skipped (version 1)" in again.printed
    assert "an earlier run was left open on the Prefect server" in again.printed
    assert code == 0, command.printed
    assert "promoted (version 1)" in command.printed
    assert "Traceback" not in command.printed
    assert "ERROR" not in command.printed
    assert "Error logging" not in command.printed
    assert TOLD_LATER in command.printed
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("car_evaluation")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    points = client.get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in points] == list(range(1, EPOCHS + 1))


@pytest.mark.slow
def test_a_night_whose_temporary_server_is_killed_trains_to_its_end_and_says_what_happened(
    tmp_path: Path, start: Callable[..., Any]
) -> None:
    home = tmp_path / "home"
    command = start(home, f"training.epochs={EPOCHS}")
    command.wait_until(lambda: len(command.epochs()) > 60)

    [server] = [
        pid
        for pid in command.processes()
        if b"create_app" in Path(f"/proc/{pid}/cmdline").read_bytes()
        and b"uvicorn" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(server, signal.SIGKILL)
    code = command.wait()  # Prefect's client asks no lost server again and again
    again = start(home, f"training.epochs={EPOCHS}")

    assert again.wait() == 0, again.printed
    assert "skipped (version 1)" in again.printed
    assert "an earlier run was left open on the Prefect server" in again.printed
    assert code == 0, command.printed
    assert "promoted (version 1)" in command.printed
    assert "Traceback" not in command.printed
    assert TOLD_LATER in command.printed
    assert "error" not in command.printed.replace("standard error", "")
