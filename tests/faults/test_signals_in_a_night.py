"""A signal that is lost while a night registers its model: no promotion after it was heard."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

PROJECT = Path(__file__).resolve().parents[2]
HINT = "interrupted; run the same command again to go on\n"
# What the operating system does in any line of any library happens here before a certain one.
PROGRAM = """
import os, signal, sys, weakref
import pipeline_lib.tracking.{module} as module

def lose_a_signal():
    class Thing: pass
    thing = Thing()
    held = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.{name}))
    del thing

def first(*arguments, real=module.{function}, **named):
    lose_a_signal()
    return real(*arguments, **named)

module.{function} = first
from evergreen.__main__ import main
sys.argv = ["evergreen", "run", "configs/car_evaluation.yaml", "--promote"]
for text in ("model.d_hidden=[8]", "promotion.floor=0.3", "training.epochs=2"):
    sys.argv += ["--set", text]
main()
"""


def night(home: Path, program: str) -> Any:
    named = ("MLFLOW_", "PREFECT_", "EVERGREEN_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(named)}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env={**clean, "EVERGREEN_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=900,
    )


@pytest.mark.slow
def test_a_signal_lost_in_register_ends_the_night_and_the_next_one_promotes(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    client = MlflowClient(f"sqlite:///{home / 'mlflow.db'}")

    def champion() -> str:
        try:
            return str(client.get_model_version_by_alias("car_evaluation", "champion").version)
        except MlflowException:
            return ""

    lost = night(home, PROGRAM.format(module="judgement", function="promote", name="SIGTERM"))
    after_the_signal = champion()
    again = night(home, PROGRAM.format(module="judgement", function="judge", name="SIGCONT"))

    assert (lost.returncode, after_the_signal) == (143, ""), lost.stdout
    assert lost.stdout.endswith(HINT)
    assert lost.stdout.count("interrupted") == 1
    assert "Traceback" not in lost.stdout
    assert "Exception ignored" not in lost.stdout
    assert (again.returncode, champion()) == (0, "1"), again.stdout
    experiment = client.get_experiment_by_name("car_evaluation")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time"])
    assert [run.info.status for run in runs] == ["KILLED", "FINISHED"]
