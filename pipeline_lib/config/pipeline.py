"""The whole config of one dataset, and the few values a single run may override."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import (
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from pipeline_lib.addresses import without_secrets
from pipeline_lib.config.baselines import (
    BASELINES_OF_EARLIER_DIGESTS,
    DEFAULT_BASELINES,
    ReadBaseline,
)
from pipeline_lib.config.columns import (
    MAX_COLUMNS,
    CategoryColumn,
    Column,
    DatetimeColumn,
    EncodingSettings,
    HashColumn,
)
from pipeline_lib.config.data import DataSettings
from pipeline_lib.config.execution import ExecutionSettings
from pipeline_lib.config.metrics import ERROR_METRICS, METRICS, Metric, primary_metric
from pipeline_lib.config.mistakes import Keys, Mistake, rule, wrong
from pipeline_lib.config.model_rules import missing_libraries, unheeded_smoothing
from pipeline_lib.config.models import AutoSettings, EmbeddingMLPSettings, ModelSettings
from pipeline_lib.config.recipes import CHOSEN
from pipeline_lib.config.schedules import SchedulerSettings
from pipeline_lib.config.settings import Settings
from pipeline_lib.config.splits import GroupSplit, HashSplit, PredefinedSplit, Split, TimeSplit
from pipeline_lib.config.training import (
    CrossEntropy,
    OptimizerSettings,
    TrainingSettings,
)
from pipeline_lib.config.validation import ValidationSettings
from pipeline_lib.home import NAME_PATTERN, project_of
from pipeline_lib.shown import hashed
from pipeline_lib.storage.digests import digest_json
from pipeline_lib.wording import did_you_mean, examples


class EvaluationSettings(Settings):
    """How the model is evaluated on the test rows."""

    primary: Metric | None = Field(
        default=None,
        description=f"the metric that decides; null: {primary_metric('binary')}, for a regression "
        f"{primary_metric('regression')}",
    )
    baselines: tuple[ReadBaseline, ...] = Field(
        default=DEFAULT_BASELINES,
        max_length=10,
        description="baselines to compare with; promotion needs the constant one. `linear` and "
        "`boosting` are models of these kinds with their default settings",
    )


class PromotionSettings(Settings):
    """What a model must reach to become champion."""

    floor: float | None = Field(
        default=None, description="worst acceptable primary test metric; null: any"
    )
    min_test_rows: int = Field(
        default=50, ge=1, description="fewest test rows on which a champion is replaced"
    )
    max_standard_error: float = Field(
        default=0.05,
        gt=0,
        le=1,
        description="largest standard error of the difference to the champion with which it is "
        f"replaced; for {', '.join(ERROR_METRICS)} relative to the champion's value",
    )


class TrackingSettings(Settings):
    """What is logged to MLflow."""

    tags: dict[str, str] = Field(default={}, max_length=100, description="tags of each MLflow run")

    @rule
    def _passwords_stay_outside(self) -> Iterator[Mistake]:
        for name, value in self.tags.items():
            if without_secrets(value) != value:
                said = f"{name[:60]!r} holds a password; every run would show it"
                yield wrong(said, ("tags", name))


def refuse_unknown_classes(weights: Mapping[str, float], known: Sequence[str]) -> None:
    """Refuse a weight of a class that does not exist.

    Raises:
        ValueError: names the first such class, and the nearest that exists.
    """
    for mistake in _unknown_classes(weights, known):
        raise ValueError(f"{'.'.join(map(str, mistake.keys[0][:-1]))}: {mistake.rule}")


def _unknown_classes(weights: Mapping[str, float], known: Sequence[str]) -> Iterator[Mistake]:
    there, at = set(known), ("training", "loss", "class_weights")
    for name in weights:
        if name not in there:
            listed = did_you_mean(name, known) or f"; the classes are {examples(known)}"
            yield wrong(f"{name[:60]!r} is not a class{listed}", (*at, name))


def _hash(word: str) -> str:
    return f"{hashed(word)}"


class PipelineConfig(Settings):
    """One dataset: its table, contract, split, encoding, model, training and promotion."""

    name: str = Field(
        pattern=f"^{NAME_PATTERN}$",
        description="name of the dataset, its MLflow experiment and its registered model",
    )
    data: DataSettings = Field(description="the table and the target")
    columns: dict[str, Column] = Field(
        min_length=1, max_length=MAX_COLUMNS, description="the features, by column name"
    )
    validation: ValidationSettings = Field(
        default=ValidationSettings(), description="checks of the data before training"
    )
    split: Split = Field(
        default=HashSplit(), description="how rows are assigned to train, val and test"
    )
    encoding: EncodingSettings = Field(
        default=EncodingSettings(), description="how categories become codes"
    )
    model: ModelSettings = Field(default=EmbeddingMLPSettings(), description="the model")
    training: TrainingSettings = Field(
        default=TrainingSettings(), description="how the model is trained"
    )
    evaluation: EvaluationSettings = Field(
        default=EvaluationSettings(), description="how the model is evaluated"
    )
    promotion: PromotionSettings = Field(
        default=PromotionSettings(), description="what a model must reach to become champion"
    )
    tracking: TrackingSettings = Field(
        default=TrackingSettings(), description="what is logged to MLflow"
    )
    execution: ExecutionSettings = Field(
        default=ExecutionSettings(), description="retries and time-outs of a run's stages"
    )

    _root: Path = PrivateAttr(default=Path())
    _file: Path | None = PrivateAttr(default=None)
    _inherited: tuple[tuple[str, ...], ...] = PrivateAttr(default=())
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
    def inherited(self) -> tuple[tuple[str, ...], ...]:
        """The keys whose values are from `configs/defaults.yaml` of the project."""
        return self._inherited

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

    def with_root(
        self,
        root: Path,
        *,
        file: Path | None = None,
        inherited: tuple[tuple[str, ...], ...] = (),
    ) -> "PipelineConfig":
        """Return the same config, read from `file`, whose relative paths start from `root`.

        `inherited` are the keys whose values are from the project's shared settings.
        """
        copy = self.model_copy()
        copy._root, copy._file, copy._inherited = root, file, inherited
        copy._project = project_of(file) if file else None
        return copy

    @property
    def categories(self) -> dict[str, CategoryColumn | HashColumn]:
        """The columns of words, in the config's order."""
        return {n: c for n, c in self.columns.items() if isinstance(c, CategoryColumn | HashColumn)}

    @property
    def primary(self) -> Metric:
        """The metric that decisions go by."""
        return self.evaluation.primary or primary_metric(self.data.task)

    def without_private_words(self) -> "PipelineConfig":
        """Return the config as others may see it: listed words of private columns as hashes."""
        columns: dict[str, Column] = {}
        for name, column in self.columns.items():
            columns[name] = column
            if isinstance(column, CategoryColumn) and column.hides_values:
                listed = {"allowed": column.allowed, "order": column.ranked}
                hidden = {k: tuple(map(_hash, words)) for k, words in listed.items() if words}
                columns[name] = column.model_copy(update=hidden)
        return self.model_copy(update={"columns": columns})

    def digest(self) -> str:
        """Return the sha256 of all values, defaults included; the order of columns counts.

        `execution` is left out: how often a stage is tried changes no result.
        """
        values = self.model_dump(mode="json", exclude={"execution"})
        if self.evaluation.baselines == DEFAULT_BASELINES:
            values["evaluation"]["baselines"] = list(BASELINES_OF_EARLIER_DIGESTS)
        return digest_json({**values, "columns": [list(c) for c in values["columns"].items()]})

    @model_serializer(mode="wrap")
    def _without_what_is_chosen(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Of `training` what `auto` chooses is no value of the config: it depends on the rows.
        values = handler(self)
        if isinstance(self.model, AutoSettings) and isinstance(values.get("training"), dict):
            for name in CHOSEN - self.training.model_fields_set:
                values["training"].pop(name, None)
        return values

    @field_validator("split", mode="before")
    @classmethod
    def _a_split_is_by_hash_unless_it_says_otherwise(cls, value: object) -> object:
        return {"kind": "hash", **value} if isinstance(value, dict) else value

    @rule
    def _target_is_no_feature(self) -> Iterator[Mistake]:
        target = self.data.target
        if target in self.columns:
            said = f"{target!r} is the target and a feature; leave it out of `columns`"
            yield wrong(said, ("columns", target), "data.target")

    @rule
    def _weight_is_no_other_column(self) -> Iterator[Mistake]:
        weight = self.data.weight
        if weight in self.columns:
            said = f"{weight!r} is `data.weight` and a feature; leave it out of `columns`"
            yield wrong(said, ("columns", weight), "data.weight")
        if weight in self._split_columns:
            said = f"{weight!r} is a column of the split, which holds words, not weights"
            yield wrong(said, "data.weight", "split")

    @property
    def _split_columns(self) -> tuple[str, ...]:
        split = self.split
        if isinstance(split, GroupSplit):
            return split.columns
        return (split.column,) if isinstance(split, PredefinedSplit) else ()

    @rule
    def _private_columns_are_there(self) -> Iterator[Mistake]:
        time = [self.data.time] if self.data.time else []
        # The rules of `data` speak of the weight.
        used = [*self.data.key, *time, *self._split_columns]
        for number, name in enumerate(self.data.private):
            at: Keys = ("data", "private", number)
            if name in self.columns:
                yield wrong(f"{name!r} is a feature; set its own `private`", at)
            elif name not in [*used, self.data.weight]:
                near = did_you_mean(name, used)
                yield wrong(f"{name!r} is not a column of the key, the time or the split{near}", at)

    @rule
    def _time_is_there_to_split_by(self) -> Iterator[Mistake]:
        if isinstance(self.split, TimeSplit) and self.data.time is None:
            said = "a split by time needs `data.time`, the column with the time of each row"
            yield wrong(said, "split.kind")

    @rule
    def _time_is_a_datetime(self) -> Iterator[Mistake]:
        time = self.data.time
        feature = self.columns.get(time) if time is not None else None
        if feature is not None and not isinstance(feature, DatetimeColumn):
            said = f"is `data.time`, so its kind is datetime, not {feature.kind}"
            yield wrong(said, ("columns", str(time), "kind"))

    @rule
    def _loss_fits_the_task(self) -> Iterator[Mistake]:
        loss, task = self.training.loss, self.data.task
        if loss is not None and isinstance(loss, CrossEntropy) is (task == "regression"):
            fitting = "mse or huber" if task == "regression" else "cross_entropy"
            said = f"{loss.kind} is not for a {task} task; take {fitting}"
            yield wrong(said, "training.loss.kind")

    @rule
    def _the_model_heeds_the_loss(self) -> Iterator[Mistake]:
        yield from unheeded_smoothing(self.model, self.training.loss)

    @rule
    def _libraries_are_installed(self) -> Iterator[Mistake]:
        yield from missing_libraries(self.model)

    @rule
    def _weights_are_of_classes(self) -> Iterator[Mistake]:
        loss, known = self.training.loss, self.data.classes
        if isinstance(loss, CrossEntropy) and isinstance(loss.class_weights, dict) and known:
            yield from _unknown_classes(loss.class_weights, known)

    @rule
    def _primary_fits_the_task(self) -> Iterator[Mistake]:
        known = METRICS[self.data.task]
        if self.primary not in known:
            said = f"{self.primary} is not a metric of a {self.data.task} task; choose one of "
            yield wrong(said + ", ".join(known), "evaluation.primary")


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
        default=None, ge=1, le=100_000, description="number of passes over the training rows"
    )
    model: ModelSettings | None = Field(default=None, description="the model")
    optimizer: OptimizerSettings | None = Field(default=None, description="the optimizer")
    scheduler: SchedulerSettings | None = Field(
        default=None, description="the learning rate schedule"
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=2**31 - 1,
        description="random seed of weights, row order and dropout",
    )
