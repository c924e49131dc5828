"""A home that was moved or copied: the absolute addresses in its MLflow database follow it.

MLflow stores where artifacts lie as absolute addresses. `home.json` names the place that they are
of; where the home lies elsewhere now, those below the old place are rewritten in one transaction,
in this home's own database. What lies outside the old home, or behind a server, stays as it is.
"""

import json
import logging
import socket
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from pipeline_lib.databases import home_lock
from pipeline_lib.errors import StorageError
from pipeline_lib.home import Home
from pipeline_lib.storage.json_files import write_json
from pipeline_lib.wording import first_line

_TIMEOUT_S = 60.0
# Where MLflow keeps addresses of artifacts (3.17).
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("trace_tags", "value"),
)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Prefix:
    """How addresses below the home began, and how they have to begin."""

    old: str
    new: str


def follow_home(home: Home) -> bool:
    """Rewrite the addresses in a home's database to where the home is now; safe to repeat.

    Returns:
        Whether any address was another one.

    Raises:
        StorageError: the database cannot be read or written.
    """
    if not home.mlflow_db.exists() or _recorded(home) == str(home.root):
        return False
    with home_lock(home):
        recorded = _recorded(home)
        if recorded == str(home.root):
            return False
        try:
            n_changed = _rewrite(home, recorded)
        except sqlite3.Error as error:
            raise StorageError(
                f"{home.root} was moved, and the addresses in {home.mlflow_db.name} cannot follow: "
                f"{first_line(error)}. Make it writable, and end what holds it"
            ) from error
        write_json(home.record, {"home": str(home.root)})
    if n_changed:
        _logger.warning(
            "the home was moved or copied from %s: %d addresses of artifacts follow it",
            recorded or "elsewhere",
            n_changed,
        )
    return n_changed > 0


def _recorded(home: Home) -> str | None:
    """Return the place that the addresses are of; None where no run has noted it."""
    try:
        found = cast("dict[str, Any]", json.loads(home.record.read_text("utf-8")))["home"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(found)


def _rewrite(home: Home, recorded: str | None) -> int:
    """Rewrite all addresses in one transaction; return how many."""
    database = sqlite3.connect(home.mlflow_db, timeout=_TIMEOUT_S, isolation_level=None)
    with closing(database):
        database.execute("BEGIN IMMEDIATE")
        prefixes = [*_of_record(home.root, recorded), *_of_experiments(home.root, database)]
        n_changed = 0
        for table, column in _ADDRESSES:
            if _has_column(database, table, column):
                n_changed += _replace(database, table, column, prefixes)
        if n_changed and _has_column(database, "tags", "value"):
            _replace_places(home.root, database, prefixes)
        database.execute("COMMIT")
    return n_changed


def _of_record(home: Path, recorded: str | None) -> list[_Prefix]:
    if recorded is None or not Path(recorded).is_absolute():
        return []
    uri = Path(recorded).as_uri()
    spellings = {uri: home.as_uri(), f"file://{recorded}": home.as_uri(), recorded: str(home)}
    return [_Prefix(old, new) for old, new in spellings.items()]


def _of_experiments(home: Path, database: sqlite3.Connection) -> list[_Prefix]:
    """Return how addresses began, found from the experiments whose artifacts lie here.

    Homes of earlier releases have no record.
    """
    if not _has_column(database, "experiments", "artifact_location"):
        return []
    found: dict[str, str] = {}
    query = "SELECT experiment_id, name, artifact_location FROM experiments"
    for number, name, location in database.execute(query):
        old, _, folder = str(location).rstrip("/").rpartition("/artifacts/")
        is_ours = unquote(folder) in (str(number), str(name))
        if old and is_ours and (home / "artifacts" / unquote(folder)).is_dir():
            found[old] = home.as_uri() if old.startswith("file:") else str(home)
    here = (str(home), home.as_uri(), f"file://{home}")
    return [_Prefix(old, new) for old, new in found.items() if old not in here]


def _replace(
    database: sqlite3.Connection, table: str, column: str, prefixes: Sequence[_Prefix]
) -> int:
    n_changed = 0
    for prefix in prefixes:
        # Only what the home itself keeps below `artifacts`: done twice, it changes nothing more.
        old, new = f"{prefix.old}/artifacts/", f"{prefix.new}/artifacts/"
        changed = database.execute(
            # Both names are this module's own.
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
            f"WHERE substr({column}, 1, ?) = ? AND ? <> ?",
            (new, len(old) + 1, len(old), old, old, new),
        )
        n_changed += changed.rowcount
    return n_changed


def _replace_places(home: Path, database: sqlite3.Connection, prefixes: Sequence[_Prefix]) -> None:
    """Let runs that a kill left open be known as this home's; see `runs.start_run`."""
    for old in {unquote(prefix.old.removeprefix("file://")) for prefix in prefixes}:
        marked = f":{old}/datasets/"
        database.execute(
            "UPDATE tags SET value = ? || substr(value, instr(value, ?) + ?) "
            "WHERE key = 'dataset.folder' AND instr(value, ?) > 0",
            (f"{socket.gethostname()}:{home}", marked, len(f":{old}"), marked),
        )


def _has_column(database: sqlite3.Connection, table: str, column: str) -> bool:
    return any(row[1] == column for row in database.execute(f"PRAGMA table_info({table})"))
