"""The outcome of a run is known to the process that ran it, and read from nowhere else.

A state on a Prefect server may name a file, and how to load it: a user who can write states there
could have any code run by the process that asks for the result.
"""

from typing import NoReturn

from prefect.results import ResultStore

from pipeline_lib.errors import ServerError

# What Prefect itself keeps, as the error of a flow run, is text and no pickle.
SERIALIZER = "json"


def never_read_results() -> None:
    """Let no result of a state be loaded in this process, not by Prefect's engine either.

    The engine does so where the server refuses the run's own state and gives another one, even in
    a process of a worker, which imports a flow and nothing else of ours (Prefect 3.8.8,
    `FlowRunEngine.result`). Both functions are its only way to a stored result.
    """
    ResultStore._read = _refuse  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    ResultStore._aread = _refuse_later  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]


def _refuse(store: ResultStore, key: str, holder: str) -> NoReturn:  # noqa: ARG001 - Prefect's form
    raise ServerError(
        f"the Prefect server names the file {key[:200]!r} as the result of this run: it is not "
        "read. Was the state of the run changed on the server?"
    )


async def _refuse_later(store: ResultStore, key: str, holder: str) -> NoReturn:
    _refuse(store, key, holder)
