"""What the registry and the journal know of the champion's place, whatever was done to them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from pipeline_lib.config import PipelineConfig
from pipeline_lib.errors import UsageError
from pipeline_lib.evaluation.journal import JournalEntry, append_entry
from pipeline_lib.evaluation.standing import History
from pipeline_lib.home import find_home
from pipeline_lib.tracking.champions import history_of, is_unfinished, standing_of, why_again
from pipeline_lib.tracking.registry import promote, read_champion
from pipeline_lib.tracking.versions import (
    CHAMPION,
    EXPERIMENT,
    MODEL_FOLDER,
    PROMOTED_AT,
    SHA256,
    package_digest,
)
from tests.unit.tracking.conftest import MakeConfig, Registered

Register = Callable[[str, str], Registered]
TODAY = date(2026, 11, 30)


def _entry(version: str, run_key: str, decision: str = "promoted") -> JournalEntry:
    return JournalEntry(
        "2026-11-28T02:00:00+00:00", decision, "", version, run_key, "", "d", "c", champion=version
    )


def _history(client: MlflowClient, config: PipelineConfig, made: Registered | None) -> History:
    sha256 = package_digest(made.folder) if made else ""
    run_key = made.run.run_key if made else "key-9"
    return history_of(client, config, run_key=run_key, sha256=sha256)


def test_an_empty_registry_and_an_empty_journal_are_a_beginning(
    client: MlflowClient, table_config: MakeConfig
) -> None:
    assert _history(client, table_config(name="champions_a"), None) == History()


def test_versions_without_a_champion_are_no_beginning(
    client: MlflowClient, table_config: MakeConfig, register: Register
) -> None:
    config = table_config(name="champions_b")
    made = register("champions_b", "key-1")
    client.set_model_version_tag("champions_b", "1", "decision", "kept")

    assert _history(client, config, made) == History(
        no_champion="champions_b has 1 version in the registry and no champion"
    )
    client.set_model_version_tag("champions_b", "1", EXPERIMENT, "true")
    assert _history(client, config, made) == History()
    client.set_model_version_tag("champions_b", "1", PROMOTED_AT, "2026-11-28")
    assert _history(client, config, made).no_champion


def test_a_promoted_version_that_the_registry_does_not_have_is_no_beginning(
    client: MlflowClient, table_config: MakeConfig
) -> None:
    append_entry(find_home().dataset("champions_c"), _entry("4", "key-1"))

    history = _history(client, table_config(name="champions_c"), None)

    assert "version 4 was promoted on 2026-11-28T02:00:00+00:00, and MLflow at" in (
        history.no_champion
    )
    assert history.no_champion.endswith("mlflow.db does not have it")


@pytest.mark.parametrize("done", ["tagged", "journaled", "promoted, then taken out"])
def test_a_promotion_that_was_interrupted_before_the_alias_moved_goes_on(
    client: MlflowClient, table_config: MakeConfig, register: Register, done: str
) -> None:
    name = f"champions_d_{len(done)}"
    made = register(name, "key-1")  # tagged decision=promoted
    if done == "journaled":
        append_entry(find_home().dataset(name), _entry("1", "key-1"))
    if done == "promoted, then taken out":
        promote(client, made.version, instead_of="")
        client.delete_registered_model_alias(name, CHAMPION)

    history = _history(client, table_config(name=name), made)

    assert bool(history.no_champion) is (done != "tagged")


@pytest.mark.parametrize("is_journaled", [False, True])
def test_a_promotion_whose_journal_line_is_missing_is_finished_while_it_has_the_alias(
    client: MlflowClient, table_config: MakeConfig, register: Register, is_journaled: bool
) -> None:
    name = f"champions_j_{is_journaled}".lower()
    made = register(name, "key-1")
    promote(client, made.version, instead_of="")
    if is_journaled:
        append_entry(find_home().dataset(name), _entry("1", "key-1"))

    unfinished = is_unfinished(client, name, run_key="key-1", sha256=package_digest(made.folder))

    assert unfinished is not is_journaled


def test_a_model_that_was_taken_back_before_the_journal_was_written_is_known(
    client: MlflowClient, table_config: MakeConfig, register: Register
) -> None:
    config = table_config(name="champions_k")
    first, second = register("champions_k", "key-1"), register("champions_k", "key-2")
    promote(client, first.version, instead_of="")
    promote(client, second.version, instead_of="1")
    client.set_model_version_tag("champions_k", "2", PROMOTED_AT, "2126-11-28T02:00:00+00:00")
    append_entry(find_home().dataset("champions_k"), _entry("1", "key-1"))

    client.set_registered_model_alias("champions_k", CHAMPION, "1")

    assert "has been replaced by version 1 since" in _history(client, config, second).taken_back
    assert not _history(client, config, first).taken_back


def test_a_renamed_model_is_no_beginning_in_a_home_without_its_journal(
    client: MlflowClient, table_config: MakeConfig, register: Register
) -> None:
    config = table_config(name="champions_l")
    made = register("champions_l", "key-1")
    promote(client, made.version, instead_of="")
    client.rename_registered_model("champions_l", "champions_l_old")

    before = _history(client, config, None)
    client.set_tag(made.run.run_id, "decision", "promoted")
    after = _history(client, config, None)

    assert before == History()
    assert "was promoted, and champions_l has no version of it" in after.no_champion


def test_a_model_that_a_person_took_back_is_known_and_a_later_champion_is_not_that(
    client: MlflowClient, table_config: MakeConfig, register: Register
) -> None:
    config = table_config(name="champions_e")
    first, second = register("champions_e", "key-1"), register("champions_e", "key-2")
    for made in (first, second):
        append_entry(
            find_home().dataset("champions_e"), _entry(made.version.version, made.run.run_key)
        )
    client.set_registered_model_alias("champions_e", CHAMPION, "2")

    assert not _history(client, config, first).taken_back
    assert not _history(client, config, second).taken_back
    client.set_registered_model_alias("champions_e", CHAMPION, "1")
    assert not _history(client, config, first).taken_back
    assert "has been replaced by version 1 since" in _history(client, config, second).taken_back


def _package(name: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(f"models:/{name}/1"))


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("nothing", ""),
        ("alias removed", "version 1 is no longer the champion"),
        ("alias moved", "the champion is version 2 now, and was version 1 then"),
        ("version deleted", "version 1 is no longer the champion"),
        ("model deleted", "version 1 is no longer the champion"),
        ("files deleted", "champion v1 cannot be used"),
        ("weights changed", "champion v1 cannot be used"),
        ("digest changed", "champion v1 cannot be used"),
        ("could not be compared", "champion v0 could not be compared"),
    ],
)
def test_rows_are_decided_about_again_when_the_champion_is_not_what_it_was(
    client: MlflowClient, register: Register, what: str, why: str
) -> None:
    name = f"champions_f_{what.replace(' ', '_')}"
    made = register(name, "key-1")
    past = _entry("1", "key-1")
    promote(client, made.version, instead_of="")
    match what:
        case "alias removed":
            client.delete_registered_model_alias(name, CHAMPION)
        case "alias moved":
            register(name, "key-2")
            client.set_registered_model_alias(name, CHAMPION, "2")
        case "version deleted":
            client.delete_model_version(name, "1")
        case "model deleted":
            client.delete_registered_model(name)
        case "files deleted":
            (_package(name) / MODEL_FOLDER / "manifest.json").unlink()
        case "weights changed":
            weights = _package(name) / MODEL_FOLDER / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
        case "digest changed":
            client.set_model_version_tag(name, "1", SHA256, "0" * 64)
        case "could not be compared":
            past = replace(past, pending="champion v0 could not be compared")
        case _:
            pass

    found = why_again(client, name, past, "1")

    assert found.startswith(why)
    assert bool(found) is bool(why)


@pytest.mark.parametrize("damaged", ["MLmodel", "model_code.py", "code/pipeline_lib/home.py"])
def test_a_champion_that_mlflow_cannot_load_as_it_was_registered_is_something_new(
    client: MlflowClient, register: Register, damaged: str
) -> None:
    name = f"champions_around_{Path(damaged).stem.lower()}"
    promote(client, register(name, "key-1").version, instead_of="")
    past = _entry("1", "key-1")
    package = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/1"))
    (package / "code/pipeline_lib/__pycache__").mkdir()  # as whoever loads it in place leaves it
    (package / "code/pipeline_lib/__pycache__/home.pyc").write_bytes(b"x")

    before = why_again(client, name, past, "1")
    (package / damaged).unlink()
    after = why_again(client, name, past, "1")

    champion = read_champion(client, name)
    assert before == ""
    assert after.startswith("champion v1 cannot be used: its files were changed")
    assert champion is not None
    assert champion.model is not None  # it can still be compared with
    assert "its files were changed" in champion.problem


def test_a_version_of_a_release_without_the_digest_of_all_files_is_not_doubted(
    client: MlflowClient, register: Register
) -> None:
    promote(client, register("champions_undated", "key-1").version, instead_of="")
    client.delete_model_version_tag("champions_undated", "1", "package.files.sha256")

    assert why_again(client, "champions_undated", _entry("1", "key-1"), "1") == ""


def test_a_rejected_first_model_stays_decided_while_there_is_no_champion(
    client: MlflowClient,
) -> None:
    past = replace(_entry("", "key-1", "rejected"), champion="")

    assert why_again(client, "champions_g", past, "") == ""


@pytest.mark.parametrize(
    ("promote_", "experiment", "is_experiment"),
    [(False, False, False), (False, True, True), (True, False, False)],
)
def test_a_person_may_ask_for_an_experiment_or_for_the_promotion_of_one(
    client: MlflowClient,
    table_config: MakeConfig,
    promote_: bool,
    experiment: bool,
    is_experiment: bool,
) -> None:
    config = table_config(name="champions_h")

    own = standing_of(
        client, config, config, run_date=TODAY, promote=promote_, experiment=experiment
    )
    changed = standing_of(
        client, config, None, run_date=TODAY, promote=promote_, experiment=experiment
    )

    assert bool(own.experiment) is is_experiment
    assert bool(changed.experiment) is not promote_
    assert bool(changed.overruled) is promote_
    assert own.run_date == "2026-11-30"


def test_both_wishes_at_once_are_refused(client: MlflowClient, table_config: MakeConfig) -> None:
    config = table_config(name="champions_h")

    with pytest.raises(UsageError, match="exclude each other"):
        standing_of(client, config, config, run_date=TODAY, promote=True, experiment=True)


def test_another_source_than_the_champions_is_said(
    client: MlflowClient, table_config: MakeConfig, register: Register
) -> None:
    config = table_config(name="champions_i")
    made = register("champions_i", "key-1")
    promote(client, made.version, instead_of="")

    client.set_model_version_tag("champions_i", "1", "data.source", "csv other.csv")
    other = standing_of(client, config, config, run_date=TODAY)
    client.set_model_version_tag("champions_i", "1", "data.source", "csv toy.csv")
    same = standing_of(client, config, config, run_date=TODAY)

    assert other.notes == (
        "the source is another than that of champion v1: csv toy.csv, before csv other.csv",
    )
    assert same.notes == ()
