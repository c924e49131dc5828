"""An MLflow server that is killed while a network learns: once for a while, then for good."""

import re
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline_lib.home import find_home
from pipeline_lib.storage.json_files import read_json_lines
from pipeline_lib.tracking.epochs import EpochLog
from pipeline_lib.tracking.reference import RunReference
from pipeline_lib.tracking.runs import TrackedRun
from pipeline_lib.training.records import EpochRecord

EPOCHS = 1500


@dataclass(frozen=True)
class Story:
    """What is left of a night whose MLflow was away twice, and of the next one."""

    steps_when_back: list[int]
    lines: list[int]
    first_code: int
    first_printed: str
    second_code: int
    second_printed: str
    client: MlflowClient

    def runs(self) -> list[Run]:
        experiment = self.client.get_experiment_by_name("car_evaluation")
        assert experiment is not None
        return list(self.client.search_runs([experiment.experiment_id], order_by=["start_time"]))

    def steps(self, run: Run, key: str) -> list[int]:
        return [point.step for point in self.client.get_metric_history(run.info.run_id, key)]


@pytest.fixture(scope="module")
def story(
    tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Any], mlflow_server: Any
) -> Story:
    """Live through it; `start` and `mlflow_server` are of conftest.py."""
    home = tmp_path_factory.mktemp("away") / "home"
    server = {"MLFLOW_TRACKING_URI": mlflow_server.url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}

    def run() -> Any:
        return start(home, f"training.epochs={EPOCHS}", **server)

    command = run()
    client = MlflowClient(mlflow_server.url)

    def sent() -> list[int]:
        experiment = client.get_experiment_by_name("car_evaluation")
        runs = client.search_runs([experiment.experiment_id]) if experiment else []
        points = client.get_metric_history(runs[0].info.run_id, "train/loss") if runs else []
        return [point.step for point in points]

    command.wait_until(lambda: len(command.epochs()) > 60)
    mlflow_server.kill()
    killed_at = len(command.epochs())
    command.wait_until(lambda: len(command.epochs()) > killed_at + 50)
    mlflow_server.start()
    command.wait_until(lambda: len(sent()) > killed_at + 50)
    steps_when_back = sent()
    mlflow_server.kill()
    first_code = command.wait()
    lines = [int(str(line["epoch"])) for line in read_json_lines(*home.glob("runs/*/epochs.jsonl"))]
    mlflow_server.start()
    again = run()
    second_code = again.wait()
    return Story(
        steps_when_back, lines, first_code, command.printed, second_code, again.printed, client
    )


@pytest.mark.slow
def test_the_curve_is_whole_when_mlflow_is_back(story: Story) -> None:
    assert story.steps_when_back == list(range(1, len(story.steps_when_back) + 1))


@pytest.mark.slow
def test_the_file_holds_every_epoch_though_mlflow_is_away(story: Story) -> None:
    assert story.lines == list(range(1, EPOCHS + 1))


@pytest.mark.slow
def test_mlflow_being_away_is_warned_of_and_slows_no_training_down(story: Story) -> None:
    warnings = re.findall(r".*does not answer; epochs wait", story.first_printed)

    assert 2 <= len(warnings) <= 100  # not one for each epoch
    assert "http.client" not in story.first_printed


@pytest.mark.slow
def test_a_night_whose_mlflow_stays_away_ends_with_one_message_that_says_what_to_do(
    story: Story,
) -> None:
    assert story.first_code == 1
    assert "Traceback" not in story.first_printed
    [message] = re.findall(r"^error: .*", story.first_printed, re.MULTILINE)
    assert re.match(r"error: no MLflow server answers at 127\.0\.0\.1:\d+ ", message)
    assert "run the same again, and it goes on from there" in message
    assert story.first_printed.endswith(f"{message}\n")


@pytest.mark.slow
def test_the_next_run_goes_on_at_the_end_of_the_training_and_its_curve_is_whole(
    story: Story,
) -> None:
    assert story.second_code == 0, story.second_printed
    assert f"resumes at the end, epoch {EPOCHS}" in story.second_printed
    abandoned, finished = story.runs()
    assert (abandoned.info.status, finished.info.status) == ("KILLED", "FINISHED")
    for key in ("train/loss", "val/loss", "learning_rate", "epoch_s"):
        assert story.steps(finished, key) == list(range(1, EPOCHS + 1))


def test_a_server_that_is_away_is_not_asked_again_at_every_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    asked: list[object] = []

    class HangsUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked.append(self.client_address)

    with socketserver.TCPServer(("127.0.0.1", 0), HangsUp) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = MlflowClient(f"http://127.0.0.1:{server.server_address[1]}")
        run = TrackedRun(client, RunReference("0" * 32, "1", "k", 1_000, "", find_home()))
        log = EpochLog(tmp_path / "epochs.jsonl", run, primary="accuracy")
        for epoch in range(1, 201):
            log.append(EpochRecord(epoch, 1.0, 1.0, 0.5, 0.1, epoch_s=0.1, is_best=False))
        server.shutdown()

    assert 1 <= len(asked) <= 5
    assert len(read_json_lines(tmp_path / "epochs.jsonl")) == 200
