"""The deployments on real servers: a Prefect server, an MLflow server and a worker."""

import base64
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Servers:
    """Where they listen, and the environment that leads to them."""

    prefect_url: str
    mlflow_url: str
    environment: dict[str, str]
    log: Path

    def post(self, path: str, body: dict[str, Any], method: str = "POST") -> Any:
        """Ask the Prefect server."""
        return self.ask(method, path, json.dumps(body).encode(), **self.token())

    def token(self) -> dict[str, str]:
        """Return what the server wants to see of who may change something."""
        client = str(uuid.uuid4())
        token = self.ask("GET", f"/csrf-token?client={client}")["token"]
        return {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": client}

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        """Make one call with the credentials of the README."""
        basic = base64.b64encode(self.environment["PREFECT_API_AUTH_STRING"].encode()).decode()
        known = {"Content-Type": "application/json", "Authorization": f"Basic {basic}", **headers}
        request = urllib.request.Request(f"{self.prefect_url}{path}", body, known, method=method)
        while True:
            try:
                with urllib.request.urlopen(request, timeout=900) as answer:
                    return json.loads(answer.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code != 503:  # its database is busy
                    raise
                time.sleep(1)

    def run(self, *command: str, cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in the project."""
        return subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run a server in a process group of its own, and end the whole group."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=PROJECT,
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait_for(url: str, log: Path, timeout_s: float = 900) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.5)
    pytest.fail(f"nothing answers at {url}:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Both servers and a worker on free loopback ports, as the README starts them."""
    root = tmp_path_factory.mktemp("servers")
    home, log = root / "home", root / "servers.log"
    home.mkdir()
    prefect_port, mlflow_port = _free_port(), _free_port()
    prefect_url, mlflow_url = (f"http://127.0.0.1:{p}" for p in (prefect_port, mlflow_port))
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_"))},
        "EVERGREEN_HOME": str(home),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    secret = f"tests:{secrets.token_urlsafe()}"
    guarded = {
        **environment,
        "PREFECT_SERVER_API_AUTH_STRING": secret,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": prefect_url,
    }
    client = {
        **environment,
        "PREFECT_API_AUTH_STRING": secret,
        "PREFECT_API_URL": f"{prefect_url}/api",
        "MLFLOW_TRACKING_URI": mlflow_url,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    mlflow_command = ["mlflow", "server", "--workers", "1", "--port", str(mlflow_port)]
    mlflow_command += ["--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"]
    mlflow_command += ["--default-artifact-root", (home / "artifacts").as_uri()]
    mlflow_command += ["--no-serve-artifacts"]
    with (
        _running(["prefect", "server", "start", "--port", str(prefect_port)], guarded, log),
        _running(mlflow_command, environment, log),
    ):
        _wait_for(f"{prefect_url}/api/health", log)
        _wait_for(f"{mlflow_url}/health", log)
        servers = Servers(f"{prefect_url}/api", mlflow_url, client, log)
        deployed = servers.run("evergreen", "deploy")
        assert deployed.returncode == 0, deployed.stderr
        assert "retrain/nightly-car_evaluation: next run" in deployed.stdout
        with _running(["prefect", "worker", "start", "--pool", "evergreen"], client, log):
            yield servers


def test_the_nightly_is_on_the_schedule_with_its_limit_and_time_zone(servers: Servers) -> None:
    found = {d["name"]: d for d in servers.post("/deployments/filter", {})}

    nightly = found["nightly-car_evaluation"]
    runs = servers.post(
        "/flow_runs/filter",
        {
            "deployments": {"id": {"any_": [nightly["id"]]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        },
    )

    schedule = nightly["schedules"][0]["schedule"]
    assert (schedule["cron"], schedule["timezone"]) == ("0 2 * * *", "UTC")
    assert nightly["global_concurrency_limit"]["limit"] == 1
    assert len(runs) >= 1
    assert all("T02:00:00" in run["expected_start_time"] for run in runs)


def test_deploying_again_changes_nothing(servers: Servers) -> None:
    before = _deployed(servers)

    again = servers.run("evergreen", "deploy")

    assert again.returncode == 0, again.stderr
    assert _deployed(servers) == before


def test_a_run_from_the_form_is_completed_by_the_worker_and_recorded_on_the_server(
    servers: Servers,
) -> None:
    found = {d["name"]: d for d in servers.post("/deployments/filter", {})}
    parameters = {
        "config": "configs/car_evaluation.yaml",
        "overrides": {"epochs": 2, "optimizer": {"kind": "adamw"}},
        "assignments": ["training.batch_size=32"],
    }

    flow_run = servers.post(
        f"/deployments/{found['on-demand']['id']}/create_flow_run", {"parameters": parameters}
    )
    state = _final_state(servers, flow_run["id"])

    assert state["type"] == "COMPLETED", servers.log.read_text()[-4000:]
    compared = servers.run("evergreen", "compare", "car_evaluation", "--json")
    runs = json.loads(compared.stdout)
    assert runs[0]["params"]["training.optimizer.kind"] == "adamw"
    assert runs[0]["params"]["training.epochs"] == "2"


def test_the_doctor_finds_servers_deployments_and_worker_in_order(servers: Servers) -> None:
    done = servers.run("evergreen", "doctor")

    assert done.returncode == 0, done.stdout
    assert "2 deployments, 1 worker online" in done.stdout


def test_the_doctor_says_that_mlflow_asks_nobody(servers: Servers) -> None:
    done = servers.run("evergreen", "doctor", "--json")

    (found,) = [look for look in json.loads(done.stdout) if look["subject"] == "mlflow"]
    assert found["health"] == "note"
    assert "answers without credentials" in found["text"]


def test_a_web_page_gets_nothing_from_the_server_that_the_readme_starts(servers: Servers) -> None:
    page = {"Origin": "http://evil.example", "Content-Type": "text/plain"}

    def answer(method: str, path: str, **headers: str) -> tuple[int, str]:
        request = urllib.request.Request(
            f"{servers.prefect_url}{path}", None, {**page, **headers}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=900) as got:
                return got.status, got.headers.get("access-control-allow-origin", "")
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("access-control-allow-origin", "")

    with pytest.raises(urllib.error.HTTPError) as without_token:
        servers.ask("POST", "/flow_runs/filter", b"{}")

    preflight = {"Access-Control-Request-Method": "POST"}
    assert answer("POST", "/flow_runs/filter") in ((401, ""), (403, ""))
    assert answer("GET", "/admin/version") == (401, "")
    assert answer("OPTIONS", "/flow_runs/filter", **preflight) == (400, "")
    assert without_token.value.code == 403


def test_the_doctor_fails_a_server_that_lets_in_everybody(servers: Servers, tmp_path: Path) -> None:
    environment = {
        name: text
        for name, text in servers.environment.items()
        if name not in ("PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_URI")
    } | {"PREFECT_HOME": str(tmp_path / "prefect")}
    port, log = _free_port(), tmp_path / "log"
    url = f"http://127.0.0.1:{port}/api"
    with _running(["prefect", "server", "start", "--port", str(port)], environment, log):
        _wait_for(f"{url}/health", log)
        open_to_all = replace(servers, environment={**environment, "PREFECT_API_URL": url})
        done = open_to_all.run("evergreen", "doctor", "--json")

    (found,) = [look for look in json.loads(done.stdout) if look["subject"] == "prefect"]
    assert done.returncode == 1
    assert found["health"] == "FAIL"
    assert f"{url} answers without credentials" in found["text"]
    assert "PREFECT_SERVER_API_AUTH_STRING" in found["text"]


def test_a_form_may_not_read_files_from_outside_the_project(servers: Servers) -> None:
    found = {d["name"]: d for d in servers.post("/deployments/filter", {})}

    flow_run = servers.post(
        f"/deployments/{found['on-demand']['id']}/create_flow_run",
        {"parameters": {"assignments": ["data.source.path=/etc/passwd"]}},
    )
    state = _final_state(servers, flow_run["id"])

    assert state["type"] == "FAILED"
    assert "are set in the config, not in a form" in state["message"]


def test_a_config_outside_configs_is_not_read_though_the_server_checks_no_parameter(
    servers: Servers,
) -> None:
    found = {d["name"]: d for d in servers.post("/deployments/filter", {})}
    deployment = f"/deployments/{found['on-demand']['id']}"
    servers.post(deployment, {"enforce_parameter_schema": False}, "PATCH")

    flow_run = servers.post(
        f"{deployment}/create_flow_run", {"parameters": {"config": "data/evil.yaml"}}
    )
    state = _final_state(servers, flow_run["id"])
    servers.post(deployment, {"enforce_parameter_schema": True}, "PATCH")

    assert state["type"] == "FAILED"
    assert "data/evil.yaml lies outside configs/" in state["message"]


@pytest.mark.parametrize(
    "job_variables",
    [
        {"command": "touch /tmp/x"},
        {"working_dir": "/"},
        {"env": {"A": "b"}},
        {"env.PYTHONPATH": "/"},
    ],
)
def test_a_form_brings_no_command_and_no_environment(
    servers: Servers, job_variables: dict[str, Any]
) -> None:
    found = {d["name"]: d for d in servers.post("/deployments/filter", {})}

    with pytest.raises(urllib.error.HTTPError) as refused:
        servers.post(
            f"/deployments/{found['on-demand']['id']}/create_flow_run",
            {"parameters": {}, "job_variables": job_variables},
        )

    assert refused.value.code == 422


def test_a_pool_that_takes_commands_is_found_by_the_doctor_and_closed_by_deploy(
    servers: Servers,
) -> None:
    from prefect.workers.process import ProcessWorker

    of_prefect = ProcessWorker.get_default_base_job_template()
    servers.post("/work_pools/evergreen", {"base_job_template": of_prefect}, "PATCH")
    nightly = {d["name"]: d for d in servers.post("/deployments/filter", {})}[
        "nightly-car_evaluation"
    ]
    variables = {"job_variables": {"env": {"A": "b"}}}
    servers.post(f"/deployments/{nightly['id']}", variables, "PATCH")

    open_to_all = servers.run("evergreen", "doctor")
    deployed = servers.run("evergreen", "deploy")
    closed = servers.run("evergreen", "doctor")

    assert open_to_all.returncode == 1
    assert "can run any command on a worker of the pool evergreen" in open_to_all.stdout
    assert "close it: evergreen deploy" in open_to_all.stdout
    assert "forms can bring it no commands any more" in deployed.stdout
    assert closed.returncode == 0, closed.stdout
    after = {d["name"]: d for d in servers.post("/deployments/filter", {})}
    assert not after["nightly-car_evaluation"]["job_variables"]


def test_a_form_value_out_of_bounds_is_refused_by_the_server(servers: Servers) -> None:
    found = {d["name"]: d for d in servers.post("/deployments/filter", {})}

    with pytest.raises(urllib.error.HTTPError) as refused:
        servers.post(
            f"/deployments/{found['on-demand']['id']}/create_flow_run",
            {"parameters": {"overrides": {"epochs": 0}}, "enforce_parameter_schema": True},
        )

    assert refused.value.code in (409, 422)


@pytest.mark.slow
def test_deploy_takes_away_what_it_made_and_leaves_what_a_person_made(
    servers: Servers, tmp_path: Path
) -> None:
    (tmp_path / "flows").symlink_to(PROJECT / "flows")
    shutil.copytree(PROJECT / "configs", tmp_path / "configs")
    text = (PROJECT / "prefect.yaml").read_text().replace("on-demand", "at-will")
    first = text.replace("nightly-car_evaluation", "before")
    (tmp_path / "prefect.yaml").write_text(first)
    assert servers.run("evergreen", "deploy", cwd=tmp_path).returncode == 0
    made = {d["name"]: d for d in servers.post("/deployments/filter", {})}["before"]
    same = ("flow_id", "entrypoint", "pull_steps", "work_pool_name", "tags", "parameters")
    servers.post("/deployments/", {"name": "mine", **{key: made[key] for key in same}})
    second = text.replace("nightly-car_evaluation", "after").replace("slug: nightly", "slug: late")

    (tmp_path / "prefect.yaml").write_text(first.replace("slug: nightly", "slug: early"))
    other_slug = servers.run("evergreen", "deploy", cwd=tmp_path)
    slugs = {
        d["name"]: [s["slug"] for s in d["schedules"]]
        for d in servers.post("/deployments/filter", {})
    }
    (tmp_path / "prefect.yaml").write_text(second)
    renamed = servers.run("evergreen", "deploy", cwd=tmp_path)

    names = {d["name"] for d in servers.post("/deployments/filter", {})}
    assert other_slug.returncode == 0, other_slug.stderr
    assert "before: schedule 'nightly' taken away" in other_slug.stdout
    assert slugs["before"] == ["early"]
    assert renamed.returncode == 0, renamed.stderr
    assert "retrain/before: taken away, for prefect.yaml has it no more" in renamed.stdout
    assert "retrain/mine: stays" in renamed.stdout
    assert names == {"nightly-car_evaluation", "on-demand", "after", "at-will", "mine"}
    for d in servers.post("/deployments/filter", {}):  # the other tests count them
        if d["name"] in ("after", "at-will", "mine"):
            servers.run("prefect", "deployment", "delete", f"retrain/{d['name']}")


def _deployed(servers: Servers) -> dict[str, Any]:
    """Return what matters of each deployment, and when its runs are due."""
    facts: dict[str, Any] = {}
    for found in servers.post("/deployments/filter", {}):
        query = {
            "deployments": {"id": {"any_": [found["id"]]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
        }
        due = sorted(r["expected_start_time"] for r in servers.post("/flow_runs/filter", query))
        schedules = [(s["schedule"], s["active"], s["slug"]) for s in found["schedules"]]
        same = ("id", "parameters", "entrypoint", "tags", "pull_steps", "concurrency_options")
        facts[found["name"]] = ({key: found[key] for key in same}, schedules, due)
    return facts


def _final_state(servers: Servers, flow_run_id: str, timeout_s: float = 900) -> dict[str, Any]:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = servers.post("/flow_runs/filter", {"flow_runs": {"id": {"any_": [flow_run_id]}}})
        state = found[0]["state"]
        if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return state
        time.sleep(1)
    pytest.fail(f"the run did not end:\n{servers.log.read_text()[-4000:]}")
