"""The Prefect server that PREFECT_API_URL names: is it there, what does it hold."""

import asyncio
import os
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from evergreen.environment import DEFAULT_API_URL
from evergreen.failures import without_password
from evergreen.interruption import (
    at_the_end_of,
    children_outlive_the_terminal,
    end_with_this_process,
)
from evergreen.work_pool import POOL
from pipeline_lib.errors import ServerError, first_line

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.settings.models.client import ClientSettings

_PAGE = 200
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
    asyncio.run(_hello(url))
    return without_password(url)


def start_own_server() -> None:
    """Start Prefect's temporary server, which ends with this process and not at Ctrl-C.

    A terminal sends Ctrl-C to the server too, `timeout` and systemd send it SIGTERM. Prefect's
    client would then ask for the lost server until it gives up: 147 s and a traceback (measured
    2026-11 with Prefect 3.8.8).

    Raises:
        ServerError: it does not start.
    """
    from prefect.client.orchestration import get_client
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import get_current_settings

    with children_outlive_the_terminal():
        try:
            get_client(sync_client=True)
        except RuntimeError as error:
            raise ServerError(
                f"Prefect's temporary server does not start: {first_line(error)} Is the machine "
                "busy, the disk full? Run the same command again, or start one with `prefect "
                "server start` and name it in PREFECT_API_URL"
            ) from error
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
    """Ask the server for its health, and for what only a client that it lets in may see."""
    from httpx import HTTPError
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

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

    shown, parts = without_password(url), urlsplit(url)
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
            f"{_EXPORT}{without_password(whole)}"
        )
    if status:
        return (
            f"what answers at {shown} is no Prefect server, or it is in trouble ({status}); "
            f"correct the address, as in {_EXPORT}{DEFAULT_API_URL}"
        )
    if any(text in reason for text in _UNRESOLVED):
        return (
            f"the host {parts.hostname} of PREFECT_API_URL={shown} is not known here ({reason}); "
            f"correct it, as in {_EXPORT}{DEFAULT_API_URL}"
        )
    if parts.scheme == "https" and "SSL" in reason:
        plain = without_password(urlunsplit(parts._replace(scheme="http")))
        return (
            f"no Prefect server answers at {shown} ({reason}). If it speaks http: {_EXPORT}{plain}"
        )
    return (
        f"no Prefect server answers at {shown} ({without_password(reason)}). "
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
