"""Versions of the registered model, and which of them is champion."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)

from pipeline_lib.errors import ModelError, first_line
from pipeline_lib.serving import FittedModel, load_model
from pipeline_lib.tracking.package import downloaded, package_digest
from pipeline_lib.tracking.reference import RegisteredVersion
from pipeline_lib.tracking.runs import TrackedRun
from pipeline_lib.tracking.store import ui_url

CHAMPION, CHALLENGER = "champion", "challenger"
# The tag of a version that holds the version its first weights are from.
STARTED_FROM = "started_from"


@dataclass(frozen=True)
class Champion:
    """The version in use; `problem` says why there is no model, if it cannot be loaded."""

    version: str
    model: FittedModel | None
    split_rule: str
    problem: str = ""
    sha256: str = ""


def champion_version(client: MlflowClient, name: str) -> ModelVersion | None:
    """Return the version with the alias `champion`, or None."""
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if _is_absent(error):
            return None
        raise


def read_champion(client: MlflowClient, name: str) -> Champion | None:
    """Load the champion, or return None if no version has the alias.

    Its files are believed only if they are those that were registered.
    """
    found = champion_version(client, name)
    return None if found is None else _read_version(found)


def _read_version(found: ModelVersion) -> Champion:
    version, uri = str(found.version), f"models:/{found.name}/{found.version}"
    split_rule = found.tags.get("split.rule", "")
    place = uri
    try:
        with downloaded(uri) as package:
            place = str(package).rstrip("/")
            folder = package / "artifacts" / "model"
            sha256 = package_digest(folder)
            if sha256 != found.tags.get("package.sha256"):
                raise ModelError("it was changed after it was registered, or was made elsewhere")
            return Champion(version, load_model(folder), split_rule, sha256=sha256)
    except (MlflowException, OSError, ModelError) as error:
        told = first_line(error).replace(place, uri)  # the folder is gone when this is read
        return Champion(version, None, split_rule, f"its files cannot be used: {told}")


def read_champion_to_start_from(
    client: MlflowClient, name: str, *, run_key: str, split_rule: str
) -> Champion | None:
    """Load the champion whose weights a run begins with, or return None if there is none.

    If the champion came out of this very run, done again after a kill or by force, it is the
    version that the run started from. One of another split comes without its model: it may have
    learned from tonight's test rows, which would flatter what starts from it.
    """
    found = champion_version(client, name)
    if found is None:
        return None
    if found.tags.get("run_key") == run_key:
        before = found.tags.get(STARTED_FROM)
        if before is None:
            problem = "it is of this very run, which started fresh"
            return Champion(str(found.version), None, "", problem)
        found = _version_or_none(client, name, before)
        if found is None:
            return Champion(before, None, "", "this very run started from it, and it is gone")
    champion = _read_version(found)
    if champion.split_rule == split_rule:
        return champion
    problem = "it was made with another split and may have learned from tonight's test rows"
    return replace(champion, model=None, problem=champion.problem or problem)


def _version_or_none(client: MlflowClient, name: str, version: str) -> ModelVersion | None:
    try:
        return client.get_model_version(name, version)
    except MlflowException as error:
        if _is_absent(error):
            return None
        raise


def register_version(
    run: TrackedRun, name: str, model_uri: str, model_folder: Path, tags: Mapping[str, str]
) -> RegisteredVersion:
    """Make the run's model a version and the challenger; the same model of a run key only once."""
    client, sha256 = run.client, package_digest(model_folder)
    all_tags = {**tags, "run_key": run.run_key, "package.sha256": sha256}
    version = find_twin(client, name, run.run_key, sha256)
    is_new = version is None
    if version is None:
        version = _create_version(run, name, model_uri, all_tags)
    is_champion = CHAMPION in client.get_model_version(name, version.version).aliases
    # A kill may have come between; done again, these change nothing. The champion against itself is
    # a tie, which keeps it: how it came to its place stays.
    for key, value in all_tags.items():
        if not (is_champion and key.startswith("decision")):
            client.set_model_version_tag(name, version.version, key, value)
    if not is_champion:
        client.set_registered_model_alias(name, CHALLENGER, version.version)
    return _version(name, version, is_new=is_new)


def _create_version(
    run: TrackedRun, name: str, model_uri: str, tags: Mapping[str, str]
) -> ModelVersion:
    client = run.client
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model_id = model_uri.removeprefix("models:/")
    version = client.create_model_version(
        name,
        source=model_uri,
        run_id=run.run_id,
        model_id=model_id,
        tags=dict(tags),
    )
    # The embedded store leaves this to MLflow's fluent API; without it the run's page shows a model
    # without its version.
    listed = json.dumps([{"name": name, "version": int(version.version)}])
    client.set_logged_model_tags(model_id, {"mlflow.modelVersions": listed})
    return version


def find_twin(client: MlflowClient, name: str, run_key: str, sha256: str) -> ModelVersion | None:
    """Return the version that holds this very package of this run key, if there is one."""
    found = client.search_model_versions(f"name = '{name}' and tags.run_key = '{run_key}'")
    return next((v for v in found if v.tags.get("package.sha256") == sha256), None)


def promote(client: MlflowClient, version: RegisteredVersion) -> None:
    """Move the alias `champion`; the last step of a night, and safe to repeat."""
    client.set_registered_model_alias(version.name, CHAMPION, version.version)
    current = client.get_registered_model(version.name).aliases.get(CHALLENGER)
    if str(current) == version.version:
        client.delete_registered_model_alias(version.name, CHALLENGER)


def _version(name: str, found: ModelVersion, *, is_new: bool) -> RegisteredVersion:
    url = f"{ui_url()}/#/models/{name}/versions/{found.version}"
    return RegisteredVersion(name, str(found.version), is_new, url)


def _is_absent(error: MlflowException) -> bool:
    """Tell a registry without the model or the alias from one that cannot be asked."""
    if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
        return True
    # What the store says of a known model without the alias (3.17).
    known_model = error.error_code == ErrorCode.Name(INVALID_PARAMETER_VALUE)
    return known_model and "not found" in str(error)
