"""`evergreen deploy`: the flows and schedules of `prefect.yaml`, put on a server."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from evergreen.environment import prepare_prefect
from evergreen.failures import keep
from evergreen.tables import say
from pipeline_lib.errors import ServerError, UsageError
from pipeline_lib.home import find_home, project_root
from pipeline_lib.shown import shown

_SCHEDULER_S = 60.0
_MAX_SHOWN = 500


def deploy() -> int:
    """Put the deployments of prefect.yaml on the Prefect server that PREFECT_API_URL names.

    Doing it again changes nothing. Deployments that an earlier deploy of this project made and
    that prefect.yaml no longer has are taken away; others stay. It succeeds only when the server
    has really planned the runs of each schedule.
    """
    root = project_root()
    if not (root / "prefect.yaml").is_file():
        raise UsageError(f"{root} holds no prefect.yaml; go to the project's folder")
    prepare_prefect(find_home(), looks_only=True)
    from evergreen.deployments_file import read_deployments
    from evergreen.prefect_server import require_server, wait_for_schedules
    from evergreen.project_deployments import adopt, end_schedules
    from evergreen.work_pool import POOL, ensure_pool

    deployments = read_deployments(root / "prefect.yaml", pool=POOL)
    url = require_server()
    done = asyncio.run(ensure_pool())
    now = "there; forms can bring it no commands any more," if done == "closed" else done
    say(f"work pool {POOL}: {now} at {url}")
    ended = asyncio.run(end_schedules(root, deployments))
    _deploy_all(root)
    for line in (*ended, *asyncio.run(adopt(root, deployments))):
        say(f"  {line}")
    facts = asyncio.run(wait_for_schedules(_SCHEDULER_S))
    for fact in facts:
        when = f"next run {fact.next_run:%Y-%m-%d %H:%M %Z}" if fact.next_run else "no schedule"
        say(f"  {fact.name}: {when}")
    if idle := [fact.name for fact in facts if fact.has_schedule and fact.next_run is None]:
        raise ServerError(
            f"the server plans no runs of {', '.join(idle)}. Its scheduler is broken: SQLAlchemy "
            "2.1 does that; install the server with constraints.txt"
        )
    say(f"start a worker: prefect worker start --pool {POOL}")
    return 0


def _deploy_all(root: Path) -> None:
    """Let Prefect read the file; what it refuses is reported by its last line.

    Raises:
        ServerError: it refuses; the whole of what it printed is in a file.
    """
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=root,
        env={**os.environ, "EVERGREEN_PROJECT": str(root), "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return
    printed = f"{done.stdout}\n{done.stderr}"
    said = [line.strip(" │╭╰─") for line in (done.stderr or done.stdout).splitlines()]
    last = next((line for line in reversed(said) if line), "it printed nothing")
    place = keep(printed)
    whole = f". Its whole output is in {place}" if place else ""
    raise ServerError(f"`prefect deploy` failed: {shown(last)[:_MAX_SHOWN]}{whole}")
