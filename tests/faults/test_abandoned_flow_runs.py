"""Flow runs whose process was killed: the next run of the dataset ends them on the server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed, Pending, Running

from flows.attempt import GONE, left_open, only_run_of
from pipeline_lib.attempts import attempt_of
from pipeline_lib.home import find_home

PROJECT = Path(__file__).resolve().parents[2]
CODE = """
import sys, time
from pipeline_lib.attempts import Attempt
from pipeline_lib.home import find_home
for name in sys.argv[2:]:
    Attempt.begin(find_home().dataset(sys.argv[1]), name)
print("begun", flush=True)
time.sleep(600)
"""


@flow
def night() -> None:
    with only_run_of(find_home().dataset("toy")):
        pass


@task
def step() -> None: ...


def begun(name: str, *flow_runs: FlowRun) -> "subprocess.Popen[str]":
    """Register flow runs in a process of their own, as a night does."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, name, *(str(run.id) for run in flow_runs)],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.fixture
def client(harness: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as found:
        yield found


def running(client: SyncPrefectClient) -> FlowRun:
    flow_run = client.create_flow_run(night, state=Pending())
    client.set_flow_run_state(flow_run.id, Running())
    return flow_run


def state_of(client: SyncPrefectClient, flow_run: FlowRun) -> State[object]:
    state = client.read_flow_run(flow_run.id).state
    assert state is not None
    return state


def test_whoever_holds_the_dataset_ends_the_runs_that_no_process_makes(
    client: SyncPrefectClient,
) -> None:
    killed, decided, alive, foreign, told = (running(client) for _ in range(5))
    task_run = client.create_task_run(step, killed.id, dynamic_key="0", state=Running())
    gone, living = begun("toy", killed, decided, told), begun("toy", alive)
    other = begun("other", foreign)
    attempt_of(find_home().dataset("toy"), str(decided.id)).end(
        {"type": "COMPLETED", "name": "Promoted", "message": "it is better"}
    )
    client.set_flow_run_state(told.id, Completed(name="Kept"))
    try:
        for process in (gone, other):
            process.kill()
            process.wait()
        seen = left_open(find_home())

        night()

        assert len(seen) == 3
        assert (state_of(client, killed).name, state_of(client, killed).message) == (
            "Crashed",
            GONE,
        )
        of_run = FlowRunFilter(id=FlowRunFilterId(any_=[killed.id]))
        (after,) = client.read_task_runs(flow_run_filter=of_run)
        assert (after.id, after.state_name) == (task_run.id, "Crashed")
        assert (state_of(client, decided).name, state_of(client, decided).message) == (
            "Promoted",
            "it is better",
        )
        assert state_of(client, told).name == "Kept"
        assert state_of(client, alive).name == "Running"
        assert state_of(client, foreign).name == "Running"
        assert left_open(find_home()) == [foreign.name]
    finally:
        living.kill()
        living.wait()


def test_a_crash_that_somebody_else_told_gives_way_to_what_the_night_decided(
    client: SyncPrefectClient, evergreen_home_of_the_test: Path
) -> None:
    """A worker sees only that the process ended badly: it could not tell the server."""
    from prefect.states import Crashed

    decided = running(client)
    process = begun("toy", decided)
    page = evergreen_home_of_the_test / "report.md"
    page.write_text("# The page")
    attempt = attempt_of(find_home().dataset("toy"), str(decided.id))
    attempt.end({"type": "COMPLETED", "name": "Promoted", "message": "it is better"})
    attempt.note({"page": str(page), "artifact": "decision-toy", "about": "toy: promoted"})
    process.kill()
    process.wait()
    client.set_flow_run_state(decided.id, Crashed())

    night()

    assert state_of(client, decided).name == "Promoted"
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[decided.id]))
    (artifact,) = client.read_artifacts(flow_run_filter=of_run)
    assert (artifact.key, artifact.data) == ("decision-toy", "# The page")
    assert not attempt.path.exists()


def test_the_place_of_a_dead_run_among_those_of_its_deployment_is_free_again(
    client: SyncPrefectClient,
) -> None:
    deployment = client.create_deployment(
        client.create_flow(night), f"nightly-{uuid4()}", concurrency_limit=1
    )

    def started() -> tuple[UUID, str]:
        flow_run = client.create_flow_run_from_deployment(deployment)
        result = client.set_flow_run_state(flow_run.id, Pending())
        assert result.state is not None
        return flow_run.id, str(result.state.name)

    first, name = started()
    client.set_flow_run_state(first, Running())
    process = begun("toy", client.read_flow_run(first))
    process.kill()
    process.wait()
    waiting, before = started()

    night()

    after = client.set_flow_run_state(waiting, Pending()).state
    assert (name, before) == ("Pending", "AwaitingConcurrencySlot")
    assert state_of(client, client.read_flow_run(first)).name == "Crashed"
    assert after is not None
    assert after.name == "Pending"


def test_a_run_that_another_server_knows_is_kept_for_it(client: SyncPrefectClient) -> None:
    elsewhere = FlowRun(id=uuid4(), flow_id=uuid4())
    process = begun("toy", elsewhere)
    process.kill()
    process.wait()

    night()

    assert attempt_of(find_home().dataset("toy"), str(elsewhere.id)).path.exists()
