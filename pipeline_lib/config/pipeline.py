"""The whole config of one dataset, and the few values a single run may override."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, PrivateAttr, field_validator, model_validator

from pipeline_lib.addresses import without_secrets
from pipeline_lib.config.columns import (
    MAX_COLUMNS,
    CategoryColumn,
    Column,
    EncodingSettings,
    HashColumn,
)
from pipeline_lib.config.data import DataSettings, Task
from pipeline_lib.config.schedules import SchedulerSettings
from pipeline_lib.config.settings import Settings
from pipeline_lib.config.splits import GroupSplit, HashSplit, PredefinedSplit, Split, TimeSplit
from pipeline_lib.config.training import (
    CrossEntropy,
    EmbeddingMLPSettings,
    ModelSettings,
    OptimizerSettings,
    TrainingSettings,
)
from pipeline_lib.config.validation import ValidationSettings
from pipeline_lib.errors import did_you_mean, examples
from pipeline_lib.home import NAME_PATTERN, project_of
from pipeline_lib.shown import hashed
from pipeline_lib.storage.digests import digest_json

Metric = Literal["accuracy", "macro_f1", "log_loss", "roc_auc", "rmse", "mae", "r2"]
LOWER_IS_BETTER: frozenset[Metric] = frozenset({"log_loss", "rmse", "mae"})
METRICS: dict[Task, tuple[Metric, ...]] = {
    "binary": ("macro_f1", "accuracy", "log_loss", "roc_auc"),
    "multiclass": ("macro_f1", "accuracy", "log_loss", "roc_auc"),
    "regression": ("rmse", "mae", "r2"),
}


class EvaluationSettings(Settings):
    """What counts on the test rows."""

    primary: Metric | None = Field(
        default=None,
        description="the metric decisions go by; without it macro_f1, for a regression rmse",
    )
    baselines: tuple[Literal["constant", "gradient_boosting"], ...] = Field(
        default=("constant", "gradient_boosting"),
        max_length=10,
        description="what the model is compared with; the constant one is needed to promote",
    )


class PromotionSettings(Settings):
    """What a model must reach before it may become champion."""

    floor: float | None = Field(
        default=None, description="worst primary test metric that a champion may have"
    )
    min_test_rows: int = Field(
        default=50, ge=1, description="rows; a champion is not replaced on fewer test rows"
    )
    max_standard_error: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="largest standard error of the difference to the champion on which it is "
        "replaced; of log_loss, rmse and mae a share of the champion's value",
    )


class TrackingSettings(Settings):
    """What MLflow is told."""

    tags: dict[str, str] = Field(default={}, max_length=100, description="own tags for each run")

    @field_validator("tags")
    @classmethod
    def _passwords_stay_outside(cls, tags: dict[str, str]) -> dict[str, str]:
        for name, value in tags.items():
            if without_secrets(value) != value:
                raise ValueError(f"{name[:60]!r} holds a password; every run would show it")
        return tags


def refuse_unknown_classes(weights: Mapping[str, float], known: Sequence[str]) -> None:
    """Refuse a weight of a class that does not exist.

    Raises:
        ValueError: names the first such class, and the nearest that exists.
    """
    there = set(known)
    for name in weights:
        if name not in there:
            listed = did_you_mean(name, known) or f"; the classes are {examples(known)}"
            raise ValueError(f"training.loss.class_weights: {name!r} is no class{listed}")


class PipelineConfig(Settings):
    """One dataset: its table, contract, split, encoding, network, training and promotion."""

    name: str = Field(
        pattern=f"^{NAME_PATTERN}$",
        description="of the dataset, its MLflow experiment and its registered model",
    )
    data: DataSettings = Field(description="the table and its target")
    columns: dict[str, Column] = Field(
        min_length=1, max_length=MAX_COLUMNS, description="the features, by column name"
    )
    validation: ValidationSettings = Field(
        default=ValidationSettings(), description="when rows are too poor to train on"
    )
    split: Split = Field(default=HashSplit(), description="who learns, who chooses, who judges")
    encoding: EncodingSettings = Field(
        default=EncodingSettings(), description="how words become codes"
    )
    model: ModelSettings = Field(default=EmbeddingMLPSettings(), description="the network")
    training: TrainingSettings = Field(default=TrainingSettings(), description="how it learns")
    evaluation: EvaluationSettings = Field(default=EvaluationSettings(), description="what counts")
    promotion: PromotionSettings = Field(
        default=PromotionSettings(), description="what a champion must reach"
    )
    tracking: TrackingSettings = Field(
        default=TrackingSettings(), description="what MLflow is told"
    )

    _root: Path = PrivateAttr(default=Path())
    _file: Path | None = PrivateAttr(default=None)
    _project: Path | None = PrivateAttr(default=None)

    @property
    def root(self) -> Path:
        """The folder that relative paths of the config start from; not part of the digest."""
        return self._root

    @property
    def path(self) -> str:
        """The config's file, relative to `root` where it lies below; empty without a file."""
        return self._relative_to(self._root.resolve())

    @property
    def project(self) -> Path:
        """The folder of the project that the config's file belongs to; `root` without a file."""
        return self._project or self._root

    @property
    def path_in_project(self) -> str:
        """The config's file, relative to `project`; empty without a file.

        Where no prefect.yaml marks the project, `root` of a config in `configs/` is that folder.
        """
        return self._relative_to(self.project)

    def _relative_to(self, root: Path) -> str:
        if self._file is None:
            return ""
        file = self._file.resolve()
        return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)

    def with_root(self, root: Path, *, file: Path | None = None) -> "PipelineConfig":
        """Return the same config, read from `file`, whose relative paths start from `root`."""
        copy = self.model_copy()
        copy._root, copy._file = root, file
        copy._project = project_of(file) if file else None
        return copy

    @property
    def categories(self) -> dict[str, CategoryColumn | HashColumn]:
        """The columns of words, in the config's order."""
        return {n: c for n, c in self.columns.items() if isinstance(c, CategoryColumn | HashColumn)}

    @property
    def primary(self) -> Metric:
        """The metric that decisions go by."""
        return self.evaluation.primary or METRICS[self.data.task][0]

    def without_private_words(self) -> "PipelineConfig":
        """Return the config as others may see it: `allowed` words of private columns as hashes."""
        columns: dict[str, Column] = {}
        for name, column in self.columns.items():
            allowed = column.allowed if isinstance(column, CategoryColumn) else None
            if allowed and column.hides_values:
                words = tuple(f"{hashed(word)}" for word in allowed)
                columns[name] = column.model_copy(update={"allowed": words})
            else:
                columns[name] = column
        return self.model_copy(update={"columns": columns})

    def digest(self) -> str:
        """Return the sha256 of all values, defaults included; the order of columns counts."""
        values = self.model_dump(mode="json")
        return digest_json({**values, "columns": [list(c) for c in values["columns"].items()]})

    @field_validator("split", mode="before")
    @classmethod
    def _a_split_is_by_hash_unless_it_says_otherwise(cls, value: object) -> object:
        return {"kind": "hash", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _target_is_no_feature(self) -> "PipelineConfig":
        if self.data.target in self.columns:
            raise ValueError(f"columns: {self.data.target!r} is the target; leave it out")
        return self

    @model_validator(mode="after")
    def _private_columns_are_there(self) -> "PipelineConfig":
        split = self.split
        used = [*self.data.key, *([self.data.time] if self.data.time else [])]
        used += split.columns if isinstance(split, GroupSplit) else ()
        used += [split.column] if isinstance(split, PredefinedSplit) else []
        for name in self.data.private:
            if name in self.columns:
                raise ValueError(f"data.private: {name!r} is a feature; set its own `private`")
            if name not in used:
                raise ValueError(
                    f"data.private: {name!r} is no column of the key, the time or the split"
                    f"{did_you_mean(name, used)}"
                )
        return self

    @model_validator(mode="after")
    def _time_is_there_to_split_by(self) -> "PipelineConfig":
        if isinstance(self.split, TimeSplit) and self.data.time is None:
            raise ValueError("data.time: name the column that `split` of kind `time` goes by")
        return self

    @model_validator(mode="after")
    def _loss_fits_the_task(self) -> "PipelineConfig":
        loss, task = self.training.loss, self.data.task
        if loss is None:
            return self
        if isinstance(loss, CrossEntropy) is (task == "regression"):
            fitting = "mse or huber" if task == "regression" else "cross_entropy"
            raise ValueError(f"training.loss: {loss.kind} is not for a {task} task; take {fitting}")
        known = self.data.classes
        if isinstance(loss, CrossEntropy) and isinstance(loss.class_weights, dict) and known:
            refuse_unknown_classes(loss.class_weights, known)
        return self

    @model_validator(mode="after")
    def _primary_fits_the_task(self) -> "PipelineConfig":
        known = METRICS[self.data.task]
        if self.primary not in known:
            raise ValueError(
                f"evaluation.primary: {self.primary} is not a metric of a {self.data.task} task; "
                f"choose one of {', '.join(known)}"
            )
        return self


def _flat_choices(schema: dict[str, Any]) -> None:
    """Lift the kinds of a union beside null: the run form shows a tab per kind, not one blank."""
    for field in schema["properties"].values():
        choices: list[dict[str, Any]] = field.get("anyOf", [])
        if any("oneOf" in choice for choice in choices):
            field["anyOf"] = [kind for c in choices for kind in c.get("oneOf", [c])]


class Overrides(Settings):
    """Values of the config that one run sets differently; empty ones stay as they are."""

    model_config = ConfigDict(json_schema_extra=_flat_choices)

    epochs: int | None = Field(
        default=None, ge=1, le=100_000, description="passes over the training rows"
    )
    model: ModelSettings | None = Field(default=None, description="the network")
    optimizer: OptimizerSettings | None = Field(default=None, description="who moves the weights")
    scheduler: SchedulerSettings | None = Field(
        default=None, description="how the learning rate changes"
    )
    seed: int | None = Field(
        default=None, ge=0, le=2**31 - 1, description="of weights, order and dropout"
    )
