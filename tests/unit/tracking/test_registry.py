"""Package, verify, register, promote; and never believe files that changed."""

import json
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pyarrow as pa
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from pipeline_lib import fit
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.errors import ModelError, ServerError
from pipeline_lib.home import find_home
from pipeline_lib.serving import FittedModel, load_model
from pipeline_lib.storage.digests import digest_file
from pipeline_lib.storage.publishing import MANIFEST
from pipeline_lib.tracking.package import (
    package_model,
    signature_of,
    verify_package,
)
from pipeline_lib.tracking.registry import (
    STARTED_FROM,
    find_twin,
    promote,
    read_champion,
    read_champion_to_start_from,
    register_version,
)
from pipeline_lib.tracking.runs import TrackedRun, start_run
from pipeline_lib.tracking.versions import (
    CHALLENGER,
    CHAMPION,
    MODEL_FOLDER,
    PROMOTED_AT,
    champion_version,
    package_digest,
)
from tests.unit.tracking.conftest import MakeConfig, Registered

ROWS = pd.DataFrame({"color": ["red", "amber", None], "size": [10.0, 20.0, 30.0]})


def _package_files(name: str, version: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{version}"))


def test_a_package_says_the_same_in_a_clean_process_and_becomes_champion(
    client: MlflowClient, register: Callable[[str, str], Registered], fitted: FittedModel
) -> None:
    made = register("registry_a", "key-1")
    expected = fitted.predict(ROWS)

    verify_package(find_home(), made.uri, ROWS, expected)
    promote(client, made.version, instead_of="")

    champion = read_champion(client, "registry_a")
    assert champion is not None
    assert (champion.version, champion.problem) == ("1", "")
    assert champion.model is not None
    assert champion.model.predict(ROWS).equals(expected)
    version = client.get_model_version("registry_a", "1")
    assert version.tags["run_key"] == "key-1"
    assert version.tags["decision"] == "promoted"
    assert version.tags["package.sha256"] == digest_file(made.folder / MANIFEST)
    assert version.run_id == made.run.run_id


def test_a_package_that_says_something_else_is_refused(
    register: Callable[[str, str], Registered], fitted: FittedModel
) -> None:
    made = register("registry_b", "key-1")
    expected = fitted.predict(ROWS)
    expected["probability_hot"] += 0.01

    with pytest.raises(ModelError, match="predicts other values of 'probability_hot'"):
        verify_package(find_home(), made.uri, ROWS, expected)


def test_a_package_holds_no_pickle_and_our_code(
    register: Callable[[str, str], Registered],
) -> None:
    made = register("registry_c", "key-1")

    package = _package_files("registry_c", made.version.version)

    files = [path for path in package.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".pt", ".pth"}]
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80"]
    assert (package / "code" / "pipeline_lib" / "serving" / "predictor.py").exists()


def test_registering_twice_gives_one_version(
    client: MlflowClient, register: Callable[[str, str], Registered]
) -> None:
    made = register("registry_d", "key-1")

    again = register_version(made.run, "registry_d", made.uri, made.folder, {})

    assert (made.version.is_new, again.is_new) == (True, False)
    assert again.version == made.version.version
    assert len(client.search_model_versions("name = 'registry_d'")) == 1
    found = find_twin(client, "registry_d", "key-1", package_digest(made.folder))
    assert found is not None
    assert str(found.version) == again.version


def test_another_model_of_the_same_run_key_is_another_version(
    client: MlflowClient, register: Callable[[str, str], Registered]
) -> None:
    first = register("registry_same_key", "key-1")
    promote(client, first.version, instead_of="")
    model = load_model(first.folder)
    with torch.no_grad():
        next(model.networks[0].parameters()).add_(1.0)
    model.save(first.folder)

    second = register_version(first.run, "registry_same_key", first.uri, first.folder, {})

    assert second.is_new
    assert second.version != first.version.version
    champion = client.get_model_version_by_alias("registry_same_key", CHAMPION)
    assert str(champion.version) == first.version.version


def test_another_run_key_gives_another_version_and_the_champion_stays_until_promoted(
    client: MlflowClient, register: Callable[[str, str], Registered]
) -> None:
    first = register("registry_e", "key-1")
    promote(client, first.version, instead_of="")

    second = register("registry_e", "key-2")

    aliases = client.get_registered_model("registry_e").aliases
    assert {name: str(v) for name, v in aliases.items()} == {CHAMPION: "1", CHALLENGER: "2"}
    assert promote(client, second.version, instead_of="1")
    assert promote(client, second.version, instead_of="1")
    aliases = client.get_registered_model("registry_e").aliases
    assert {name: str(v) for name, v in aliases.items()} == {CHAMPION: "2"}


@pytest.mark.parametrize("compared_with", ["", "1"])
def test_a_model_replaces_only_the_version_it_was_compared_with(
    client: MlflowClient, register: Callable[[str, str], Registered], compared_with: str
) -> None:
    name = f"registry_cas_{compared_with or 'none'}"
    first, second, third = (register(name, f"key-{n}") for n in (1, 2, 3))
    if compared_with:
        promote(client, first.version, instead_of="")
    client.set_registered_model_alias(name, CHAMPION, second.version.version)

    is_champion = promote(client, third.version, instead_of=compared_with)

    aliases = client.get_registered_model(name).aliases
    assert not is_champion
    assert {alias: str(v) for alias, v in aliases.items()} == {CHAMPION: "2", CHALLENGER: "3"}
    assert PROMOTED_AT not in client.get_model_version(name, "3").tags


def test_a_version_that_was_promoted_keeps_its_record_when_its_run_is_done_again(
    client: MlflowClient, register: Callable[[str, str], Registered]
) -> None:
    made = register("registry_record", "key-1")
    promote(client, made.version, instead_of="")
    tags = client.get_model_version("registry_record", "1").tags

    register_version(made.run, "registry_record", made.uri, made.folder, {"decision": "kept"})

    assert client.get_model_version("registry_record", "1").tags == tags
    assert tags["decision"] == "promoted"


def test_a_damaged_version_is_no_twin(
    client: MlflowClient, register: Callable[[str, str], Registered]
) -> None:
    made = register("registry_damaged_twin", "key-1")
    weights = _package_files("registry_damaged_twin", "1") / MODEL_FOLDER / "model.safetensors"
    weights.write_bytes(b"\0" + weights.read_bytes()[1:])

    twin = find_twin(client, "registry_damaged_twin", "key-1", package_digest(made.folder))

    assert twin is None


def test_a_name_without_model_or_without_champion_has_none(
    client: MlflowClient, register: Callable[[str, str], Registered]
) -> None:
    register("registry_f", "key-1")

    assert champion_version(client, "registry_f") is None
    assert read_champion(client, "registry_f") is None
    assert read_champion(client, "never_trained") is None


def test_a_run_done_again_starts_from_the_champion_before_it(
    client: MlflowClient, register: Callable[[str, str], Registered]
) -> None:
    first = register("registry_i", "key-1")
    second = register("registry_i", "key-2")
    for made, before in ((first, None), (second, "1")):
        client.set_model_version_tag("registry_i", made.version.version, "split.rule", "s")
        if before is not None:
            client.set_model_version_tag("registry_i", made.version.version, STARTED_FROM, before)

    def start_of(run_key: str) -> tuple[str, str] | None:
        found = read_champion_to_start_from(client, "registry_i", run_key=run_key, split_rule="s")
        return found and (found.version, found.problem)

    assert start_of("key-1") is None
    promote(client, first.version, instead_of="")
    assert start_of("key-1") == ("1", "it is of this very run, which started fresh")
    assert start_of("key-2") == ("1", "")
    promote(client, second.version, instead_of="1")
    assert [start_of(f"key-{n}") for n in (1, 2, 3)] == [("2", ""), ("1", ""), ("2", "")]
    client.delete_model_version("registry_i", "1")
    assert start_of("key-2") == ("1", "this very run started from it, and it is gone")


def test_a_server_that_has_gone_is_no_registry_without_a_champion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gone = MlflowClient(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}")

    with pytest.raises((MlflowException, ServerError)):
        champion_version(gone, "registry_a")


@pytest.mark.parametrize("damage", ["weights", "consistently", "manifest gone", "folder gone"])
def test_a_champion_whose_files_changed_after_it_was_registered_is_not_loaded(
    client: MlflowClient, register: Callable[[str, str], Registered], damage: str
) -> None:
    name = f"registry_g_{damage.replace(' ', '_')}"
    made = register(name, "key-1")
    promote(client, made.version, instead_of="")
    folder = _package_files(name, "1") / "artifacts" / "model"
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1

    match damage:
        case "weights":
            weights.write_bytes(data)
        case "consistently":
            weights.write_bytes(data)
            manifest = json.loads((folder / MANIFEST).read_text())
            manifest["files"]["model.safetensors"]["sha256"] = digest_file(weights)
            (folder / MANIFEST).write_text(json.dumps(manifest))
        case "manifest gone":
            (folder / MANIFEST).unlink()
        case _:
            shutil.rmtree(folder.parent.parent)

    champion = read_champion(client, name)
    assert champion is not None
    assert champion.model is None
    assert champion.version == "1"
    assert champion.problem.startswith("its files cannot be used: ")


@pytest.mark.parametrize("is_damaged", [False, True])
def test_what_is_fetched_from_a_server_is_removed_again(
    client: MlflowClient,
    register: Callable[[str, str], Registered],
    fitted: FittedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_damaged: bool,
) -> None:
    name = f"registry_h_{is_damaged:d}"
    made = register(name, "key-1")
    promote(client, made.version, instead_of="")
    if is_damaged:
        (_package_files(name, "1") / "artifacts" / "model" / "encoder.json").write_text("")
    fetch, fetched = LocalArtifactRepository.download_artifacts, tmp_path / "fetched"
    fetched.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(fetched))

    def as_from_a_server(
        repository: LocalArtifactRepository, path: str, dst_path: str | None = None
    ) -> str:
        return str(fetch(repository, path, dst_path or tempfile.mkdtemp()))

    monkeypatch.setattr(LocalArtifactRepository, "download_artifacts", as_from_a_server)
    if not is_damaged:
        verify_package(find_home(), made.uri, ROWS, fitted.predict(ROWS))
    champion = read_champion(client, name)

    assert champion is not None
    assert (champion.model is None) is is_damaged
    assert str(fetched) not in champion.problem
    assert list(fetched.iterdir()) == []


def test_the_signature_names_every_input_and_output(fitted: FittedModel) -> None:
    signature = signature_of(fitted)

    assert signature.inputs.input_names() == ["color", "size"]
    assert signature.outputs.input_names() == list(fitted.predict(ROWS).columns)


def _of_labels(make_config: MakeConfig, labels: list[object]) -> FittedModel:
    colors, sizes = ["red", "blue"] * 60, [float(n) for n in range(120)]
    rows = pa.table({"color": colors, "size": sizes, "label": labels * 60})
    return fit(make_config(name="typed", data={"task": "binary"}), rows)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [([0, 1], "long"), ([False, True], "boolean"), ([0.0, 1.0], "double"), (["0", "1"], "string")],
    ids=str,
)
def test_the_signature_has_the_type_of_the_target(
    table_config: MakeConfig, labels: list[object], kind: str
) -> None:
    signature = signature_of(_of_labels(table_config, labels))

    assert signature.outputs.to_dict()[0] == {
        "type": kind,
        "name": "prediction",
        "required": True,
    }


def test_a_package_answers_in_the_type_of_the_target(
    table_config: MakeConfig, snapshot: Snapshot, tmp_path: Path
) -> None:
    model = _of_labels(table_config, [False, True])
    model.save(tmp_path / "model")
    with start_run(
        table_config(name="typed"), find_home(), snapshot, run_key="k", run_name="n", tags={}
    ) as run:
        uri = package_model(TrackedRun.of(run), tmp_path / "model")

    answer = mlflow.pyfunc.load_model(uri).predict(ROWS)

    assert answer["prediction"].dtype == "bool"
    assert list(answer)[1:3] == ["probability_false", "probability_true"]
    verify_package(find_home(), uri, ROWS, model.predict(ROWS))
