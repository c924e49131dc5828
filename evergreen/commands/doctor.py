"""`evergreen doctor`: is everything in order on this machine, and if not, what to do."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Annotated, Literal

from cyclopts import Parameter

from evergreen.environment import is_usable, prepare_prefect
from evergreen.failures import describe
from evergreen.open_servers import (
    MLFLOW_PATH,
    PREFECT_PATH,
    answers_strangers,
    is_of_this_machine,
)
from evergreen.tables import print_json, say
from evergreen.versions import DISTRIBUTION
from pipeline_lib.addresses import shown_address
from pipeline_lib.errors import EvergreenError
from pipeline_lib.home import Home, find_home

_MAX_SHOWN = 5
Health = Literal["ok", "note", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    health: Health
    subject: str
    text: str


def doctor(*, json_: Annotated[bool, Parameter(name="--json", negative=())] = False) -> int:
    """Check that this machine, the databases and the servers are in order.

    Args:
        json_: print the findings as JSON.
    """
    home = find_home()
    looks: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "packages": _packages,
        "state": partial(_state, home),
        "device": _device,
        "mlflow": partial(_mlflow, home),
        "prefect": partial(_prefect, home),
    }
    findings: list[Finding] = []
    for subject, look in looks.items():
        try:
            findings.append(look())
        except EvergreenError as error:
            findings.append(Finding("FAIL", subject, str(error)))
        except Exception as error:  # noqa: BLE001 - the other findings shall be seen too
            findings.append(Finding("FAIL", subject, describe(error)))
    if json_:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            say(f"{finding.health:<5} {finding.subject:<9} {finding.text}")
    return 1 if any(finding.health == "FAIL" for finding in findings) else 0


def _python() -> Finding:
    return Finding("ok", "python", sys.version.split()[0])


def _packages() -> Finding:
    """Compare what is installed with the bounds of pyproject.toml; some pairs are broken."""
    from packaging.requirements import Requirement

    try:
        bounds = [Requirement(text) for text in requires(DISTRIBUTION) or []]
    except PackageNotFoundError:
        return Finding("FAIL", "packages", "evergreen is not installed; run `make run`")
    wrong: list[str] = []
    for bound in bounds:
        if bound.marker is not None and not bound.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(bound.name)
        except PackageNotFoundError:
            wrong.append(f"{bound.name} is missing")
            continue
        if not bound.specifier.contains(found, prereleases=True):
            wrong.append(f"{bound.name} {found} is outside {bound.specifier}")
    if wrong:
        text = "; ".join(wrong) + ". Install with `pip install -c constraints.txt -e .`"
        return Finding("FAIL", "packages", text)
    return Finding("ok", "packages", f"{len(bounds)} bounds kept")


def _state(home: Home) -> Finding:
    if not is_usable(home):
        return Finding("ok", "state", f"{home.root} is made by the first run")
    if home.root.stat().st_mode & 0o007:
        text = f"{home.root} is open to other users of this machine; the next run closes it"
        return Finding("note", "state", text)
    return Finding("ok", "state", f"{home.root} can be written")


def _device() -> Finding:
    from pipeline_lib.training.devices import choose_device, describe_device

    return Finding("ok", "device", describe_device(choose_device("auto")))


def _mlflow(home: Home) -> Finding:
    from pipeline_lib.tracking.address import relative_place
    from pipeline_lib.tracking.store import connect, is_anything_recorded, tracking_uri

    if not is_anything_recorded(home):
        return Finding("ok", "mlflow", f"{tracking_uri(home)} is made by the first run")
    names = [found.name for found in connect(home).search_experiments()]
    uri = tracking_uri(home)
    if (finding := _open_mlflow(uri)) is not None:
        return finding
    shown = shown_address(uri)
    if (place := relative_place(uri)) is not None:
        text = f"{shown} is {place} from here, and another registry from another folder"
        return Finding("note", "mlflow", f"{text}: write the whole path in MLFLOW_TRACKING_URI")
    return Finding("ok", "mlflow", f"{shown} answers, {_counted(len(names), 'experiment')}")


def _open_mlflow(uri: str) -> Finding | None:
    """Report an MLflow server that answers without credentials, which is its default."""
    if not uri.startswith("http") or not answers_strangers(uri, MLFLOW_PATH):
        return None
    if is_of_this_machine(uri):
        text = (
            "MLflow answers without credentials: every user of this machine can change runs and "
            "models, and so the code that your consumers load. Keep it to machines of your own"
        )
        return Finding("note", "mlflow", text)
    text = (
        "MLflow answers anyone who can reach it, and so lets them change models and the code "
        "that your consumers load. Let it listen on 127.0.0.1, or put it behind a proxy that "
        "asks for credentials"
    )
    return Finding("FAIL", "mlflow", text)


def _prefect(home: Home) -> Finding:
    prepare_prefect(home, looks_only=True)
    from evergreen.prefect_server import deployments, require_server, server_url
    from evergreen.work_pool import POOL, pool_facts
    from flows.attempt import left_open

    if server_url() is None:
        text = "no server is named (PREFECT_API_URL): runs start one of their own for a moment"
        return Finding("note", "prefect", text)
    url = require_server()
    if answers_strangers(url, PREFECT_PATH):
        text = (
            f"{url} answers without credentials: every user of its machine, and web pages open "
            "there, can have code run by its workers. Start it with "
            "PREFECT_SERVER_API_AUTH_STRING set, as README.md says"
        )
        return Finding("FAIL", "prefect", text)
    facts, pool = asyncio.run(deployments()), asyncio.run(pool_facts())
    if not pool.is_closed:
        text = f"{url}: a form can run any command on a worker of the pool {POOL}"
        return Finding("FAIL", "prefect", f"{text}; close it: evergreen deploy")
    if not pool.is_there or not facts:
        what = "no deployment" if pool.is_there else f"no work pool {POOL}"
        text = f"{url} has {what}; put the deployments there: evergreen deploy"
        return Finding("note", "prefect", text)
    if pool.is_paused:
        text = f"{url}: the work pool is paused and starts no runs: prefect work-pool resume {POOL}"
        return Finding("FAIL", "prefect", text)
    if left := left_open(home):
        text = (
            f"{url}: {'; '.join(left[:_MAX_SHOWN])}: Running there, but its process has ended, and "
            "the next run waits for it. Running the dataset ends it: evergreen run NAME"
        )
        return Finding("FAIL", "prefect", text)
    idle = [fact.name for fact in facts if fact.has_schedule and fact.next_run is None]
    if idle:
        text = f"{url} plans no runs of {', '.join(idle)}: its scheduler is broken or stopped"
        return Finding("FAIL", "prefect", text)
    online = _counted(pool.n_online, "worker")
    text = f"{url}: {_counted(len(facts), 'deployment')}, {online} online"
    if not pool.n_online:
        text += f"; start one: prefect worker start --pool {POOL}"
        return Finding("note", "prefect", text)
    return Finding("ok", "prefect", text)


def _counted(n: int, name: str) -> str:
    return f"{n} {name}" if n == 1 else f"{n} {name}s"
