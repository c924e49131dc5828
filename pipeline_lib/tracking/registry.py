"""Versions of the registered model, and which of them is champion."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline_lib.errors import ModelError
from pipeline_lib.evaluation.journal import now
from pipeline_lib.home import Home
from pipeline_lib.interruption import raise_if_heard
from pipeline_lib.serving import FittedModel, load_model
from pipeline_lib.tracking.client import StoreClient
from pipeline_lib.tracking.logged_models import check_recorded, model_id_of
from pipeline_lib.tracking.reference import RegisteredVersion
from pipeline_lib.tracking.runs import TrackedRun
from pipeline_lib.tracking.store import ui_url, what_failed
from pipeline_lib.tracking.unrecorded import keep_for_later
from pipeline_lib.tracking.versions import (
    CHALLENGER,
    CHAMPION,
    FILES_SHA256,
    MODEL_FOLDER,
    PROMOTED_AT,
    RUN_KEY,
    SHA256,
    champion_version,
    changed_around_the_model,
    downloaded,
    package_digest,
    unusable,
    uri_of,
    version_or_none,
    versions_of,
    what_is_wrong_with,
)

_log = logging.getLogger(__name__)
# The tag of a version that holds the version its first weights are from.
STARTED_FROM = "started_from"


@dataclass(frozen=True)
class Champion:
    """The version in use; `problem` says why its model cannot be loaded, here or by MLflow."""

    version: str
    model: FittedModel | None
    split_rule: str
    problem: str = ""
    sha256: str = ""


def read_champion(client: StoreClient, name: str) -> Champion | None:
    """Load the champion, or return None if no version has the alias.

    Its files are used only if they are those that were registered.
    """
    found = champion_version(client, name)
    return None if found is None else _read_version(client.home, found)


def _read_version(home: Home, found: ModelVersion) -> Champion:
    version, split_rule = str(found.version), found.tags.get("split.rule", "")
    place = uri = uri_of(found)
    sha256 = found.tags.get(SHA256, "")
    try:
        with downloaded(home, uri) as package:
            place = str(package).rstrip("/")
            folder = package / MODEL_FOLDER
            if package_digest(folder) != sha256:
                raise ModelError("they were changed after they were registered, or made elsewhere")
            model, problem = load_model(folder), changed_around_the_model(found, package)
            return Champion(version, model, split_rule, problem, sha256=sha256)
    except (MlflowException, OSError, ModelError) as error:
        return Champion(version, None, split_rule, unusable(error, place, uri), sha256=sha256)


def read_champion_to_start_from(
    client: StoreClient, name: str, *, run_key: str, split_rule: str
) -> Champion | None:
    """Load the champion whose weights a run begins with, or return None if there is none.

    If the champion came out of this very run, done again after a kill or by force, it is the
    version that the run started from. One of another split comes without its model: it may have
    learned from this run's test rows, which would flatter what starts from it.
    """
    found = champion_version(client, name)
    if found is None:
        return None
    if found.tags.get(RUN_KEY) == run_key:
        before = found.tags.get(STARTED_FROM)
        if before is None:
            problem = "it is of this very run, which started fresh"
            return Champion(str(found.version), None, "", problem)
        found = version_or_none(client, name, before)
        if found is None:
            return Champion(before, None, "", "this very run started from it, and it is gone")
    champion = _read_version(client.home, found)
    if champion.split_rule == split_rule:
        return champion
    problem = "it was made with another split and may have learned from this run's test rows"
    return replace(champion, model=None, problem=champion.problem or problem)


def register_version(
    run: TrackedRun, name: str, model_uri: str, model_folder: Path, tags: Mapping[str, str]
) -> RegisteredVersion:
    """Make the run's model a version and the challenger; the same model of a run key only once.

    The tags of a version that was promoted stay as they are.

    Raises:
        ModelError: the package was changed since it was logged.
    """
    raise_if_heard()
    client, sha256 = run.client, package_digest(model_folder)
    all_tags = {**tags, RUN_KEY: run.run_key, SHA256: sha256}
    version = find_twin(client, name, run.run_key, sha256)
    is_new = version is None
    if version is None:
        with downloaded(client.home, model_uri) as package:
            all_tags[FILES_SHA256] = check_recorded(client, model_uri, package)
        version = _create_version(run, name, model_uri, all_tags)
    # A kill may have come between; done again, these change nothing.
    for key, value in all_tags.items() if PROMOTED_AT not in version.tags else ():
        client.set_model_version_tag(name, version.version, key, value)
    if CHAMPION not in client.get_model_version(name, version.version).aliases:
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
    model_id = model_id_of(model_uri)
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
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    return version


def find_twin(client: StoreClient, name: str, run_key: str, sha256: str) -> ModelVersion | None:
    """Return the version that holds this very package of this run key, whole; None without one."""
    return next(
        (
            version
            for version in versions_of(client, name, run_key=run_key)
            if version.tags.get(SHA256) == sha256 and not what_is_wrong_with(client.home, version)
        ),
        None,
    )


def promote(client: StoreClient, version: RegisteredVersion, *, instead_of: str) -> bool:
    """Move the alias `champion` if it still is where it was when the version was judged.

    The last step of a run, and safe to repeat. MLflow has no compare-and-set: the alias is read
    immediately before it is written, and read again afterwards.

    Args:
        client: the registry.
        version: the one to promote.
        instead_of: the version that had the alias then; empty if none had.

    Returns:
        Whether the version is champion now; if not, something else has moved the alias.
    """
    name, found = version.name, _champion_number(client, version.name)
    if found != version.version:
        if found != instead_of:
            return False
        raise_if_heard()
        client.set_registered_model_alias(name, CHAMPION, version.version)
    promoted_at = now()
    try:
        if found != version.version and _champion_number(client, name) != version.version:
            return False
        client.set_model_version_tag(name, version.version, PROMOTED_AT, promoted_at)
        current = client.get_registered_model(name).aliases.get(CHALLENGER)
        if str(current) == version.version:
            client.delete_registered_model_alias(name, CHALLENGER)
    except MlflowException as error:  # the champion is this one: that stands
        dataset = client.home.dataset(name)
        keep_for_later(dataset, version=version.version, tags={PROMOTED_AT: promoted_at})
        _log.warning("%s; the next run notes the promotion there", what_failed(client, error))
    return True


def _champion_number(client: MlflowClient, name: str) -> str:
    found = champion_version(client, name)
    return "" if found is None else str(found.version)


def _version(name: str, found: ModelVersion, *, is_new: bool) -> RegisteredVersion:
    url = f"{ui_url()}/#/models/{name}/versions/{found.version}"
    return RegisteredVersion(name, str(found.version), is_new, url)
