"""A champion whose package is damaged: the same model, whole, takes its place.

The model is known by its sha256. It is looked for in other versions, in the run's folder of this
home, and in the damaged package itself, where its own files may be untouched.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline_lib.errors import ModelError
from pipeline_lib.home import Home, is_run_key
from pipeline_lib.storage.publishing import believed
from pipeline_lib.tracking.package import packaged
from pipeline_lib.tracking.reference import RegisteredVersion
from pipeline_lib.tracking.registry import Champion, promote, read_champion, register_version
from pipeline_lib.tracking.runs import TrackedRun
from pipeline_lib.tracking.versions import (
    FILES_SHA256,
    MENDS,
    MODEL_FOLDER,
    PROMOTED_AT,
    RUN_KEY,
    SHA256,
    downloaded,
    package_digest,
    uri_of,
    versions_of,
    what_is_wrong_with,
)
from pipeline_lib.wording import first_line


def mend_champion(
    run: TrackedRun, name: str, champion: Champion, golden: pd.DataFrame
) -> tuple[Champion, str]:
    """Replace a champion that cannot be used by a whole copy of the same model.

    Args:
        run: the current one.
        name: of the dataset.
        champion: the damaged one.
        golden: raw rows, for which a new package has to predict the same as its model.

    Returns:
        The champion now, and a sentence for the page.
    """
    client, seen = run.client, f"champion v{champion.version}: {champion.problem}"
    found = client.get_model_version(name, champion.version)
    try:
        version = _whole_twin(run, found) or _packaged_anew(run, found, champion, golden)
    except ModelError as error:
        return champion, f"{seen}; it cannot be mended: {first_line(error)}"
    if version is None:
        return champion, (
            f"{seen}; its model is nowhere else. Restore its files from a backup, or have another "
            "model promoted: `--promote` (in the form: promote) puts the new one in its place"
        )
    if not promote(client, version, instead_of=champion.version):
        return champion, ""  # another process has changed the champion: the model is judged again
    mended = read_champion(client, name)
    assert mended is not None
    return mended, f"{seen}; version {version.version}, the same model, is champion instead"


def _whole_twin(run: TrackedRun, found: ModelVersion) -> RegisteredVersion | None:
    for version in versions_of(run.client, found.name):
        is_same = version.tags.get(SHA256) == found.tags.get(SHA256)
        if (
            is_same
            and version.version != found.version
            and not what_is_wrong_with(run.client.home, version)
        ):
            return RegisteredVersion(found.name, str(version.version), is_new=False, url="")
    return None


def _packaged_anew(
    run: TrackedRun, found: ModelVersion, champion: Champion, golden: pd.DataFrame
) -> RegisteredVersion | None:
    kept = {k: v for k, v in found.tags.items() if k not in (FILES_SHA256, PROMOTED_AT)}
    with _model_of(run.client.home, found, champion) as folder:
        if folder is None:
            return None
        of_champion = _run_of(run, found)
        model_uri = packaged(of_champion, folder, golden)
        tags = {**kept, MENDS: found.tags.get(MENDS, str(found.version))}
        return register_version(of_champion, found.name, model_uri, folder, tags)


@contextmanager
def _model_of(home: Home, found: ModelVersion, champion: Champion) -> Generator[Path | None]:
    """Yield the folder of a version's model if its files are found as registered, else None."""
    key = found.tags.get(RUN_KEY, "")
    kept = home.run(key).model if is_run_key(key) else None
    if kept and believed(kept) is not None and package_digest(kept) == champion.sha256:
        yield kept
    elif champion.model is not None:
        with downloaded(home, uri_of(found)) as package:
            yield package / MODEL_FOLDER
    else:
        yield None


def _run_of(run: TrackedRun, found: ModelVersion) -> TrackedRun:
    """Return the run that has trained a version; else the current one, under its key."""
    reference = replace(run.reference, run_key=found.tags.get(RUN_KEY, ""))
    try:
        info = run.client.get_run(str(found.run_id)).info
    except MlflowException:
        return TrackedRun(run.client, reference)
    start_ms = int(info.start_time or reference.start_ms)
    trained = replace(
        reference, run_id=info.run_id, experiment_id=info.experiment_id, start_ms=start_ms
    )
    return TrackedRun(run.client, trained)
