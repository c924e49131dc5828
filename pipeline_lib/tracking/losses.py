"""A registry that knows less than the journal: its database was lost, or is an older one."""

from collections.abc import Sequence

from mlflow.exceptions import MlflowException

from pipeline_lib.errors import StorageError
from pipeline_lib.evaluation.journal import (
    JournalEntry,
    last_promotion,
    read_journal,
)
from pipeline_lib.home import DatasetFolder
from pipeline_lib.tracking.client import StoreClient
from pipeline_lib.tracking.store import address_of, is_embedded
from pipeline_lib.tracking.versions import is_absent, versions_of

_MAX_RUNS = 20


def what_is_behind(client: StoreClient, name: str) -> tuple[str, ...]:
    """Return sentences for the page about a registry that is older than the journal.

    Raises:
        StorageError: the home's own registry has none of the versions and runs in the journal.
    """
    entries = [
        entry for entry in read_journal(client.home.dataset(name)) if entry.version.isdigit()
    ]
    if not entries:
        return ()
    versions = versions_of(client, name)
    if not versions:
        if is_embedded(client) and not _knows_a_run(client, entries):
            raise StorageError(_lost(client.home.dataset(name), entries))
        return ()
    newest, last = int(versions[0].version), max(entries, key=lambda entry: int(entry.version))
    if int(last.version) <= newest:
        return ()
    return (
        f"the journal knows version {last.version} of {last.decided_at}, and MLflow at "
        f"{address_of(client)} has none after version {newest}: it is older than the journal, as "
        "one from a backup, or versions were deleted",
    )


def _knows_a_run(client: StoreClient, entries: Sequence[JournalEntry]) -> bool:
    """Return whether the store is that of the journal's latest runs."""
    for run_id in [entry.run_id for entry in entries if entry.run_id][-_MAX_RUNS:]:
        try:
            client.get_run(run_id)
        except MlflowException as error:
            if not is_absent(error):
                raise
        else:
            return True
    return False


def _lost(dataset: DatasetFolder, entries: Sequence[JournalEntry]) -> str:
    name, home, journal = dataset.name, dataset.home, dataset.journal
    database = home.mlflow_db
    n_versions = len({entry.version for entry in entries})
    last = last_promotion(entries)
    champion = f"; version {last.version} was promoted on {last.decided_at}" if last else ""
    packages = home.artifacts / name / "models"
    rest = f" Packages are still below {packages}." if packages.is_dir() else ""
    return (
        f"{database} has no version of {name}, and none of its runs: its database was lost "
        f"or emptied. The journal {journal} knows {n_versions:,} "
        f"version{'' if n_versions == 1 else 's'}{champion}. Nothing was trained.{rest} Put "
        f"{database.name} back from a backup; to begin again without these versions, move the "
        f"journal away: mv {journal} {journal}.lost"
    )
