"""MLflow's logged models: pending until a version is made of them, removed where none was."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path

from pipeline_lib.errors import ModelError
from pipeline_lib.tracking.client import StoreClient
from pipeline_lib.tracking.versions import CHANGED, FILES_SHA256, files_digest, versions_of

_PENDING = f"status = {LoggedModelStatus.PENDING.to_int()}"


def model_id_of(model_uri: str) -> str:
    """Return the id in the address of a logged model."""
    return model_uri.removeprefix("models:/")


def check_recorded(client: MlflowClient, model_uri: str, package: Path) -> str:
    """Return the digest of a logged model's package, which is that of what was logged.

    Raises:
        ModelError: its files were changed since.
    """
    digest = files_digest(package)
    if client.get_logged_model(model_id_of(model_uri)).tags.get(FILES_SHA256) != digest:
        raise ModelError(f"{model_uri}: {CHANGED}")
    return digest


def discard_logged(client: StoreClient, logged: LoggedModel) -> None:
    """Delete a logged model that no version was made of, and its files if they lie in the home."""
    client.delete_logged_model(logged.model_id)
    if not str(logged.artifact_location).startswith("file:"):
        return
    place = Path(local_file_uri_to_path(logged.artifact_location)).resolve()
    artifacts = client.home.artifacts
    if logged.model_id in place.parts and place.is_relative_to(artifacts):
        while place.name != logged.model_id:
            place = place.parent
        shutil.rmtree(place, ignore_errors=True)


def discard_abandoned(
    client: StoreClient, experiment: str, name: str, ours: Mapping[str, str]
) -> None:
    """Settle what a kill left pending: registered models become ready, others are removed.

    Args:
        client: of the store.
        experiment: the dataset's, by id.
        name: of the dataset.
        ours: tags; a run with one of them is of this dataset and home.
    """
    pending = [*client.search_logged_models([experiment], _PENDING)]
    registered = {str(v.source) for v in versions_of(client, name)} if pending else set[str]()
    for logged in pending:
        if f"models:/{logged.model_id}" in registered:
            client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        elif _is_ours(client, logged, ours):
            discard_logged(client, logged)


def _is_ours(client: MlflowClient, logged: LoggedModel, ours: Mapping[str, str]) -> bool:
    try:
        tags = client.get_run(str(logged.source_run_id)).data.tags
    except MlflowException:  # of a run that is gone, or of none
        return False
    return any(tags.get(key) == value for key, value in ours.items())
