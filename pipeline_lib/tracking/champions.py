"""Whether a run may change the champion, and whether there is anything to do. Imports no torch.

The registry is asked, never the journal alone: the alias may have been moved, its version or its
files deleted, or another registry be in use since the journal's last line.
"""

from collections.abc import Sequence
from datetime import date

from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.ownership import own_config, source_text, why_experiment
from pipeline_lib.errors import UsageError
from pipeline_lib.evaluation.journal import (
    JournalEntry,
    last_promotion,
    read_journal,
)
from pipeline_lib.evaluation.standing import REGISTER, History, Standing
from pipeline_lib.tracking.client import StoreClient
from pipeline_lib.tracking.losses import what_is_behind
from pipeline_lib.tracking.store import address_of
from pipeline_lib.tracking.versions import (
    CONFIG_PATH,
    CONFIG_PROJECT,
    DECISION,
    EXPERIMENT,
    MENDS,
    PROMOTED_AT,
    RUN_DATE,
    RUN_KEY,
    SHA256,
    SOURCE,
    champion_version,
    versions_of,
    what_is_not_recorded,
    what_is_wrong_with,
)


def standing_of(
    client: StoreClient,
    config: PipelineConfig,
    plain: PipelineConfig | None,
    *,
    run_date: date,
    promote: bool = False,
    experiment: bool = False,
) -> Standing:
    """Return the standing of a run.

    Args:
        client: the registry.
        config: the values of the run.
        plain: its config file without the run's own values; None if that is no valid config.
        run_date: the date of the run's rows.
        promote: a person asks for the promotion: the run is no experiment.
        experiment: a person asks for an experiment.

    Raises:
        UsageError: a person asks for both.
        StorageError: the home's registry has lost what the dataset's journal names.
    """
    if promote and experiment:
        raise UsageError("`promote` and `experiment` exclude each other: choose one")
    champion = champion_version(client, config.name)
    tags = champion.tags if champion else {}
    source = source_text(config.data.source)
    notes = [*what_is_behind(client, config.name)]
    if champion and (unknown := what_is_not_recorded(champion)):
        notes.append(unknown)
    if champion and source != (theirs := tags.get(SOURCE, source)):
        notes.append(
            f"the source is another than that of champion v{champion.version}: "
            f"{source}, before {theirs}"
        )
    own = own_config(
        config.name,
        config.project,
        of_champion=tags.get(CONFIG_PATH),
        champions_project=tags.get(CONFIG_PROJECT),
    )
    why = "as asked" if experiment else why_experiment(config, plain, own)
    if why and not promote:
        notes.append(f"an experiment ({why}): nothing will be registered. {REGISTER}")
    return Standing(
        "" if promote else why,
        promote=promote,
        overruled=why if promote else "",
        run_date=run_date.isoformat(),
        config_path=config.path_in_project,
        config_project=str(config.project) if config.path_in_project else "",
        source=source,
        notes=tuple(notes),
    )


def history_of(
    client: StoreClient, config: PipelineConfig, *, run_key: str, sha256: str
) -> History:
    """Return what is known of the champion's place.

    Args:
        client: the registry.
        config: of the dataset.
        run_key: of the run that is decided about.
        sha256: digest of its model.
    """
    name = config.name
    champion, entries = champion_version(client, name), read_journal(client.home.dataset(name))
    last = last_promotion(entries)
    if champion is not None:
        taken_back = _taken_back(client, champion, last, run_key=run_key)
        return History(champion.tags.get(RUN_DATE, ""), taken_back=taken_back)
    if is_unfinished(client, name, run_key=run_key, sha256=sha256, entries=entries):
        return History()
    versions = versions_of(client, name)
    made = [v for v in versions if EXPERIMENT not in v.tags or PROMOTED_AT in v.tags]
    if made:
        n = f"{len(made)} version" + ("" if len(made) == 1 else "s")
        return History(no_champion=f"{name} has {n} in the registry and no champion")
    if last is not None:
        return History(
            no_champion=f"version {last.version} was promoted on {last.decided_at}, and MLflow at "
            f"{address_of(client)} does not have it"
        )
    if (run := _promoted_run(client, name)) is not None:
        return History(
            no_champion=f"the model of the MLflow run {run.info.run_name!r} was promoted, and "
            f"{name} has no version of it"
        )
    return History()


def _taken_back(
    client: StoreClient, champion: ModelVersion, last: JournalEntry | None, *, run_key: str
) -> str:
    """Return that a person has put the champion in the place of this run's model, if so.

    A kill may have come before the journal's line; the version's tags know as much.
    """
    name, found = champion.name, str(champion.version)
    version, when = "", ""
    if last is not None and last.run_key == run_key:
        version, when = last.version, last.decided_at
    else:
        promoted = [v for v in versions_of(client, name) if PROMOTED_AT in v.tags]
        newest = max(promoted, key=lambda v: v.tags[PROMOTED_AT], default=None)
        if newest is not None and newest.tags.get(RUN_KEY) == run_key:
            version, when = str(newest.version), newest.tags[PROMOTED_AT]
    if version in ("", found, champion.tags.get(MENDS)):
        return ""
    return (
        f"version {version}, made of the same rows, config and code, was promoted "
        f"on {when} and has been replaced by version {found} since"
    )


def _promoted_run(client: StoreClient, name: str) -> Run | None:
    """Return the dataset's latest MLflow run whose model was promoted, or None."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return None
    query = f"tags.{DECISION} = 'promoted'"
    return next(iter(client.search_runs([experiment.experiment_id], query, max_results=1)), None)


def is_unfinished(
    client: StoreClient,
    name: str,
    *,
    run_key: str,
    sha256: str,
    entries: Sequence[JournalEntry] | None = None,
) -> bool:
    """Return whether this very model was about to be promoted when its run was interrupted."""
    if any(
        entry.run_key == run_key and entry.decision == "promoted"
        for entry in (read_journal(client.home.dataset(name)) if entries is None else entries)
    ):
        return False
    champion = champion_version(client, name)  # a search returns versions without aliases (3.17)
    in_use = str(champion.version) if champion else ""
    return any(
        version.tags.get(SHA256) == sha256
        and version.tags.get(DECISION) == "promoted"
        and (PROMOTED_AT not in version.tags or str(version.version) == in_use)
        for version in versions_of(client, name, run_key=run_key)
    )


def why_again(client: StoreClient, name: str, past: JournalEntry, expected: str) -> str:
    """Return why rows that were decided about are decided about again; empty if nothing is new.

    Args:
        client: the registry.
        name: of the dataset.
        past: the decision about these rows and this config.
        expected: the version that was champion after it; empty if none was.
    """
    if past.pending:
        return past.pending
    champion = champion_version(client, name)
    if champion is None:
        where = f"MLflow at {address_of(client)}"
        return f"version {expected} is no longer the champion in {where}" if expected else ""
    found = str(champion.version)
    if found != expected:
        before = f"version {expected}" if expected else "none"
        return f"the champion is version {found} now, and was {before} then"
    if problem := what_is_wrong_with(client.home, champion):
        return f"champion v{found} cannot be used: {problem}"
    return ""
