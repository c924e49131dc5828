"""The Prefect server that PREFECT_API_URL names: is it there, what does it hold."""

import asyncio
import os
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from evergreen.interruption import (
    at_the_end_of,
    children_outlive_the_terminal,
    end_with_this_process,
)
from pipeline_lib.errors import ServerError

if TYPE_CHECKING:
    from prefect.settings.models.client import ClientSettings

POOL = "evergreen"


@dataclass(frozen=True)
class DeploymentFacts:
    """One deployment on the server; `next_run` is None if no run is scheduled."""

    name: str
    has_schedule: bool
    next_run: datetime | None


def server_url() -> str | None:
    """Return PREFECT_API_URL, or None if there is none."""
    return os.environ.get("PREFECT_API_URL") or None


def require_server() -> str:
    """Return the server's URL.

    Raises:
        ServerError: PREFECT_API_URL is not set, or nothing answers there.
    """
    url = server_url()
    if url is None:
        raise ServerError(
            "no Prefect server is named. Start one with `prefect server start`, then set "
            "PREFECT_API_URL=http://127.0.0.1:4200/api"
        )
    asyncio.run(_hello(url))
    return url


def start_own_server() -> None:
    """Start Prefect's temporary server, which ends with this process and not at Ctrl-C.

    A terminal sends Ctrl-C to the server too, `timeout` and systemd send it SIGTERM. Prefect's
    client would then ask for the lost server until it gives up: 147 s and a traceback (measured
    2026-11 with Prefect 3.8.8).
    """
    from prefect.client.orchestration import get_client
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import get_current_settings

    with children_outlive_the_terminal():
        get_client(sync_client=True)
        server = SubprocessASGIServer().server_process
        if server is not None:
            end_with_this_process(server.pid)
            at_the_end_of(server, partial(_ask_once, get_current_settings().client))


def _ask_once(client: "ClientSettings") -> None:
    client.max_retries = 0


def require_own_server() -> None:
    """Check that the temporary server is there.

    Raises:
        ServerError: it has ended.
    """
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer().server_process
    if server is not None and server.poll() is not None:
        raise ServerError("Prefect's temporary server has ended (was it killed?).")


async def _hello(url: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    async with get_client() as client:
        if problem := await client.api_healthcheck():
            reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
            raise ServerError(
                f"no Prefect server answers at {url} ({reason}). "
                "Start it with `prefect server start`, or correct PREFECT_API_URL."
            )
        try:
            await client.read_work_pools(limit=1)
        except PrefectHTTPStatusError as error:
            raise ServerError(
                f"the Prefect server at {url} refuses ({error.response.status_code}); "
                "check PREFECT_API_AUTH_STRING"
            ) from None


async def ensure_pool() -> bool:
    """Create the work pool if it is not there; return whether it was created."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    async with get_client() as client:
        try:
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        except ObjectAlreadyExists:
            return False
    return True


async def workers_online() -> int:
    """Return how many workers of the pool have sent a sign of life lately."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    async with get_client() as client:
        try:
            workers = await client.read_workers_for_work_pool(POOL)
        except ObjectNotFound:
            return 0
    return sum(1 for worker in workers if str(worker.status).upper().endswith("ONLINE"))


async def deployments() -> list[DeploymentFacts]:
    """Return the deployments of the pool, by name, each with its next scheduled run."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    scheduled = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    )
    facts: list[DeploymentFacts] = []
    async with get_client() as client:
        for found in await client.read_deployments():
            if found.work_pool_name != POOL:
                continue
            runs = await client.read_flow_runs(
                deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[found.id])),
                flow_run_filter=scheduled,
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=1,
            )
            next_run = runs[0].expected_start_time if runs else None
            active = any(schedule.active for schedule in found.schedules)
            flow = await client.read_flow(found.flow_id)
            facts.append(DeploymentFacts(f"{flow.name}/{found.name}", active, next_run))
    return sorted(facts, key=lambda fact: fact.name)


async def wait_for_schedules(timeout_s: float) -> list[DeploymentFacts]:
    """Return the deployments once each active schedule has a run, or when the time is over."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while True:
        facts = await deployments()
        waiting = [fact for fact in facts if fact.has_schedule and fact.next_run is None]
        if not waiting or loop.time() >= end:
            return facts
        await asyncio.sleep(1)
