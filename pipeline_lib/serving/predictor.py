"""A fitted model: takes raw rows, checks them, gives labels and probabilities.

Saved as JSON, parquet and the files of its kind; nothing is ever pickled. A folder is believed
only with its manifest, and only in a version that this code reads.
"""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from pipeline_lib.config.columns import Column
from pipeline_lib.config.data import Task
from pipeline_lib.config.models import KindSettings
from pipeline_lib.data.contract.column_clocks import times_of_other_clock
from pipeline_lib.data.contract.declared import read_conforming, require_columns
from pipeline_lib.data.sources.mixed import array_by_value
from pipeline_lib.data.sources.tabular import TableLike, no_table, tabular
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
from pipeline_lib.errors import ContractError, ModelError, Violation, door
from pipeline_lib.models import Dimensions, Kind, Model, Network, Networks, model_kind
from pipeline_lib.storage.json_files import Json, write_json
from pipeline_lib.storage.publishing import believed, publish
from pipeline_lib.training.batches import EVAL_BATCH_ROWS
from pipeline_lib.wording import examples

MODEL_VERSION = 2
# Of a target on the log scale: earlier releases would take its logarithms for numbers.
_LOG_VERSION = 3
_READABLE = (1, MODEL_VERSION, _LOG_VERSION)
_FILES = ("encoder.json", "categories.parquet", "model.json")
_SETTINGS: TypeAdapter[KindSettings] = TypeAdapter(KindSettings)


class ExtraColumnsWarning(UserWarning):
    """TableLike hold columns that the model does not know; they are ignored."""


class TimeZoneWarning(UserWarning):
    """Times have a zone where none is known of those of the training."""


@dataclass(frozen=True)
class Predictions:
    """What a model says of rows, as arrays; `notes` are what a person should know of the rows.

    Shape:
        values: class probabilities ``(n_rows, n_classes)``, or numbers ``(n_rows,)`` in the
        target's unit; unseen: values of each row that training never saw, ``(n_rows,)``.
    """

    target: Target
    values: npt.NDArray[np.float64]
    unseen: npt.NDArray[np.int32]
    notes: tuple[str, ...] = ()

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
    """A model of any kind with its encoder and target: everything that prediction needs."""

    name: str
    task: Task
    kind: Kind
    encoder: Encoder
    target: Target
    model: Model

    @property
    def networks(self) -> tuple[Network, ...]:
        """The members of a model that is made of networks; others have none."""
        return self.model.members if isinstance(self.model, Networks) else ()

    def predict(self, rows: TableLike) -> pd.DataFrame:
        """Predict raw rows.

        Args:
            rows: a pandas DataFrame, a pyarrow Table, a list of dicts, a dict of columns or a dict
                of single values (one row), with the feature columns; others are reported by an
                `ExtraColumnsWarning` and ignored. No rows give no predictions. Times that have a
                zone where none is known of those of the training are reported by a
                `TimeZoneWarning`.

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
        predictions = self.predictions(table)
        for note in predictions.notes:
            warnings.warn(note, TimeZoneWarning, stacklevel=2)
        frame = predictions.to_frame()
        if isinstance(table, pd.DataFrame):
            frame.index = table.index
        return frame

    def predictions(self, rows: TableLike) -> Predictions:
        """Predict raw rows as arrays; arguments and errors as in `predict`."""
        with door(no_table):
            rows = tabular(rows, columns=list(self.encoder.columns))
            (table, notes), extra = self._conformed(rows), self._extra(rows)
            x_cat = self.encoder.encode_categories(table)
            x_num = self.encoder.encode_numbers(table)
            unseen = self.encoder.count_unseen(x_cat, table)
        if extra:
            text = f"{len(extra)} columns the model does not know are ignored: {examples(extra)}"
            warnings.warn(text, ExtraColumnsWarning, stacklevel=3)
        scores = self._scores(x_cat, x_num)
        if isinstance(self.target, NumberTarget):
            return Predictions(self.target, self.target.decode(scores[:, 0]), unseen, notes)
        return Predictions(self.target, scores, unseen, notes)

    def _conformed(self, rows: pd.DataFrame | pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
        """Return the feature columns with their types, and what a person should know of them."""
        known = self.encoder.known
        read = read_conforming(
            _as_table(rows, self.encoder.columns, known),
            self.encoder.columns,
            source="the rows",
            zones=self.encoder.zones,
            known=known,
        )
        notes = tuple(times_of_other_clock(read, self.encoder.clockless))
        return pa.table({name: column.values for name, column in read.items()}), notes

    def save(self, folder: str | Path) -> None:
        """Write the model to a folder, replacing what stood there, whole or not at all.

        Raises:
            StorageError: the folder cannot be written.
        """
        with publish(Path(folder), {"kind": "evergreen model"}) as scratch:
            self.encoder.save(scratch)
            write_json(scratch / "model.json", self._spec(self.model.save(scratch)))

    def _extra(self, rows: pd.DataFrame | pa.Table) -> list[str]:
        names = rows.columns.astype(str) if isinstance(rows, pd.DataFrame) else rows.column_names
        known = {*self.encoder.columns, self.target.column}
        return [name for name in names if name not in known]

    def _scores(
        self, x_cat: npt.NDArray[np.int32], x_num: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """Return the model's scores of all rows, computed some at a time."""
        starts = range(0, max(len(x_cat), 1), EVAL_BATCH_ROWS)
        slices = [slice(start, start + EVAL_BATCH_ROWS) for start in starts]
        return np.concatenate([self.model.scores(x_cat[rows], x_num[rows]) for rows in slices])

    def _spec(self, of_kind: Mapping[str, Json]) -> dict[str, Json]:
        return {
            "version": MODEL_VERSION if not _is_log(self.target) else _LOG_VERSION,
            "name": self.name,
            "task": self.task,
            "target": target_to_json(self.target),
            "model": self.kind.settings.model_dump(mode="json"),
            **of_kind,
            "encoder": self.encoder.fingerprint(),
        }


def _is_log(target: Target) -> bool:
    return isinstance(target, NumberTarget) and target.log is not None


def load_model(folder: str | Path, *, kind: Kind | None = None) -> FittedModel:
    """Load what `FittedModel.save` wrote, onto the CPU.

    Args:
        folder: the model's.
        kind: reads the model's own files; without it the kind that model.json names.

    Raises:
        ModelError: files are missing, changed since they were written, or of another version.
    """
    folder = Path(folder)

    def refused(why: str) -> ModelError:
        return ModelError(f"{folder}: this code cannot read the model: {why}")

    with door(refused, ModelError):
        return _loaded(folder, kind)


def _loaded(folder: Path, kind: Kind | None) -> FittedModel:
    manifest = believed(folder, holding=_FILES)
    if manifest is None:
        raise ModelError(f"{folder} holds no model, or its files are not those of its manifest")
    spec = cast("dict[str, Any]", json.loads((folder / "model.json").read_text("utf-8")))
    if spec.get("version") not in _READABLE:
        raise ModelError(
            f"{folder}/model.json has version {examples([spec.get('version')])}, "
            f"this code reads {_READABLE[0]} to {_READABLE[-1]}"
        )
    kind = kind or model_kind(_settings_of(spec["model"]))
    listed = manifest["files"]
    files = kind.files_of(spec)
    if missing := [n for n in files if not isinstance(listed, dict) or n not in listed]:
        raise ModelError(
            f"{folder} holds no model of kind {kind.name}: {examples(missing)} is gone"
        )
    encoder = Encoder.load(folder)
    if spec["encoder"] != encoder.fingerprint():
        raise ModelError(f"{folder}: the weights belong to another encoder")
    target = target_from_json(cast("dict[str, Any]", spec["target"]))
    model = kind.load(folder, spec, Dimensions.of(encoder, target))
    return FittedModel(str(spec["name"]), cast("Task", spec["task"]), kind, encoder, target, model)


def _settings_of(saved: object) -> KindSettings:
    try:
        return _SETTINGS.validate_python(saved)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = " ".join(str(part) for part in first["loc"])
        raise ValueError(f"model settings {place} {first['msg']}") from None


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
