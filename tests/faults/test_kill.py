"""A plug pulled in the middle of a night: nothing is lost but time, nothing is half done."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

EPOCHS = 300


@pytest.mark.slow
def test_a_kill_in_training_registers_nothing_and_the_next_run_cleans_up(
    tmp_path: Path, start: Callable[..., Any]
) -> None:
    home = tmp_path / "home"
    victim = start(home, f"training.epochs={EPOCHS}")
    victim.wait_until(lambda: len(victim.epochs()) >= 30)

    victim.process.kill()
    victim.process.wait()
    n_epochs = len(victim.epochs())
    assert victim.survivors() == []
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    with pytest.raises(MlflowException):
        client.get_model_version_by_alias("car_evaluation", "champion")

    again = start(home, f"training.epochs={EPOCHS}")

    assert again.wait() == 0, again.printed
    resumed = re.search(r"train     resumes at epoch (\d+)", again.printed)
    assert resumed is not None, again.printed
    assert 1 < int(resumed[1]) <= n_epochs + 2
    experiment = client.get_experiment_by_name("car_evaluation")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time"])
    assert [run.info.status for run in runs] == ["KILLED", "FINISHED"]
    points = client.get_metric_history(runs[1].info.run_id, "train/loss")
    assert [point.step for point in points] == list(range(1, EPOCHS + 1))
    champion = client.get_model_version_by_alias("car_evaluation", "champion")
    assert champion.run_id == runs[1].info.run_id
    assert len(client.search_model_versions("name = 'car_evaluation'")) == 1
