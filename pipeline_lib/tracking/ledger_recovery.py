"""A ledger that is lost, or behind, while the registry lives: its codes come from the packages.

Every registered model holds the vocabularies it was made with. The champion's come first; those of
later versions count where they only add to them.
"""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.columns import CategoryColumn
from pipeline_lib.encoding import Encoder
from pipeline_lib.encoding.encoded_splits import read_ledger, write_ledger
from pipeline_lib.encoding.vocabulary import Vocabulary
from pipeline_lib.errors import ModelError
from pipeline_lib.home import DatasetFolder
from pipeline_lib.scratch import scratch_folder
from pipeline_lib.storage.digests import digest_file
from pipeline_lib.storage.publishing import MANIFEST
from pipeline_lib.tracking.client import StoreClient
from pipeline_lib.tracking.versions import (
    MODEL_FOLDER,
    SHA256,
    champion_version,
    uri_of,
    versions_of,
)
from pipeline_lib.wording import examples, first_line

# Packages are read until all columns are found; each costs three small files.
_MAX_VERSIONS = 20
_FILES = ("encoder.json", "categories.parquet")


def recover_ledger(client: StoreClient, config: PipelineConfig) -> tuple[str, ...]:
    """Restore a dataset's ledger from the registered models where it is absent or behind.

    Returns:
        Sentences for the page of the run; none if the ledger is in order.

    Raises:
        StorageError: the ledger is damaged, another dataset's, or cannot be written.
    """
    dataset = client.home.dataset(config.name)
    name, ledger = config.name, read_ledger(dataset)
    champion = champion_version(client, name)
    if ledger:
        return () if champion is None else _caught_up(client, dataset, ledger, champion)
    versions = versions_of(client, name)
    if champion is not None:
        versions = [champion, *(v for v in versions if v.version != champion.version)]
    wanted = {n for n, column in config.columns.items() if isinstance(column, CategoryColumn)}
    found = _gathered(client, versions[:_MAX_VERSIONS], wanted)
    if found.words:
        write_ledger(dataset, found.words)
        n_categories = sum(len(words.categories) for words in found.words.values())
        plural = "version" if len(found.used) == 1 else "versions"
        return (
            f"the ledger was not there: it starts from the {n_categories:,} categories of "
            f"registered {plural} {', '.join(found.used)}, so that codes stay the same",
        )
    if found.problems and wanted:
        return (
            f"the ledger was not there, and no registered version can be read "
            f"({found.problems[0]}): codes are assigned anew, and those of earlier models "
            "stand for other categories",
        )
    return ()


@dataclass
class _Recovered:
    """Vocabularies out of packages, the versions they are of, and what could not be read."""

    words: dict[str, Vocabulary] = field(default_factory=dict[str, Vocabulary])
    used: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])


def _gathered(
    client: StoreClient, versions: Sequence[ModelVersion], wanted: Set[str]
) -> _Recovered:
    """Return the vocabularies of packages; an earlier one of `versions` takes precedence.

    The first is the champion, if there is one, then the newest. Reading ends with one that knows
    all that is known, if no column is missing by then.
    """
    found = _Recovered()
    for version in versions:
        try:
            package = _vocabularies(client, version)
        except ModelError as error:
            found.problems.append(str(error))
            continue
        better = {n: words for n, words in package.items() if _adds_to(found.words.get(n), words)}
        is_first = not found.words
        found.words |= better
        found.used += [str(version.version)] if better else []
        knows_all = all(
            name in package and package[name].extends(words) for name, words in found.words.items()
        )
        is_champion = is_first and version is versions[0] and len(versions) > 1
        if knows_all and not is_champion and wanted <= found.words.keys():
            break
    return found


def _adds_to(known: Vocabulary | None, words: Vocabulary) -> bool:
    if known is None:
        return True
    return len(words.categories) > len(known.categories) and words.extends(known)


def _caught_up(
    client: StoreClient,
    dataset: DatasetFolder,
    ledger: Mapping[str, Vocabulary],
    champion: ModelVersion,
) -> tuple[str, ...]:
    """Add the champion's codes to a ledger that is older, such as one from a backup."""
    try:
        package = _vocabularies(client, champion)
    except ModelError:
        return ()  # the gate reports a champion that cannot be read
    behind, apart = dict[str, Vocabulary](), list[str]()
    for column, words in package.items():
        known = ledger.get(column)
        if known is not None and known.extends(words):
            continue
        if known is None or words.extends(known):
            behind[column] = words
        else:
            apart.append(column)
    notes: list[str] = []
    if behind:
        write_ledger(dataset, {**ledger, **behind})
        notes.append(
            f"the ledger was behind champion v{champion.version}: it takes the champion's codes "
            f"of {examples(behind)}"
        )
    if apart:
        notes.append(
            f"the ledger and champion v{champion.version} have different codes for the categories "
            f"of {examples(apart)}, as two homes with one registry have: compare models by "
            "category, not by code"
        )
    return tuple(notes)


def _vocabularies(client: StoreClient, version: ModelVersion) -> Mapping[str, Vocabulary]:
    """Return the vocabularies in a registered package, without its weights.

    Raises:
        ModelError: its files cannot be had, or are not those that were registered.
    """
    place = uri_of(version)
    try:
        with scratch_folder(client.home) as folder:
            scratch = str(folder)
            manifest = _download(client, f"{place}/{MODEL_FOLDER}/{MANIFEST}", scratch)
            if digest_file(manifest) != version.tags.get(SHA256):
                raise ModelError("it was changed after it was registered, or was made elsewhere")
            files = cast("dict[str, Any]", json.loads(manifest.read_text("utf-8"))["files"])
            for name in _FILES:
                path = _download(client, f"{place}/{MODEL_FOLDER}/{name}", scratch)
                if digest_file(path) != files[name]["sha256"]:
                    raise ModelError(f"{name} was changed after it was registered")
            return Encoder.load(manifest.parent).vocabularies
    except (MlflowException, OSError, ValueError, KeyError, ModelError) as error:
        raise ModelError(f"{place}: {first_line(error)}") from None


def _download(client: StoreClient, uri: str, folder: str) -> Path:
    server = client.tracking_uri
    return Path(download_artifacts(uri, dst_path=folder, tracking_uri=server, registry_uri=server))
