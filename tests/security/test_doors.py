"""What comes in from outside may be anything: each door answers with an error of its own."""

import json
import shutil
import struct
import warnings
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib import fit, load_model
from pipeline_lib.config import load_config
from pipeline_lib.errors import ConfigError, EvergreenError, ModelError, UsageError
from pipeline_lib.serving import ExtraColumnsWarning, FittedModel
from pipeline_lib.storage.digests import digest_file
from pipeline_lib.training.checkpoint import load_checkpoint, save_checkpoint
from pipeline_lib.training.keeper import Keeper
from tests.conftest import MakeConfig, MakeTable
from tests.unit.training.loops import small_loop


@pytest.fixture(scope="module")
def model(table_config: MakeConfig, toy_table: MakeTable) -> FittedModel:
    """A fitted model with a column of words and one of numbers."""
    return fit(table_config(training={"epochs": 1}), toy_table(60))


@pytest.fixture(scope="module")
def saved(model: FittedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model, on disk."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save(folder)
    return folder


@pytest.mark.parametrize("content", [b"\x80\x02a.", b"\x80\x02.", b"", b"PK\x05\x06", b"\x80" * 99])
def test_a_checkpoint_of_no_training_is_set_aside_and_the_training_is_fresh(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)

    keeper = Keeper(small_loop(), tmp_path, key="k", every_s=1000)

    (note,) = keeper.notes
    assert note.startswith("checkpoint.pt is damaged (")
    assert "set aside as checkpoint.damaged.pt" in note
    assert "weights_only" not in note
    assert keeper.resumed_at == ""
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.damaged.pt"]


@pytest.mark.parametrize(
    "pickled", [b"\x80\x02a.", b"\x80\x02cos\nsystem\n(S'true'\ntR.", b"\x80\x02]."]
)
def test_a_whole_archive_of_another_pickle_is_set_aside(tmp_path: Path, pickled: bytes) -> None:
    save_checkpoint(tmp_path, "k", {"a": torch.zeros(3)})
    with zipfile.ZipFile(tmp_path / "checkpoint.pt") as old:
        records = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(tmp_path / "checkpoint.pt", "w") as new:
        for name, data in records.items():
            new.writestr(zipfile.ZipInfo(name), pickled if name.endswith("data.pkl") else data)
    _rewrite_attributes(tmp_path / "checkpoint.pt")

    found = load_checkpoint(tmp_path, "k")

    assert found.state is None
    assert "checkpoint.pt is damaged" in found.notes[0]
    assert "weights_only" not in found.notes[0]


def _rewrite_attributes(path: Path) -> None:
    """Let an archive look as one that torch writes."""
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    while at >= 0:
        content[at + 38 : at + 42] = struct.pack("<I", 0)
        at = content.find(b"PK\x01\x02", at + 4)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"trained": [], "loop": {}},
        {"trained": 5, "loop": None},
        {"trained": [{"history": [], "model": {}}] * 3, "loop": {}},
    ],
    ids=str,
)
def test_a_whole_checkpoint_of_another_shape_leaves_the_training_as_it_was(
    tmp_path: Path, state: dict[str, Any]
) -> None:
    save_checkpoint(tmp_path, "k", state)
    plain, loop = small_loop(), small_loop()

    keeper = Keeper(loop, tmp_path, key="k", every_s=1000)

    assert "holds no such training" in keeper.notes[0]
    assert keeper.resumed_at == ""
    assert [r.val_loss for r in loop.epochs()] == [r.val_loss for r in plain.epochs()]


@pytest.mark.parametrize("meta", [{"version": 1}, {"version": torch.ones(2), "key": "k"}, {}])
def test_a_checkpoint_that_does_not_say_whose_it_is_holds_no_training(
    tmp_path: Path, meta: dict[str, Any]
) -> None:
    torch.save({**meta, "state": {}}, tmp_path / "checkpoint.pt")

    assert "it holds no training" in load_checkpoint(tmp_path, "k").notes[0]


@settings(max_examples=60)
@given(data=st.binary(max_size=200))
def test_no_bytes_at_all_get_through_the_checkpoints_door(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoint.pt").write_bytes(data)

    found = load_checkpoint(folder, "k")

    assert found.state is None
    assert len(found.notes) == 1


def _forged(saved: Path, folder: Path, **files: bytes) -> Path:
    """Return a copy of a model with other files, and a manifest that speaks for them."""
    shutil.copytree(saved, folder, dirs_exist_ok=True)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    for stem, content in files.items():
        (path,) = folder.glob(f"{stem}.*")
        path.write_bytes(content)
        facts = {"size_bytes": len(content), "sha256": digest_file(path)}
        manifest["files"][path.name] = facts
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    "manifest",
    [
        '{"files": {}}',
        '{"files": []}',
        '{"files": {"model.json": {}}}',
        "[]",
        "null",
        "[" * 100_000,
        '{"files": {"/etc/passwd": {"size_bytes": 1, "sha256": ""}}}',
    ],
)
def test_a_manifest_that_does_not_speak_for_the_model_is_not_believed(
    saved: Path, tmp_path: Path, manifest: str
) -> None:
    folder = _forged(saved, tmp_path / "model")
    (folder / "manifest.json").write_text(manifest)

    with pytest.raises(ModelError, match="holds no model"):
        load_model(folder)


def test_a_manifest_that_leaves_out_a_file_is_not_believed(saved: Path, tmp_path: Path) -> None:
    folder = _forged(saved, tmp_path / "model")
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    del manifest["files"]["model.safetensors"]
    (folder / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(ModelError, match="holds no model"):
        load_model(folder)


@pytest.mark.parametrize("stem", ["encoder", "categories", "model"])
@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"{}", b"[]", b"\xff", b"", b'{"version": 2}', b'{"version": [[]]}']
)
def test_a_forged_file_of_a_model_is_told_with_its_folder(
    saved: Path, tmp_path: Path, stem: str, content: bytes
) -> None:
    if stem == "model":
        folder = _forged(saved, tmp_path / "model")
        (folder / "model.json").write_bytes(content)
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        facts = {"size_bytes": len(content), "sha256": digest_file(folder / "model.json")}
        manifest["files"]["model.json"] = facts
        (folder / "manifest.json").write_text(json.dumps(manifest))
    else:
        folder = _forged(saved, tmp_path / "model", **{stem: content})

    with pytest.raises(ModelError) as refused:
        load_model(folder)

    assert str(folder) in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize(
    "change",
    [
        {"n_members": 10**9},
        {"n_members": 10**400},
        {"n_members": -1},
        {"d_embeddings": [10**12]},
        {"d_embeddings": [3, 3, 3]},
        {"target": None},
        {"model": {"kind": "embedding_mlp", "d_hidden": [10**9]}},
    ],
    ids=str,
)
def test_a_model_that_tells_of_more_than_its_weights_takes_no_memory(
    saved: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    folder = _forged(saved, tmp_path / "model")
    spec = json.loads((folder / "model.json").read_text("utf-8")) | change
    (folder / "model.json").write_text(json.dumps(spec))
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    size = (folder / "model.json").stat().st_size
    facts = {"size_bytes": size, "sha256": digest_file(folder / "model.json")}
    manifest["files"]["model.json"] = facts
    (folder / "manifest.json").write_text(json.dumps(manifest))

    with pytest.raises(ModelError):
        load_model(folder)


class _Evil:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


@pytest.mark.parametrize("name", ["color", "size"])
@pytest.mark.parametrize(
    "value",
    [10**400, -(10**400), "\ud800", "a\udfff", Decimal("1e999999"), _Evil(), {"k": 1}],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_nothing_can_be_made_of_is_told_with_its_column(
    model: FittedModel, name: str, value: object
) -> None:
    row = {"color": "red", "size": 1.0, name: value}

    for rows in (row, [row], [{"color": "red", "size": 1.0}, row]):
        told = _explained(model, rows)
        is_value = isinstance(value, int | Decimal)  # of its own, in some column
        assert repr(name) in told or (is_value and not told)


def _explained(model: FittedModel, rows: Any) -> str:
    """Return the error's text, or nothing where the model answers."""
    try:
        model.predict(rows)
    except EvergreenError as error:
        return str(error)
    return ""


def test_columns_of_several_levels_are_told_with_the_way_out(model: FittedModel) -> None:
    frame = pd.DataFrame({"color": ["red"], "size": [1.0]})
    frame.columns = pd.MultiIndex.from_product([frame.columns, ["a"]])

    with pytest.raises(UsageError, match="have 2 levels; give each one name"):
        model.predict(frame)


@pytest.mark.parametrize("extra", ["\ud800", 10**5000, ("a", "b"), None], ids=type)
def test_names_that_are_no_text_are_ignored_or_told(model: FittedModel, extra: object) -> None:
    rows: dict[Any, object] = {"color": ["red"], "size": [1.0], extra: [1]}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtraColumnsWarning)
        for given_rows in (rows, [dict.fromkeys(rows, 1)]):
            assert len(_explained(model, given_rows).encode()) < 1000


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary(max_size=5)
    | st.datetimes()
    | st.timedeltas()
    | st.decimals()
    | st.complex_numbers(),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=3,
)


@settings(max_examples=150)
@given(
    rows=st.lists(
        st.fixed_dictionaries({"color": _VALUES, "size": _VALUES}), min_size=1, max_size=3
    )
)
def test_whatever_the_rows_hold_predict_answers_or_explains(
    model: FittedModel, rows: list[dict[str, object]]
) -> None:
    assert len(_explained(model, rows).encode()) < 5000


@settings(max_examples=60)
@given(text=st.text(st.characters(codec="utf-8"), max_size=80) | st.binary(max_size=80))
def test_whatever_a_config_file_holds_is_a_config_or_a_config_error(
    text: str | bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("c") / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())

    with pytest.raises(ConfigError, match=r"x\.yaml"):
        load_config(path)
