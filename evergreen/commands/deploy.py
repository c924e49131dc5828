"""`evergreen deploy`: the flows and schedules of `prefect.yaml`, put on a server."""

import asyncio
import os
import subprocess
import sys

from evergreen.environment import prepare_prefect
from pipeline_lib.errors import ServerError, UsageError
from pipeline_lib.storage import project_root

_SCHEDULER_S = 60.0


def deploy() -> int:
    """Put the deployments of prefect.yaml on the Prefect server that PREFECT_API_URL names.

    Doing it again changes nothing. It succeeds only when the server has really planned the runs
    of each schedule.
    """
    prepare_prefect()
    from evergreen.prefect_server import POOL, ensure_pool, require_server, wait_for_schedules

    url, root = require_server(), project_root()
    if not (root / "prefect.yaml").is_file():
        raise UsageError(f"{root} holds no prefect.yaml; go to the project's folder")
    created = asyncio.run(ensure_pool())
    print(f"work pool {POOL}: {'created' if created else 'there'} at {url}")
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        command,
        cwd=root,
        env={**os.environ, "EVERGREEN_PROJECT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServerError(f"`prefect deploy` failed:\n{(done.stderr or done.stdout).strip()}")
    facts = asyncio.run(wait_for_schedules(_SCHEDULER_S))
    for fact in facts:
        when = f"next run {fact.next_run:%Y-%m-%d %H:%M %Z}" if fact.next_run else "no schedule"
        print(f"  {fact.name}: {when}")
    if idle := [fact.name for fact in facts if fact.has_schedule and fact.next_run is None]:
        raise ServerError(
            f"the server plans no runs of {', '.join(idle)}. Its scheduler is broken: SQLAlchemy "
            "2.1 does that; install the server with constraints.txt"
        )
    print(f"start a worker: prefect worker start --pool {POOL}")
    return 0
