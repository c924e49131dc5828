"""The work pool: what a worker takes from the server, and what a form cannot make it take.

Prefect's own template of a process pool lets every run bring a command, a folder to work in and
variables of the environment, from the box "Job variables" of its form. Ours has none of them, and
its schema lets the server refuse what it does not have. There is no `env` in it either: a worker
mixes whatever `env` a run brings into one that is there (Prefect 3.8.8,
`BaseJobConfiguration.from_template_and_values`), so that a run's environment is its worker's.
"""

from dataclasses import dataclass
from typing import Any, Literal

POOL = "evergreen"
_KIND = "process"
JOB_TEMPLATE: dict[str, Any] = {
    "job_configuration": {"stream_output": True},
    "variables": {"type": "object", "properties": {}, "additionalProperties": False},
}


@dataclass(frozen=True)
class PoolFacts:
    """The work pool: is it there, what can a form make it do, does it give out runs, to how many.

    `is_closed` means that no form can bring a command or an environment.
    """

    is_there: bool
    is_closed: bool = True
    is_paused: bool = False
    n_online: int = 0


async def ensure_pool() -> Literal["created", "closed", "there"]:
    """Create the work pool, or close one that lets forms bring commands; return what was done.

    Raises:
        ServerError: a pool of that name is there, and does not start processes.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists

    from pipeline_lib.errors import ServerError

    async with get_client() as client:
        wanted = WorkPoolCreate(name=POOL, type=_KIND, base_job_template=JOB_TEMPLATE)
        try:
            await client.create_work_pool(wanted)
        except ObjectAlreadyExists:
            pool = await client.read_work_pool(POOL)
            if pool.type != _KIND:
                raise ServerError(
                    f"the work pool {POOL} is of type {pool.type}, and what a form can set there "
                    f"is not ours to say. Delete it (prefect work-pool delete {POOL}) and deploy "
                    "again"
                ) from None
            if pool.base_job_template == JOB_TEMPLATE:
                return "there"
            await client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=JOB_TEMPLATE))
            return "closed"
    return "created"


async def pool_facts() -> PoolFacts:
    """Return what the server says of the work pool; online is who sent a sign of life lately."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    async with get_client() as client:
        try:
            pool = await client.read_work_pool(POOL)
            workers = await client.read_workers_for_work_pool(POOL)
        except ObjectNotFound:
            return PoolFacts(is_there=False)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != 404:
                raise
            return PoolFacts(is_there=False)
    online = [worker for worker in workers if str(worker.status).upper().endswith("ONLINE")]
    return PoolFacts(
        is_there=True,
        is_closed=pool.type == _KIND and pool.base_job_template == JOB_TEMPLATE,
        is_paused=bool(pool.is_paused),
        n_online=len(online),
    )
