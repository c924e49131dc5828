"""A fitted model: takes raw rows, checks them, gives labels and probabilities.

Saved as safetensors, JSON and parquet; nothing is ever pickled. A folder is believed only with
its manifest, and only in a version this code reads.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline_lib.config import Column, ModelSettings, Task
from pipeline_lib.data.contract.checker import conform, require_columns
from pipeline_lib.data.sources.mixed import array_by_value
from pipeline_lib.data.sources.tabular import Rows, no_table, tabular
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.encoding import (
    ClassTarget,
    Encoder,
    Labels,
    NumberTarget,
    Target,
    target_from_json,
    target_to_json,
)
from pipeline_lib.errors import ContractError, ModelError, Violation, door, examples
from pipeline_lib.models import EmbeddingMLP, build_model
from pipeline_lib.storage.json_files import Json, write_json
from pipeline_lib.storage.publishing import believed, publish
from pipeline_lib.training.batches import EVAL_BATCH_ROWS
from pipeline_lib.training.losses import probabilities

MODEL_VERSION = 2
_READABLE = (1, MODEL_VERSION)
_FILES = ("encoder.json", "categories.parquet", "model.json", "model.safetensors")


class ExtraColumnsWarning(UserWarning):
    """Rows hold columns that the model does not know; they are ignored."""


@dataclass(frozen=True)
class Predictions:
    """What the network says of rows, before it is put into words.

    Shape:
        values: class probabilities ``(n_rows, n_classes)``, or numbers ``(n_rows,)`` in the
        target's unit; unseen: values of each row that training never saw, ``(n_rows,)``.
    """

    target: Target
    values: npt.NDArray[np.float64]
    unseen: npt.NDArray[np.int32]

    def labels(self) -> Labels:
        """Return the most probable class of each row, in the type the target had in training."""
        assert isinstance(self.target, ClassTarget)
        return self.target.labels(self.values.argmax(axis=1))

    def to_frame(self) -> pd.DataFrame:
        """Return `prediction`, `probability_<class>` for each class, and `unseen`."""
        if isinstance(self.target, NumberTarget):
            return pd.DataFrame({"prediction": self.values, "unseen": self.unseen})
        columns: dict[str, npt.NDArray[Any]] = {"prediction": self.labels()}
        for number, name in enumerate(self.target.classes):
            columns[f"probability_{name}"] = self.values[:, number]
        return pd.DataFrame({**columns, "unseen": self.unseen})


@dataclass(frozen=True)
class FittedModel:
    """Networks with their encoder and target: everything that prediction needs.

    Several networks answer with the mean of their probabilities, or of their numbers.
    """

    name: str
    task: Task
    settings: ModelSettings
    encoder: Encoder
    target: Target
    networks: tuple[EmbeddingMLP, ...]

    def predict(self, rows: Rows) -> pd.DataFrame:
        """Predict raw rows.

        Args:
            rows: a pandas DataFrame, a pyarrow Table, a list of dicts, a dict of columns or a dict
                of single values (one row), with the feature columns; others are reported by an
                `ExtraColumnsWarning` and ignored. No rows give no predictions.

        Returns:
            One row per row, with the frame's index: `prediction`, a label in the type that the
            target had in training (int64, float64, bool or text); `probability_<class>`, not for
            a regression; and `unseen`, the number of values that training never saw.

        Raises:
            UsageError: `rows` has another form.
            MissingColumnError: a feature column is not there.
            ContractError: values that are not what their column is declared to hold.
            UnknownCategoryError: a category is unseen in a column with `on_unknown: error`.
        """
        with door(no_table):
            table = tabular(rows, columns=list(self.encoder.columns))
        frame = self.predictions(table).to_frame()
        if isinstance(table, pd.DataFrame):
            frame.index = table.index
        return frame

    def predictions(self, rows: Rows) -> Predictions:
        """Predict raw rows as arrays; arguments and errors as in `predict`."""
        with door(no_table):
            rows = tabular(rows, columns=list(self.encoder.columns))
            table, extra = self._conformed(rows), self._extra(rows)
            x_cat = self.encoder.encode_categories(table)
            x_num = self.encoder.encode_numbers(table)
            unseen = self.encoder.count_unseen(x_cat, table)
        if extra:
            text = f"{len(extra)} columns the model does not know are ignored: {examples(extra)}"
            warnings.warn(text, ExtraColumnsWarning, stacklevel=3)
        outputs = self._forward(x_cat, x_num)
        if isinstance(self.target, NumberTarget):
            return Predictions(self.target, self.target.decode(outputs[:, 0]), unseen)
        return Predictions(self.target, outputs.astype(np.float64), unseen)

    def _conformed(self, rows: pd.DataFrame | pa.Table) -> pa.Table:
        known = self.encoder.known
        return conform(
            _as_table(rows, self.encoder.columns, known),
            self.encoder.columns,
            source="the rows",
            zones=self.encoder.zones,
            known=known,
        )

    def save(self, folder: str | Path) -> None:
        """Write the model to a folder, replacing what stood there, whole or not at all.

        Raises:
            StorageError: the folder cannot be written.
        """
        with publish(Path(folder), {"kind": "evergreen model"}) as scratch:
            self.encoder.save(scratch)
            weights = nn.ModuleList(self.networks).state_dict()
            plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
            save_file(plain, scratch / "model.safetensors")
            write_json(scratch / "model.json", self._spec())

    def _extra(self, rows: pd.DataFrame | pa.Table) -> list[str]:
        names = rows.columns.astype(str) if isinstance(rows, pd.DataFrame) else rows.column_names
        known = {*self.encoder.columns, self.target.column}
        return [name for name in names if name not in known]

    @torch.no_grad()
    def _forward(
        self, x_cat: npt.NDArray[np.int32], x_num: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """Return probabilities, or outputs of a regression, for all rows."""
        device = next(self.networks[0].parameters()).device
        parts: list[npt.NDArray[np.float32]] = []
        for start in range(0, max(len(x_cat), 1), EVAL_BATCH_ROWS):
            rows = slice(start, start + EVAL_BATCH_ROWS)
            inputs = (
                torch.from_numpy(x_cat[rows]).to(device),
                torch.from_numpy(x_num[rows]).to(device),
            )
            outputs = [self._outputs(network, *inputs) for network in self.networks]
            mean = outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(dim=0)
            parts.append(mean.cpu().numpy())
        return np.concatenate(parts)

    def _outputs(self, network: nn.Module, x_cat: Tensor, x_num: Tensor) -> Tensor:
        logits = network.eval()(x_cat, x_num)
        return logits if self.task == "regression" else probabilities(logits.cpu().double())

    def _spec(self) -> dict[str, Json]:
        return {
            "version": MODEL_VERSION,
            "name": self.name,
            "task": self.task,
            "target": target_to_json(self.target),
            "model": self.settings.model_dump(mode="json"),
            "d_embeddings": list(self.networks[0].d_embeddings),
            "n_members": len(self.networks),
            "encoder": self.encoder.fingerprint(),
        }


def load_model(folder: str | Path) -> FittedModel:
    """Load what `FittedModel.save` wrote, onto the CPU.

    Raises:
        ModelError: files are missing, changed since they were written, or of another version.
    """
    folder = Path(folder)

    def refused(why: str) -> ModelError:
        return ModelError(f"{folder}: this code cannot read the model: {why}")

    with door(refused, ModelError):
        return _loaded(folder)


def _loaded(folder: Path) -> FittedModel:
    if believed(folder, holding=_FILES) is None:
        raise ModelError(f"{folder} holds no model, or its files are not those of its manifest")
    spec = cast("dict[str, Any]", json.loads((folder / "model.json").read_text("utf-8")))
    if spec.get("version") not in _READABLE:
        raise ModelError(
            f"{folder}/model.json has version {examples([spec.get('version')])}, "
            f"this code reads {_READABLE[0]} to {_READABLE[-1]}"
        )
    encoder = Encoder.load(folder)
    if spec["encoder"] != encoder.fingerprint():
        raise ModelError(f"{folder}: the weights belong to another encoder")
    return _built(folder, spec, encoder)


def _built(folder: Path, spec: Mapping[str, Any], encoder: Encoder) -> FittedModel:
    target = target_from_json(cast("dict[str, Any]", spec["target"]))
    settings = ModelSettings.model_validate(spec["model"])
    weights = load_file(folder / "model.safetensors")
    n_members = int(spec.get("n_members", 1))
    _check_size(weights, n_members, spec.get("d_embeddings"), encoder.cardinalities)
    networks = nn.ModuleList(
        build_model(
            settings,
            cardinalities=encoder.cardinalities,
            n_numeric=encoder.n_numeric,
            d_out=target.d_out,
            d_embeddings=cast("list[int] | None", spec.get("d_embeddings")),
        )
        for _ in range(n_members)
    )
    if spec["version"] == 1:  # of one network, whose names had no number before them
        weights = {f"0.{name}": value for name, value in weights.items()}
    networks.load_state_dict(weights)
    networks.eval()
    return FittedModel(
        str(spec["name"]),
        cast("Task", spec["task"]),
        settings,
        encoder,
        target,
        tuple(cast("EmbeddingMLP", network) for network in networks),
    )


def _check_size(
    weights: Mapping[str, Tensor],
    n_members: int,
    d_embeddings: "list[int] | None",
    cardinalities: Sequence[int],
) -> None:
    """Refuse networks that the weights cannot fill, before any memory is taken for them."""
    n_weights = sum(weight.numel() for weight in weights.values())
    rows = zip(d_embeddings or [], cardinalities, strict=False)
    n_embedded = sum(int(width) * cardinality for width, cardinality in rows)
    if not 1 <= n_members <= len(weights) or n_members * n_embedded > n_weights:
        raise ModelError(
            f"model.json tells of {n_members} networks with {n_embedded:,} weights of embeddings "
            f"each, model.safetensors holds {n_weights:,} weights in all"
        )


def _as_table(
    rows: pd.DataFrame | pa.Table, columns: Mapping[str, Column], known: Mapping[str, KnownWords]
) -> pa.Table:
    """Return the feature columns as Arrow; a column of mixed Python values is read by value."""
    if isinstance(rows, pa.Table):
        return rows
    present = [name for name in columns if name in rows.columns]
    require_columns(
        pa.table({name: [] for name in rows.columns.astype(str)}), list(columns), source="the rows"
    )
    arrays: list[pa.Array] = []
    for name in present:
        values = rows[name]
        if isinstance(values, pd.DataFrame):
            message = "stands twice in the rows"
            raise ContractError([Violation(name, "unique", len(rows), message)], source="the rows")
        arrays.append(array_by_value(name, values, columns[name], known=known.get(name)))
    return pa.table(arrays, names=present)
