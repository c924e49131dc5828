"""What the registry knows of a dataset's versions: aliases, tags, files. Imports no torch.

A version's tags are its record: which run key, rows, config and date made it, what was decided,
and when the alias `champion` reached it.
"""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

from pipeline_lib.errors import ModelError, StorageError
from pipeline_lib.home import Home
from pipeline_lib.scratch import scratch_folder
from pipeline_lib.storage.digests import digest_file, digest_json
from pipeline_lib.storage.publishing import MANIFEST, believed
from pipeline_lib.wording import examples, first_line

CHAMPION, CHALLENGER = "champion", "challenger"
# Tags of a version.
RUN_KEY, SHA256, DECISION, REASON = "run_key", "package.sha256", "decision", "decision.reason"
FILES_SHA256 = "package.files.sha256"  # of the whole package; earlier releases lack it
PROMOTED_AT = "promoted_at"  # set after the alias has moved: the promotion is whole
RUN_DATE, CONFIG_PATH, SOURCE = "run_date", "config.path", "data.source"
CONFIG_PROJECT = "config.project"  # the folder that CONFIG_PATH starts from, when it was trained
EXPERIMENT = "experiment"
MENDS = "mends"  # the version whose damaged package this one replaces
# Where the saved model lies in a package.
MODEL_FOLDER = "artifacts/model"
_CACHE = "__pycache__"
_BYTECODE_TIMEOUT_S = 300
_HERE = Path(__file__).resolve().parent
_ADDED = "registered_model_meta"  # by MLflow, to what it gives out (3.17)


def champion_version(client: MlflowClient, name: str) -> ModelVersion | None:
    """Return the version with the alias `champion`, or None."""
    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if is_absent(error):
            return None
        raise


def version_or_none(client: MlflowClient, name: str, version: str) -> ModelVersion | None:
    """Return a version, or None if there is none of that number."""
    try:
        return client.get_model_version(name, version)
    except MlflowException as error:
        if is_absent(error):
            return None
        raise


def versions_of(client: MlflowClient, name: str, *, run_key: str = "") -> list[ModelVersion]:
    """Return a dataset's versions, newest first; those of one run key alone if it is given."""
    of_run = f" and tags.run_key = '{run_key}'" if run_key else ""
    found: list[ModelVersion] = []
    page = client.search_model_versions(f"name = '{name}'{of_run}")
    while True:
        found += page
        if not page.token:
            return sorted(found, key=lambda version: -int(version.version))
        page = client.search_model_versions(f"name = '{name}'{of_run}", page_token=page.token)


@contextmanager
def downloaded(home: Home, uri: str) -> Generator[Path]:
    """Yield a copy of a package, for as long as the context lasts.

    Left alone, MLflow puts what a server sends into a temporary folder that stays, and gives out
    the very files of a store on this machine.

    Raises:
        ModelError: the package holds a link, which would be followed, or no plain file.
    """
    repository = get_artifact_repository(uri)
    while isinstance(repository, ModelsArtifactRepository):
        repository = repository.repo
    if isinstance(repository, LocalArtifactRepository):
        _refuse_links(Path(repository.artifact_dir))
    with scratch_folder(home) as scratch:
        yield Path(download_artifacts(uri, dst_path=str(scratch)))


def _refuse_links(package: Path) -> None:
    for folder, folders, files in os.walk(package):
        for name in (*folders, *files):
            mode = (Path(folder) / name).lstat().st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                place = (Path(folder) / name).relative_to(package)
                raise ModelError(f"{CHANGED}: {place} is a link, or no plain file")


def package_digest(model_folder: Path) -> str:
    """Return the sha256 of a saved model's manifest, which names every file's sha256."""
    return digest_file(model_folder / MANIFEST)


def files_digest(package: Path) -> str:
    """Return one sha256 over names and contents of a package's files.

    What MLflow adds when it gives out a package is no part of it, nor is Python's bytecode:
    see `strange_bytecode`.
    """
    files = {
        _name(path, package): digest_file(path)
        for path in package.rglob("*")
        if path.is_file()
        and path != package / _ADDED
        and _CACHE not in path.relative_to(package).parts[:-1]
    }
    return digest_json(files)


def _name(path: Path, package: Path) -> str:
    """Return a file's name; one that is not text is none of ours, and must stop nothing."""
    return os.fsencode(path.relative_to(package)).decode("utf-8", "backslashreplace")


def strange_bytecode(package: Path) -> tuple[str, ...]:
    """Return the names of bytecode that Python would run and that is not of the code beside it."""
    if next(package.rglob(f"{_CACHE}/*.pyc"), None) is None:
        return ()
    command = [sys.executable, "-I", str(_HERE / "bytecode.py"), str(package)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_BYTECODE_TIMEOUT_S
        )
        done.check_returncode()
    except subprocess.SubprocessError:
        return (_CACHE,)  # it was made to break its reader
    return tuple(cast("list[str]", json.loads(done.stdout)))


def uri_of(version: ModelVersion) -> str:
    """Return the address of a version's package."""
    return f"models:/{version.name}/{version.version}"


def what_is_wrong_with(home: Home, version: ModelVersion) -> str:
    """Return why a version's files cannot be trusted, or an empty string if they are whole."""
    place = uri = uri_of(version)
    try:
        with downloaded(home, uri) as package:
            place = str(package).rstrip("/")
            folder = package / MODEL_FOLDER
            if package_digest(folder) != version.tags.get(SHA256) or believed(folder) is None:
                return CHANGED
            return changed_around_the_model(version, package)
    except (MlflowException, OSError, ModelError, StorageError) as error:
        return unusable(error, place, uri)


def changed_around_the_model(version: ModelVersion, package: Path) -> str:
    """Return that a whole model lies among changed files, as MLmodel or code, or nothing."""
    registered = version.tags.get(FILES_SHA256)
    if registered and registered != files_digest(package):
        return CHANGED
    if strange := strange_bytecode(package):
        return f"{CHANGED}: {examples(strange)} is not of the code beside it"
    return ""


def what_is_not_recorded(version: ModelVersion) -> str:
    """Return which files of a version cannot be verified, or an empty string."""
    if FILES_SHA256 in version.tags:
        return ""
    return (
        f"version {version.version} was registered without a digest of its code and MLmodel, as "
        "earlier releases did: only its model is verified, until another version is promoted"
    )


CHANGED = "its files were changed after they were registered, or were made elsewhere"


def unusable(error: BaseException, place: str, uri: str) -> str:
    """Return a message about unusable files; `place`, which is temporary, is not shown."""
    return f"its files cannot be used: {first_line(error).replace(place, uri)}"


def is_absent(error: MlflowException) -> bool:
    """Return whether the model or the alias is absent, not the registry unreachable."""
    if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
        return True
    # The store's answer for a known model without the alias (3.17).
    known_model = error.error_code == ErrorCode.Name(INVALID_PARAMETER_VALUE)
    return known_model and "not found" in str(error)
