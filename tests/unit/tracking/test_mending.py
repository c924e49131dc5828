"""A damaged champion gets the same model, whole, in its place; or a person is told what to do."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from pipeline_lib.home import find_home
from pipeline_lib.serving import FittedModel
from pipeline_lib.tracking.mending import mend_champion
from pipeline_lib.tracking.registry import Champion, promote, read_champion
from pipeline_lib.tracking.versions import (
    CHAMPION,
    MODEL_FOLDER,
    PROMOTED_AT,
    champion_version,
    what_is_wrong_with,
)
from tests.unit.tracking.conftest import Registered

Register = Callable[[str, str], Registered]
ROWS = pd.DataFrame({"color": ["red", "amber", None], "size": [10.0, 20.0, 30.0]})


def _package(name: str, version: str = "1") -> Path:
    return Path(download_artifacts(f"models:/{name}/{version}"))


def _champion(client: MlflowClient, name: str) -> Champion:
    champion = read_champion(client, name)
    assert champion is not None
    return champion


def _whole_champion(client: MlflowClient, name: str) -> str:
    version = champion_version(client, name)
    assert version is not None
    assert what_is_wrong_with(find_home(), version) == ""
    return str(version.version)


@pytest.mark.parametrize("damage", ["MLmodel", "model in the run's folder", "code"])
def test_a_champion_whose_model_is_still_somewhere_is_packaged_anew(
    client: MlflowClient, register: Register, fitted: FittedModel, damage: str
) -> None:
    name = f"mended_{damage.replace(' ', '_')[:5].lower()}"
    made = register(name, f"key-{name}")
    promote(client, made.version, instead_of="")
    client.set_model_version_tag(name, "1", "run_date", "2026-11-28")
    match damage:
        case "MLmodel":
            (_package(name) / "MLmodel").write_text("{")
        case "code":
            shutil.rmtree(_package(name) / "code")
        case _:
            shutil.copytree(made.folder, find_home().run(made.run.run_key).folder / "model")
            shutil.rmtree(_package(name))

    mended, told = mend_champion(made.run, name, _champion(client, name), ROWS)

    version = client.get_model_version(name, "2")
    assert (mended.version, mended.problem) == ("2", "")
    assert mended.model is not None
    assert mended.model.predict(ROWS).equals(fitted.predict(ROWS))
    assert _whole_champion(client, name) == "2"
    assert told.startswith("champion v1: its files ")
    assert told.endswith("version 2, the same model, is champion instead")
    assert version.tags["run_date"] == "2026-11-28"
    assert version.tags[PROMOTED_AT]
    assert version.run_id == made.run.run_id


def test_a_whole_version_of_the_same_model_takes_the_place_of_a_damaged_champion(
    client: MlflowClient, register: Register
) -> None:
    first, _ = register("mended_twin", "key-1"), register("mended_twin", "key-2")
    promote(client, first.version, instead_of="")
    shutil.rmtree(_package("mended_twin"))

    mended, told = mend_champion(first.run, "mended_twin", _champion(client, "mended_twin"), ROWS)

    assert mended.version == _whole_champion(client, "mended_twin") == "2"
    assert "version 2, the same model" in told
    assert len(client.search_model_versions("name = 'mended_twin'")) == 2


def test_a_champion_whose_model_is_nowhere_stays_and_the_message_says_how_to_go_on(
    client: MlflowClient, register: Register
) -> None:
    made = register("mended_lost", "key-lost")
    promote(client, made.version, instead_of="")
    weights = _package("mended_lost") / MODEL_FOLDER / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    for key in ("../key-lost", "/etc", "."):  # a tag is no path
        client.set_model_version_tag("mended_lost", "1", "run_key", key)

        champion, told = mend_champion(
            made.run, "mended_lost", _champion(client, "mended_lost"), ROWS
        )

        assert (champion.version, champion.model) == ("1", None)
        assert "Restore its files from a backup" in told
        assert "--promote" in told
    assert len(client.search_model_versions("name = 'mended_lost'")) == 1


def test_a_champion_that_was_changed_meanwhile_is_not_replaced(
    client: MlflowClient, register: Register
) -> None:
    first, second = register("mended_race", "key-1"), register("mended_race", "key-2")
    promote(client, first.version, instead_of="")
    (_package("mended_race") / "MLmodel").unlink()
    damaged = _champion(client, "mended_race")
    client.set_registered_model_alias("mended_race", CHAMPION, second.version.version)
    client.delete_model_version_tag("mended_race", "2", "package.sha256")  # no twin any more

    _, told = mend_champion(first.run, "mended_race", damaged, ROWS)

    assert told == ""
    assert client.get_model_version_by_alias("mended_race", CHAMPION).version == 2
