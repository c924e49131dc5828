"""The database of Prefect's temporary server, made whole before the server opens it.

The server makes and changes its schema in place, in over a hundred steps; see
`pipeline_lib.databases` for what a start that is cut short leaves, and how it is kept from that.
"""

import asyncio
import logging
import sqlite3
from pathlib import Path

from sqlalchemy.engine import make_url

from pipeline_lib.databases import Schema, has_rows, make_whole, revision_of
from pipeline_lib.errors import StorageError
from pipeline_lib.home import Home

_IN_USE = ("flow", "flow_run", "deployment", "variable", "block_document", "automation")


def make_prefect_database(home: Home) -> None:
    """Let the database that Prefect's settings name be there, with its whole schema.

    A database of an earlier Prefect is brought up to date in a copy. PostgreSQL is left alone.

    Raises:
        StorageError: the disk is full or refuses, the file is damaged, or a newer Prefect's.
    """
    from prefect.settings import get_current_settings

    url = get_current_settings().server.database.connection_url
    address = make_url(url.get_secret_value() if url is not None else "sqlite://")
    name = address.database
    if not address.drivername.startswith("sqlite") or not name or name.startswith((":", "file:")):
        return
    make_whole(Path(name).absolute(), judge=_judge, fill=_fill, home=home)


def _judge(connection: sqlite3.Connection) -> Schema:
    revision = revision_of(connection)
    if revision == _newest():
        return Schema.WHOLE
    steps = _steps_of_schema()
    if revision == steps[0]:
        return Schema.WHOLE
    if revision and revision not in steps:
        place = connection.execute("PRAGMA database_list").fetchone()[2]
        raise StorageError(
            f"{place} is of another release of Prefect (schema {revision}). Install that release, "
            "or move the file away: the history of flow runs is in it, and no model"
        )
    return Schema.OLDER if has_rows(connection, *_IN_USE) else Schema.HALF_MADE


def _folder() -> Path:
    import prefect

    return Path(prefect.__file__).parent / "server/database/_migrations"


def _newest() -> str:
    """Return the last step of the schema, by the names of the steps: they begin with their day.

    To import them all takes a third of a second at each start (measured 2026-11).
    """
    last = max(path.name for path in (_folder() / "versions/sqlite").glob("[0-9]*.py"))
    return last.split("_")[4]


def _steps_of_schema() -> list[str]:
    """Return the steps of the schema, the last one first."""
    from alembic.script import ScriptDirectory

    places = [str(_folder() / "versions/sqlite")]
    script = ScriptDirectory(str(_folder()), version_locations=places)
    return [step.revision for step in script.walk_revisions()]


def _fill(file: Path) -> None:
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, temporary_settings

    for noisy in ("alembic", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: f"sqlite+aiosqlite:///{file}"}):
        asyncio.run(_upgrade())


async def _upgrade() -> None:
    from prefect.server.database.dependencies import provide_database_interface

    database = provide_database_interface()
    try:
        await database.create_db()
    finally:
        await (await database.engine()).dispose()
