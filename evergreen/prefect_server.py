"""The Prefect server that PREFECT_API_URL names: is it there, what does it hold."""

import asyncio
import os
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from evergreen.environment import DEFAULT_API_URL
from evergreen.interruption import at_the_end_of
from evergreen.prefect_database import make_prefect_database
from evergreen.server_failures import require_whole_database
from evergreen.waiting import slow_start_is_logged
from evergreen.work_pool import POOL
from pipeline_lib.addresses import shown_address
from pipeline_lib.errors import ServerError
from pipeline_lib.home import Home
from pipeline_lib.wording import first_line

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.settings.models.client import ClientSettings

    from evergreen.own_server import OwnServer
_PAGE = 200
# Of the first call to a server; a silent one is reported after it, and not asked again.
HEALTH_S = 15.0
_EXPORT = "export PREFECT_API_URL="
_UNRESOLVED = ("Name or service not known", "nodename nor servname", "name resolution")


@dataclass(frozen=True)
class DeploymentFacts:
    """One deployment on the server; `next_run` is None if no run is scheduled."""

    name: str
    has_schedule: bool
    next_run: datetime | None


def server_url() -> str | None:
    """Return PREFECT_API_URL, or None if there is none."""
    return os.environ.get("PREFECT_API_URL", "").strip() or None


def require_server() -> str:
    """Return the server's URL.

    Raises:
        ServerError: PREFECT_API_URL is not set, or nothing answers there.
    """
    url = server_url()
    if url is None:
        raise ServerError(
            "no Prefect server is named. Start one with `prefect server start`, then "
            f"`{_EXPORT}{DEFAULT_API_URL}`"
        )
    with slow_start_is_logged(f"the Prefect server at {shown_address(url)}"):
        asyncio.run(_hello_in_time(url))
    return shown_address(url)


def start_own_server(home: Home) -> None:
    """Start Prefect's temporary server, which ends with this process and at no signal.

    Ctrl-C, `timeout` and systemd reach every process of a command. Prefect's client would ask for
    the lost server until it gives up: 147 s and a traceback (measured 2026-11 with Prefect 3.8.8).

    Raises:
        ServerError: it does not start.
        StorageError: its database cannot be made.
    """
    require_whole_database()
    make_prefect_database(home)
    from prefect.settings import get_current_settings

    from evergreen.own_server import OwnServer

    server = OwnServer()
    server.start()
    assert server.server_process is not None
    client = get_current_settings().client
    at_the_end_of(server.server_process, partial(_ask_once, client, server))


def _ask_once(client: "ClientSettings", server: "OwnServer") -> None:
    client.max_retries = 0
    server.release()


def require_own_server() -> None:
    """Check that the temporary server is there, and in order.

    Raises:
        ServerError: it has ended, or is in trouble with its disk or database.
    """
    from evergreen.own_server import OwnServer

    server = OwnServer()
    if server.server_process is None:
        return
    if trouble := server.trouble():
        raise ServerError(f"Prefect's temporary server fails: {trouble}.")
    if server.server_process.poll() is not None:
        raise ServerError("Prefect's temporary server has ended (was it killed?).")


async def _hello_in_time(url: str) -> None:
    """Ask as `_hello` does; a server that sends a byte now and then is not waited for."""
    try:
        await asyncio.wait_for(_hello(url), 2 * HEALTH_S)
    except TimeoutError as error:
        raise ServerError(_why_not(url, error)) from None


async def _hello(url: str) -> None:
    """Ask the server for its health, and for what only a client that it lets in may see."""
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import (
        PREFECT_API_REQUEST_TIMEOUT,
        PREFECT_CLIENT_MAX_RETRIES,
        PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
        temporary_settings,
    )

    with temporary_settings(
        {
            PREFECT_API_REQUEST_TIMEOUT: HEALTH_S,
            PREFECT_CLIENT_MAX_RETRIES: 0,
            PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,
        }
    ):
        async with get_client() as client:
            if problem := await client.api_healthcheck():
                raise ServerError(_why_not(url, problem))
            try:
                await client.read_work_pools(limit=1)
            except (PrefectHTTPStatusError, HTTPError, ValueError) as error:
                raise ServerError(_why_not(url, error)) from None


def _why_not(url: str, problem: Exception) -> str:
    """Say why the server cannot be used, and the command that mends it."""
    from prefect.exceptions import PrefectHTTPStatusError

    shown, parts = shown_address(url), urlsplit(url)
    status = problem.response.status_code if isinstance(problem, PrefectHTTPStatusError) else 0
    reason = first_line(problem)
    if status in (401, 403):
        given = "PREFECT_API_AUTH_STRING" in os.environ or "PREFECT_API_KEY" in os.environ
        why = "refuses these credentials" if given else "wants credentials"
        return (
            f"the Prefect server at {shown} {why} ({status}): export "
            "PREFECT_API_AUTH_STRING=USER:PASSWORD, as the server has it"
        )
    if status and "/api" not in parts.path:
        whole = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/api", query=""))
        return (
            f"{shown} is not the address of Prefect's API ({status}), which ends in /api: "
            f"{_EXPORT}{shown_address(whole)}"
        )
    if status:
        return (
            f"what answers at {shown} is no Prefect server, or it is in trouble ({status}); "
            f"correct the address, as in {_EXPORT}{DEFAULT_API_URL}"
        )
    if "Timeout" in type(problem).__name__:
        return (
            f"the Prefect server at {shown} does not answer within {HEALTH_S:.0f} s. Is it the "
            f"right address, and the server in order? Restart it, or {_EXPORT}{DEFAULT_API_URL}"
        )
    if any(text in reason for text in _UNRESOLVED):
        return (
            f"the host {parts.hostname} of PREFECT_API_URL={shown} is not known here ({reason}); "
            f"correct it, as in {_EXPORT}{DEFAULT_API_URL}"
        )
    if parts.scheme == "https" and "SSL" in reason:
        plain = shown_address(urlunsplit(parts._replace(scheme="http")))
        return (
            f"no Prefect server answers at {shown} ({reason}). If it speaks http: {_EXPORT}{plain}"
        )
    return (
        f"no Prefect server answers at {shown} ({reason}). "
        f"Start it with `prefect server start`, or correct the address: {_EXPORT}{DEFAULT_API_URL}"
    )


async def all_deployments(client: "PrefectClient") -> "list[DeploymentResponse]":
    """Return every deployment on the server, which gives 200 at a time."""
    found: list[DeploymentResponse] = []
    while page := await client.read_deployments(limit=_PAGE, offset=len(found)):
        found += page
        if len(page) < _PAGE:
            break
    return found


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
        for found in await all_deployments(client):
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
