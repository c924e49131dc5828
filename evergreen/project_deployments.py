"""Which deployments on a server a project made, and which of them it has given up.

A tag marks what `evergreen deploy` made, and holds its name: a copy made by hand in Prefect's pages
keeps the tag, and has another name. The folder of its pull step says for which project.
"""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from evergreen.prefect_server import all_deployments
from evergreen.work_pool import POOL

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

_STEP = "prefect.deployments.steps.set_working_directory"


def mark(name: str) -> str:
    """Return the tag of a deployment that this command made."""
    return f"evergreen:{name}"


async def end_schedules(root: Path, deployments: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Take away schedules that the project's deployments no longer have.

    Prefect knows a schedule by its slug, and leaves one that is not in the file as it is.

    Args:
        root: of the project.
        deployments: slugs of the schedules in `prefect.yaml` by deployment.

    Returns:
        A line for each that was taken away, or that a person should look at.
    """
    from prefect.client.orchestration import get_client

    lines: list[str] = []
    async with get_client() as client:
        for found in await all_deployments(client):
            slugs = deployments.get(found.name)
            if slugs is None or _folder(found) != str(root) or any("{{" in s for s in slugs):
                continue
            for schedule in found.schedules:
                if schedule.slug and schedule.slug not in slugs:
                    await client.delete_deployment_schedule(found.id, schedule.id)
                    what = f"schedule {schedule.slug!r} taken away, for prefect.yaml has it no more"
                    lines.append(f"{found.name}: {what}")
                elif not slugs and schedule.active:
                    lines.append(f"{found.name}: a schedule stays that prefect.yaml does not have")
    return lines


async def adopt(root: Path, names: Container[str]) -> list[str]:
    """Mark the deployments of a project, and take away those it made and has no more.

    Args:
        root: of the project, whose `prefect.yaml` was just deployed.
        names: the deployments in it.

    Returns:
        A line for each that was taken away, or that a person should look at.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate
    from prefect.exceptions import ObjectNotFound

    lines: list[str] = []
    async with get_client() as client:
        for found in await all_deployments(client):
            folder, is_ours = _folder(found), mark(found.name) in found.tags
            if folder != str(root):
                continue
            flow = await client.read_flow(found.flow_id)
            full = f"{flow.name}/{found.name}"
            if found.work_pool_name == POOL and found.job_variables:
                await client.update_deployment(found.id, DeploymentUpdate(job_variables={}))
                lines.append(f"{full}: its job variables are taken away, for the pool takes none")
            if found.name in names:
                if not is_ours:
                    tags = [*found.tags, mark(found.name)]
                    await client.update_deployment(found.id, DeploymentUpdate(tags=tags))
            elif is_ours:
                try:
                    await client.delete_deployment(found.id)
                except ObjectNotFound:
                    continue
                lines.append(f"{full}: taken away, for prefect.yaml has it no more")
            elif found.work_pool_name == POOL:
                lines.append(
                    f"{full}: stays, though prefect.yaml does not have it; it was not made by "
                    f"`evergreen deploy`. To end it: prefect deployment delete '{full}'"
                )
    return lines


def _folder(deployment: "DeploymentResponse") -> str:
    """Return where the runs of a deployment work, or an empty string."""
    for step in deployment.pull_steps or []:
        settings = cast("dict[str, object]", step.get(_STEP) or {})
        if folder := settings.get("directory"):
            return str(folder)
    return ""
