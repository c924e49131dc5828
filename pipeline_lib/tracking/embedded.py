"""MLflow's embedded database: made whole before MLflow opens it; see `pipeline_lib.databases`."""

import sqlite3
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import make_url

from pipeline_lib.databases import Schema, has_rows, is_usable, make_whole, revision_of, tables_of
from pipeline_lib.home import Home

_OF_MLFLOW = {"alembic_version", "experiments", "runs"}
_IN_USE = ("experiments", "runs", "registered_models")


def database_of(uri: str) -> Path | None:
    """Return the file that an address leads to; None for servers and databases in memory.

    >>> database_of("sqlite:////srv/mlflow.db")
    PosixPath('/srv/mlflow.db')
    """
    if not uri.startswith("sqlite"):
        return None
    name = make_url(uri).database
    return None if not name or name.startswith((":memory:", "file:")) else Path(name).absolute()


def make_store(uri: str, home: Home) -> None:
    """Make an embedded database, with the whole schema and the experiment `Default`.

    Other addresses are left alone.

    Raises:
        StorageError: the disk is full or refuses, or the file is damaged.
    """
    database = database_of(uri)
    if database is not None and make_whole(database, judge=_judge, fill=_fill, home=home):
        _close(uri)  # of a file that was there before


def has_store(uri: str) -> bool:
    """Return whether there is a store at an address; nothing is made to find out."""
    database = database_of(uri)
    return database is None or is_usable(database, _judge)


def _judge(connection: sqlite3.Connection) -> Schema:
    """Recognize a schema whose making was cut; MLflow itself refuses another release's."""
    tables = tables_of(connection)
    if has_rows(connection, *_IN_USE) or (tables and not tables & _OF_MLFLOW):
        return Schema.WHOLE
    from mlflow.store.db.utils import (
        _get_latest_schema_revision as newest,  # pyright: ignore[reportPrivateUsage]
    )

    return Schema.WHOLE if revision_of(connection) == newest() else Schema.HALF_MADE


def _fill(file: Path) -> None:
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    uri = f"sqlite:///{file}"
    try:
        # The file counts when it is whole and synced: a sync at each of its steps takes seconds.
        engine = SqlAlchemyStore._get_or_create_engine(uri)  # pyright: ignore[reportPrivateUsage]
        event.listen(engine, "connect", _write_without_waiting)
        engine.dispose()
        SqlAlchemyStore(uri, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
    finally:
        _close(uri)


def _write_without_waiting(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


def _close(uri: str) -> None:
    """Close the connections that MLflow keeps for the next use of an address."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for store in (SqlAlchemyStore, RegistryStore):
        engines = store._engine_map  # pyright: ignore[reportPrivateUsage]
        if uri in engines:
            engines[uri].dispose()
