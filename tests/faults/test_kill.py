"""A plug pulled in the middle of a night: nothing is lost but time, nothing is half done."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "evergreen", "run", "configs/car_evaluation.yaml"]
COMMAND += ["--set", "model.d_hidden=[8]", "--set", "training.epochs=300"]
COMMAND += ["--set", "promotion.floor=0.3"]


def _lines(home: Path) -> list[str]:
    files = list(home.glob("runs/*/epochs.jsonl"))
    return files[0].read_text().splitlines() if files else []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_kill_in_training_registers_nothing_and_the_next_run_cleans_up(tmp_path: Path) -> None:
    home = tmp_path / "home"
    environment = {**os.environ, "EVERGREEN_HOME": str(home)}
    victim = subprocess.Popen(
        COMMAND, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    end = time.monotonic() + 120
    while len(_lines(home)) < 30 and time.monotonic() < end and victim.poll() is None:
        time.sleep(0.02)
    assert victim.poll() is None, "the training ended before it could be killed"

    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    n_epochs = len([json.loads(line) for line in _lines(home)[:-1]])
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    with pytest.raises(MlflowException):
        client.get_model_version_by_alias("car_evaluation", "champion")

    done = subprocess.run(
        COMMAND, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False
    )

    assert n_epochs >= 29
    assert done.returncode == 0, done.stderr
    resumed = re.search(r"train     resumes at epoch (\d+)", done.stdout)
    assert resumed is not None, done.stdout
    assert 1 < int(resumed[1]) <= n_epochs + 2
    experiment = client.get_experiment_by_name("car_evaluation")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time"])
    assert [run.info.status for run in runs] == ["KILLED", "FINISHED"]
    points = client.get_metric_history(runs[1].info.run_id, "train/loss")
    assert [point.step for point in points] == list(range(1, 301))
    champion = client.get_model_version_by_alias("car_evaluation", "champion")
    assert champion.run_id == runs[1].info.run_id
    assert len(client.search_model_versions("name = 'car_evaluation'")) == 1
