"""A registry that is emptied, or older than the journal, is no beginning."""

from collections.abc import Callable
from datetime import date

import pytest
from mlflow import MlflowClient

from pipeline_lib.errors import StorageError
from pipeline_lib.evaluation.journal import JournalEntry, append_entry
from pipeline_lib.home import find_home
from pipeline_lib.tracking.champions import standing_of
from pipeline_lib.tracking.losses import what_is_behind
from tests.unit.tracking.conftest import MakeConfig, Registered

Register = Callable[[str, str], Registered]


def _entry(version: str, decision: str = "promoted", run_id: str = "a" * 32) -> JournalEntry:
    return JournalEntry("2026-11-28T02:00:00+00:00", decision, "", version, "k", run_id, "d", "c")


@pytest.mark.parametrize("decision", ["promoted", "kept"])
@pytest.mark.parametrize("promote", [False, True])
def test_an_emptied_registry_beside_a_journal_with_versions_stops_the_night(
    client: MlflowClient, table_config: MakeConfig, decision: str, promote: bool
) -> None:
    config = table_config(name=f"losses_{decision}_{promote}".lower())
    for version in ("1", "2"):
        append_entry(find_home().dataset(config.name), _entry(version, decision))

    with pytest.raises(StorageError) as raised:
        standing_of(client, config, config, run_date=date(2026, 11, 30), promote=promote)

    said = str(raised.value)
    assert f"mlflow.db has no version of {config.name}, and none of its runs" in said
    assert "knows 2 versions" in said
    assert ("version 2 was promoted on 2026-11-28" in said) is (decision == "promoted")
    assert "Put mlflow.db back from a backup" in said
    assert f"mv {find_home().dataset(config.name).journal} " in said


def test_the_journal_moved_away_is_a_beginning(
    client: MlflowClient, table_config: MakeConfig
) -> None:
    config = table_config(name="losses_moved")
    append_entry(find_home().dataset(config.name), _entry("1"))
    journal = find_home().dataset(config.name).journal
    journal.rename(journal.with_name("decisions.jsonl.lost"))

    standing = standing_of(client, config, config, run_date=date(2026, 11, 30))

    assert standing.notes == ()


def test_a_model_that_a_person_deleted_is_no_lost_registry(
    client: MlflowClient, register: Register
) -> None:
    made = register("losses_deleted", "key-1")
    append_entry(find_home().dataset("losses_deleted"), _entry("1", run_id=made.run.run_id))
    client.delete_registered_model("losses_deleted")

    assert what_is_behind(client, "losses_deleted") == ()


def test_a_registry_from_an_older_backup_is_said(client: MlflowClient, register: Register) -> None:
    made = register("losses_behind", "key-1")
    append_entry(find_home().dataset("losses_behind"), _entry("1", run_id=made.run.run_id))
    before = what_is_behind(client, "losses_behind")
    append_entry(find_home().dataset("losses_behind"), _entry("12"))
    append_entry(find_home().dataset("losses_behind"), _entry("9", "kept"))

    (note,) = what_is_behind(client, "losses_behind")

    assert before == ()
    assert "the journal knows version 12 of 2026-11-28" in note
    assert "none after version 1: it is older than the journal" in note


def test_nights_without_a_version_are_nothing_to_lose(client: MlflowClient) -> None:
    append_entry(find_home().dataset("losses_rejected"), _entry("", "rejected"))

    assert what_is_behind(client, "losses_rejected") == ()


def test_a_champion_without_a_digest_of_its_code_is_said(
    client: MlflowClient, table_config: MakeConfig, register: Register
) -> None:
    config = table_config(name="losses_old")
    register("losses_old", "key-1")
    client.set_registered_model_alias("losses_old", "champion", "1")
    client.delete_model_version_tag("losses_old", "1", "package.files.sha256")

    (note,) = standing_of(client, config, config, run_date=date(2026, 11, 30)).notes

    assert note.startswith("version 1 was registered without a digest of its code")
