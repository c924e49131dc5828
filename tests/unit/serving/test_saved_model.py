"""What a saved model's folder may be: whole, of this version, without a pickle."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from safetensors.torch import load_file, save_file

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.errors import ModelError, StorageError
from pipeline_lib.serving import FittedModel
from pipeline_lib.storage.publishing import MANIFEST, publish
from tests.unit.serving.conftest import rows_of

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_saved_model_says_the_same_to_the_bit(
    tmp_path: Path, table_config: MakeConfig, toy_table: MakeTable, task: str
) -> None:
    fitted = fit(table_config(data={"task": task}), toy_table(200, task=task))
    rows = rows_of(["red", "amber", None, "blue"])

    fitted.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model")

    assert loaded.predict(rows).equals(fitted.predict(rows))
    assert (loaded.name, loaded.task) == ("toy", task)


def test_a_saved_model_holds_no_pickle(tmp_path: Path, model: FittedModel) -> None:
    model.save(tmp_path / "model")

    files = sorted((tmp_path / "model").iterdir())
    assert [file.name for file in files] == [
        "categories.parquet",
        "encoder.json",
        MANIFEST,
        "model.json",
        "model.safetensors",
    ]
    for file in files:
        data = file.read_bytes()
        assert not data.startswith((b"\x80", b"PK"))  # pickle protocol 2 and up; torch's zip
        if file.suffix == ".json":
            json.loads(data)
        if file.suffix == ".parquet":
            assert data[:4] == data[-4:] == b"PAR1"
        if file.suffix == ".safetensors":
            assert data[8:9] == b"{"


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model.json", "encoder.json", "categories.parquet", MANIFEST]
)
@pytest.mark.parametrize("damage", ["flipped", "gone", "longer"])
def test_a_model_with_a_file_that_changed_is_refused(
    tmp_path: Path, model: FittedModel, name: str, damage: str
) -> None:
    model.save(tmp_path / "model")
    path = tmp_path / "model" / name
    data = bytearray(path.read_bytes())

    match damage:
        case "flipped":
            data[len(data) // 2] ^= 0x20
            path.write_bytes(data)
        case "longer":
            path.write_bytes(data + b"x")
        case _:
            path.unlink()

    with pytest.raises(ModelError, match=str(tmp_path / "model")):
        load_model(tmp_path / "model")


def test_a_model_of_version_1_answers_as_it_always_did(tmp_path: Path, model: FittedModel) -> None:
    model.save(tmp_path / "model")
    spec = json.loads((tmp_path / "model" / "model.json").read_text())
    weights = load_file(tmp_path / "model" / "model.safetensors")

    with publish(tmp_path / "earlier", {}) as scratch:
        for name in ("encoder.json", "categories.parquet"):
            shutil.copy(tmp_path / "model" / name, scratch)
        named = {name.removeprefix("0."): value for name, value in weights.items()}
        save_file(named, scratch / "model.safetensors")
        earlier = {k: v for k, v in spec.items() if k not in {"d_embeddings", "n_members"}}
        (scratch / "model.json").write_text(json.dumps({**earlier, "version": 1}))
    rows = rows_of(["red", "blue", "teal"])

    pd.testing.assert_frame_equal(
        load_model(tmp_path / "earlier").predict(rows), model.predict(rows)
    )


@pytest.mark.parametrize("version", [0, 4, None, "1"])
def test_a_model_of_another_version_is_refused(
    tmp_path: Path, model: FittedModel, version: int | str | None
) -> None:
    model.save(tmp_path / "model")
    spec = json.loads((tmp_path / "model" / "model.json").read_text())

    with publish(tmp_path / "foreign", {}) as scratch:
        for file in set((tmp_path / "model").iterdir()) - {tmp_path / "model" / MANIFEST}:
            shutil.copy(file, scratch)
        (scratch / "model.json").write_text(json.dumps({**spec, "version": version}))

    with pytest.raises(ModelError, match=rf"has version {version!r}, this code reads 1 to 3"):
        load_model(tmp_path / "foreign")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": {"kind": "embedding_mlp", "d_token": 8}}, "d_token Extra inputs are not"),
        ({"n_members": 2}, "Missing key"),
        ({"d_embeddings": [1, 2, 3]}, "longer"),
        ({"task": "multiclass", "target": {"column": "label"}}, "mean"),
    ],
)
def test_a_model_that_other_code_wrote_is_refused_with_what_is_strange_in_it(
    tmp_path: Path, model: FittedModel, changed: dict[str, Any], told: str
) -> None:
    model.save(tmp_path / "model")
    spec = json.loads((tmp_path / "model" / "model.json").read_text())

    with publish(tmp_path / "foreign", {}) as scratch:
        for file in set((tmp_path / "model").iterdir()) - {tmp_path / "model" / MANIFEST}:
            shutil.copy(file, scratch)
        (scratch / "model.json").write_text(json.dumps({**spec, **changed}))

    with pytest.raises(ModelError, match=f"this code cannot read the model: .*{told}"):
        load_model(tmp_path / "foreign")


def test_weights_of_another_encoder_are_refused(
    tmp_path: Path, model: FittedModel, doors_model: FittedModel
) -> None:
    model.save(tmp_path / "model")
    doors_model.save(tmp_path / "doors")

    with publish(tmp_path / "mixed", {}) as scratch:
        for file in set((tmp_path / "model").iterdir()) - {tmp_path / "model" / MANIFEST}:
            shutil.copy(file, scratch)
        for name in ("encoder.json", "categories.parquet"):
            shutil.copy(tmp_path / "doors" / name, scratch)

    with pytest.raises(ModelError, match="belong to another encoder"):
        load_model(tmp_path / "mixed")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        load_model(tmp_path)


def test_saving_below_a_file_is_a_storage_error(tmp_path: Path, model: FittedModel) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError):
        model.save(tmp_path / "file" / "model")


def test_saving_again_replaces_the_model(
    tmp_path: Path, model: FittedModel, doors_model: FittedModel
) -> None:
    model.save(tmp_path / "model")

    doors_model.save(tmp_path / "model")

    saved = load_model(tmp_path / "model").encoder
    assert saved.fingerprint() == doors_model.encoder.fingerprint()
    assert saved.fingerprint() != model.encoder.fingerprint()
