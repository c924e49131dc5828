"""A nightly run that a worker has started is cancelled on Prefect's page, then terminated."""

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

PARAMETERS = {
    "config": "configs/car_evaluation.yaml",
    "overrides": {"epochs": 100_000},
    "assignments": ["model.d_hidden=[8]"],
}
pytestmark = pytest.mark.slow


class Api:
    """Prefect's, as its page uses it."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/api"

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=900) as answer:
            return json.load(answer)

    def start(self) -> str:
        named = {"deployments": {"name": {"any_": ["on-demand"]}}}
        [deployment] = self.post("/deployments/filter", named)
        path = f"/deployments/{deployment['id']}/create_flow_run"
        return str(self.post(path, {"parameters": PARAMETERS})["id"])

    def state(self, flow_run: str) -> dict[str, Any]:
        [found] = self.post("/flow_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}})
        return dict(found["state"])

    def log(self, flow_run: str) -> str:
        lines = self.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [flow_run]}}})
        return "\n".join(line["message"] for line in lines)


@dataclass(frozen=True)
class Ended:
    """How a flow run ended, and what it left."""

    state: dict[str, Any]
    log: str
    saved: bool
    n_epochs: int
    processes: list[int]


@dataclass(frozen=True)
class Story:
    """Two flow runs of one config: one cancelled, the next one terminated."""

    home: Path
    cancelled: Ended
    terminated: Ended


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory,
    prefect_server: Any,
    worker: Callable[[Path], Any],
) -> Story:
    """Live through them; `prefect_server` and `worker` are of conftest.py."""
    home, api = tmp_path_factory.mktemp("cancelled") / "home", Api(prefect_server.url)
    worker(home)

    def epochs(since_ns: int) -> int:
        files = [f for f in home.glob("runs/*/epochs.jsonl") if f.stat().st_mtime_ns > since_ns]
        return files[0].read_text().count("\n") if files else 0

    def ended(end: Callable[[str], object], since_ns: int) -> Ended:
        flow_run = api.start()
        _wait(lambda: epochs(since_ns) > 30)
        _wait(lambda: "train     on cpu" in api.log(flow_run))
        asked_ns = time.time_ns()
        end(flow_run)
        _wait(
            lambda: api.state(flow_run)["type"] in ("CANCELLED", "CRASHED", "FAILED", "COMPLETED")
        )
        _wait(lambda: not _processes_of(flow_run))
        saved = [f.stat().st_mtime_ns > asked_ns for f in home.glob("runs/*/checkpoint.pt")]
        return Ended(
            api.state(flow_run),
            api.log(flow_run),
            saved == [True],
            epochs(0),
            _processes_of(flow_run),
        )

    def cancel(flow_run: str) -> None:
        state = {"type": "CANCELLING", "name": "Cancelling"}
        answer = api.post(f"/flow_runs/{flow_run}/set_state", {"state": state})
        assert answer["status"] == "ACCEPT"

    def terminate(flow_run: str) -> None:
        for pid in _processes_of(flow_run):
            os.kill(pid, signal.SIGTERM)

    return Story(home, ended(cancel, time.time_ns()), ended(terminate, time.time_ns()))


def _processes_of(flow_run: str) -> list[int]:
    """Return the processes that the worker has started for a flow run."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if f"PREFECT__FLOW_RUN_ID={flow_run}".encode() in environment and b"engine" in command:
            found.append(int(folder.name))
    return found


def _wait(happened: Callable[[], bool], timeout_s: float = 900) -> None:
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


def test_a_cancelled_run_ends_cancelled_and_a_terminated_one_crashed(story: Story) -> None:
    assert story.cancelled.state["type"] == "CANCELLED"
    assert story.terminated.state["type"] == "CRASHED"


def test_both_save_their_training_before_they_end(story: Story) -> None:
    assert story.cancelled.saved
    assert story.terminated.saved


def test_both_leave_no_process_behind(story: Story) -> None:
    assert story.cancelled.processes == []
    assert story.terminated.processes == []


def test_the_next_run_of_a_cancelled_one_says_where_it_resumes(story: Story) -> None:
    found = re.search(r"train     resumes at epoch (\d+)", story.terminated.log)

    assert "resumes" not in story.cancelled.log
    assert found is not None
    assert int(found[1]) >= story.cancelled.n_epochs


def test_both_mlflow_runs_end_as_killed(story: Story) -> None:
    client = MlflowClient(f"sqlite:///{story.home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("car_evaluation")
    assert experiment is not None

    runs = client.search_runs([experiment.experiment_id])

    assert [run.info.status for run in runs] == ["KILLED", "KILLED"]
