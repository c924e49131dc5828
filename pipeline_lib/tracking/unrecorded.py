"""What MLflow did not take after a run's decision; the next run writes it.

It is kept beside the dataset, and belongs to one store: another one knows nothing of the run.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException

from pipeline_lib.config.metrics import Metric
from pipeline_lib.errors import ServerError, StorageError
from pipeline_lib.home import DatasetFolder, Home
from pipeline_lib.storage.json_files import Json, append_json_line, read_json_lines
from pipeline_lib.storage.replacing import replacing
from pipeline_lib.tracking.client import StoreClient
from pipeline_lib.tracking.reference import RunReference
from pipeline_lib.tracking.store import connect, tracking_uri, what_failed
from pipeline_lib.tracking.versions import is_absent
from pipeline_lib.tracking.views import share_leaderboard
from pipeline_lib.wording import first_line

_DESCRIPTION = "mlflow.note.content"
_log = logging.getLogger(__name__)


def record_decision(
    dataset: DatasetFolder, run: RunReference, page: Path, tags: Mapping[str, str], primary: Metric
) -> str:
    """Record a run's page and decision in MLflow, or keep them for the next run.

    Args:
        dataset: of the run.
        run: of MLflow.
        page: the file of its page, which stays.
        tags: what was decided.
        primary: the metric of the leaderboard.

    Returns:
        Why MLflow did not take it; empty if it did.
    """
    try:
        client = connect(dataset.home)
    except ServerError as error:
        keep_for_later(dataset, run.run_id, page=page, tags=tags)
        return first_line(error)
    try:
        _record(client, run.run_id, page, tags)
        share_leaderboard(client, run.experiment_id, primary)
    except MlflowException as error:
        keep_for_later(dataset, run.run_id, page=page, tags=tags)
        return what_failed(client, error)
    return ""


def end_or_keep(dataset: DatasetFolder, run_id: str, status: str) -> None:
    """End a run, or let the next one of the dataset do it."""
    try:
        client = connect(dataset.home)
    except ServerError as error:
        why = first_line(error)
    else:
        try:
            client.set_terminated(run_id, status)
        except MlflowException as error:
            why = what_failed(client, error)
        else:
            return
    keep_for_later(dataset, run_id, status=status)
    _log.warning("%s; the next run ends this one there", why)


def keep_for_later(
    dataset: DatasetFolder,
    run_id: str = "",
    *,
    version: str = "",
    page: Path | None = None,
    tags: Mapping[str, str] | None = None,
    status: str = "",
) -> None:
    """Keep what MLflow did not take of a run, or of a version.

    Args:
        dataset: of the run or version.
        run_id: MLflow's; empty where a version is meant.
        version: its number.
        page: the file of the run's page.
        tags: what was decided.
        status: how the run ended, as FINISHED.
    """
    kept: dict[str, Json] = {
        "store": _store(dataset.home),
        "run_id": run_id,
        "version": version,
        "page": "" if page is None else str(page),
        "tags": dict(tags or {}),
        "status": status,
    }
    append_json_line(dataset.unrecorded, kept)


def record_late(client: StoreClient, name: str) -> None:
    """Write what was kept for this store; the caller holds the dataset."""
    path = client.home.dataset(name).unrecorded
    if not path.exists():
        return
    try:
        lines = read_json_lines(path)
    except StorageError as error:
        _log.warning("%s", first_line(error))
        return
    left = [line for line in lines if not _is_recorded(client, name, line)]
    if len(left) < len(lines):
        _log.warning("MLflow has now what it did not take of an earlier run of %s", name)
    if not left:
        path.unlink()
        return
    with replacing(path) as scratch:
        scratch.write_text("".join(f"{json.dumps(line)}\n" for line in left), "utf-8")


def _store(home: Home) -> str:
    """Return where the store in use is, without the user."""
    parts = urlsplit(tracking_uri(home))
    return f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_recorded(client: StoreClient, name: str, line: Mapping[str, Json]) -> bool:
    if line.get("store") != _store(client.home):
        return False
    run_id, version, status = (str(line.get(key, "")) for key in ("run_id", "version", "status"))
    tags = cast("Mapping[str, str]", line.get("tags") or {})
    try:
        if version:
            for key, text in tags.items():
                client.set_model_version_tag(name, version, key, text)
        elif page := line.get("page"):
            _record(client, run_id, Path(str(page)), tags)
        if status:
            client.set_terminated(run_id, status)
    except MlflowException as error:
        return is_absent(error)  # the run or the version was deleted
    return True


def _record(client: StoreClient, run_id: str, page: Path, tags: Mapping[str, str]) -> None:
    """Write page and tags; doing it again changes nothing."""
    try:
        text = page.read_text("utf-8")
    except OSError:  # removed since
        text = "The page of this run is gone."
    client.log_text(run_id, text, "report.md")
    for key, value in {_DESCRIPTION: text, **tags}.items():
        client.set_tag(run_id, key, value)
