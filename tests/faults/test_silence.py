"""A server that takes calls and never answers them: nobody waits for it for long, or without word.

How long is "long" is measured generously: what is shown is that the end comes, not when.
"""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings

from evergreen import prefect_server as prefect_servers
from evergreen.prefect_server import require_server
from pipeline_lib.errors import ServerError
from tests.unit.test_asking import ENDLESS, server_that_says

EPOCHS = "training.epochs=40"
WAIT_S = 900.0


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


def test_a_silent_prefect_server_is_told_after_one_call(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{silent_port}/api"
    monkeypatch.setattr(prefect_servers, "HEALTH_S", 1.0)
    monkeypatch.setenv("PREFECT_API_URL", url)

    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(ServerError) as raised:
        require_server()

    assert f"the Prefect server at {url} does not answer within 1 s" in str(raised.value)


@pytest.mark.timeout(600)
def test_a_prefect_server_that_never_ends_its_answer_is_one_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prefect_servers, "HEALTH_S", 1.0)

    with server_that_says(ENDLESS, b" ") as url:
        monkeypatch.setenv("PREFECT_API_URL", url)
        with temporary_settings({PREFECT_API_URL: url}), pytest.raises(ServerError) as raised:
            require_server()

    assert f"the Prefect server at {url} does not answer within 1 s" in str(raised.value)


@pytest.mark.slow
def test_a_run_says_that_it_waits_for_a_silent_server_and_ends(
    tmp_path: Path, start: Callable[..., Any], silent_port: int
) -> None:
    url = f"http://127.0.0.1:{silent_port}/api"

    command = start(tmp_path / "home", PREFECT_API_URL=url)

    assert command.wait(WAIT_S) == 1
    assert f"waiting   for the Prefect server at {url}" in command.printed
    assert f"error: the Prefect server at {url} does not answer within 15 s" in command.printed
    assert "Traceback" not in command.printed


def flow_runs(url: str) -> list[FlowRun]:
    with SyncPrefectClient(f"{url}/api") as client:
        found = client.read_flow_runs()
    return sorted(found, key=lambda run: str(run.expected_start_time))


def pages(url: str, flow_run: FlowRun) -> list[str]:
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
    with SyncPrefectClient(f"{url}/api") as client:
        found = client.read_artifacts(flow_run_filter=of_run)
    return [str(page.data) for page in found if str(page.key).startswith("decision-")]


@pytest.mark.slow
def test_a_night_whose_prefect_falls_silent_ends_as_it_decided_and_the_next_run_tells_it(
    tmp_path: Path, start: Callable[..., Any], prefect_server: Any, proxy: Callable[[Any], Any]
) -> None:
    home, between = tmp_path / "home", proxy(prefect_server)
    known = {run.id for run in flow_runs(prefect_server.url)}
    night = start(home, "training.epochs=600", PREFECT_API_URL=f"{between.url}/api")
    night.wait_until(lambda: len(night.epochs()) > 60)
    between.fall_silent()

    code = night.wait(WAIT_S)
    left = [run for run in flow_runs(prefect_server.url) if run.id not in known]
    again = start(home, "training.epochs=600", PREFECT_API_URL=f"{prefect_server.url}/api")
    again_code = again.wait(WAIT_S)

    assert code == 0, night.printed
    assert "promoted (version 1)" in night.printed
    assert "Traceback" not in night.printed
    assert "the next run puts it there" in night.printed
    assert "Prefect does not know how this run ended; the next run reports it" in night.printed
    assert [run.state_name for run in left] == ["Running"]
    assert again_code == 0, again.printed
    assert "skipped (version 1)" in again.printed
    first, second = (run for run in flow_runs(prefect_server.url) if run.id not in known)
    assert (first.state_name, second.state_name) == ("Promoted", "Skipped")
    (page,) = pages(prefect_server.url, first)
    assert page == next(home.glob("runs/*/report.md")).read_text()


@pytest.mark.slow
def test_a_night_whose_mlflow_falls_silent_at_its_page_ends_as_it_decided(
    tmp_path: Path, start: Callable[..., Any], mlflow_server: Any, proxy: Callable[[Any], Any]
) -> None:
    home, between = tmp_path / "home", proxy(mlflow_server)
    between.fall_silent(at=b"mlflow.note.content")
    tags = ("name=silent_page",)
    night = start(home, EPOCHS, *tags, MLFLOW_TRACKING_URI=between.url)

    code = night.wait(WAIT_S)
    client = MlflowClient(mlflow_server.url)
    experiment = client.get_experiment_by_name("silent_page")
    assert experiment is not None
    (before,) = client.search_runs([experiment.experiment_id])
    between.speak()
    again = start(home, EPOCHS, *tags, MLFLOW_TRACKING_URI=between.url)
    again_code = again.wait(WAIT_S)

    assert code == 0, night.printed
    assert "promoted (version 1)" in night.printed
    assert "the next run writes the page there" in night.printed
    assert "waiting   MLflow does not answer" in night.printed
    assert before.info.status == "RUNNING"
    assert "decision" not in before.data.tags
    assert again_code == 0, again.printed
    assert "skipped (version 1)" in again.printed
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.tags["decision"] == "promoted"
    assert "# " in run.data.tags["mlflow.note.content"]
    assert not list(home.glob("datasets/*/unrecorded.jsonl"))


@pytest.mark.slow
def test_a_night_whose_mlflow_falls_silent_in_register_ends_and_the_next_one_goes_on(
    tmp_path: Path, start: Callable[..., Any], mlflow_server: Any, proxy: Callable[[Any], Any]
) -> None:
    home, between = tmp_path / "home", proxy(mlflow_server)
    between.fall_silent(at=b"registered-models/create")
    tags = ("name=silent_register",)
    night = start(home, EPOCHS, *tags, MLFLOW_TRACKING_URI=between.url)

    code = night.wait(WAIT_S)
    between.speak()
    again = start(home, EPOCHS, *tags, MLFLOW_TRACKING_URI=between.url)
    again_code = again.wait(WAIT_S)

    assert code == 1, night.printed
    (message,) = re.findall(r"^error: .*", night.printed, re.MULTILINE)
    assert "does not answer" in message
    assert "goes on from there" in message
    assert again_code == 0, again.printed
    assert "promoted (version 1)" in again.printed


@pytest.mark.slow
def test_a_promotion_stands_though_mlflow_falls_silent_right_after_it(
    tmp_path: Path, start: Callable[..., Any], mlflow_server: Any, proxy: Callable[[Any], Any]
) -> None:
    home, between = tmp_path / "home", proxy(mlflow_server)
    between.fall_silent(at=b"promoted_at")
    tags = ("name=silent_alias",)
    night = start(home, EPOCHS, *tags, MLFLOW_TRACKING_URI=between.url)

    code = night.wait(WAIT_S)
    between.speak()
    again = start(home, EPOCHS, *tags, MLFLOW_TRACKING_URI=between.url)
    again_code = again.wait(WAIT_S)

    assert code == 0, night.printed
    assert "promoted (version 1)" in night.printed
    assert again_code == 0, again.printed
    assert "skipped (version 1)" in again.printed
    client = MlflowClient(mlflow_server.url)
    champion = client.get_model_version_by_alias("silent_alias", "champion")
    assert "promoted_at" in champion.tags
    run = client.get_run(champion.run_id)
    assert (run.info.status, run.data.tags["decision"]) == ("FINISHED", "promoted")
