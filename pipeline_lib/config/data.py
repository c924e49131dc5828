"""The table and the target."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from pipeline_lib.config.mistakes import Mistake, rule, wrong
from pipeline_lib.config.settings import Settings, without_defaults
from pipeline_lib.config.sources import Source
from pipeline_lib.config.times import format_problem
from pipeline_lib.wording import examples, repeated

Task = Literal["binary", "multiclass", "regression"]
TargetScale = Literal["linear", "log", "auto"]


class DataSettings(Settings):
    """The table and the target."""

    source: Source = Field(description="where rows are read from")
    target: str = Field(min_length=1, description="the column to predict")
    task: Task = Field(description="the kind of prediction")
    classes: tuple[str, ...] | None = Field(
        default=None,
        min_length=2,
        max_length=10_000,
        description="the classes of the target, in the order of reports; of two, the last is "
        "the positive class. Default: those of the rows, sorted",
    )
    target_scale: TargetScale = Field(
        default="linear",
        description="scale on which a number is learned: `linear`, `log` (of its natural "
        "logarithm; all must be above 0, and predictions stay within the training rows' range) or "
        "`auto`, the one with which trees have the lower RMSE on the validation rows. Metrics are "
        "in the target's own unit on each",
    )
    severity: Literal["stop", "quarantine"] = Field(
        default="stop",
        description="what happens to a row whose target is missing, or not one of `classes`, or "
        "whose weight cannot be used: `stop` ends the run, `quarantine` sets the row aside",
    )
    weight: str | None = Field(
        default=None,
        min_length=1,
        description="column with the weight of each row, a number of at least 0, in the loss, the "
        "metrics, the baselines and the promotion: a row of weight 2 counts as two rows, one of "
        "weight 0 is predicted and counts nowhere. Only ratios of weights matter. Null: all 1",
    )
    key: tuple[str, ...] = Field(
        default=(), description="columns that uniquely identify a row; the split hashes them"
    )
    time: str | None = Field(default=None, description="column with the time of each row")
    time_format: str | None = Field(
        default=None,
        max_length=200,
        min_length=1,
        description="strptime format of `time`, such as %d.%m.%Y; null: ISO 8601",
    )

    private: tuple[str, ...] = Field(
        default=(),
        description="columns that are not features, such as those of `key`, with personal data; "
        "as `columns.<name>.private`",
    )

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A config keeps the digest that it had before columns could be private or weights, and
        # before there were scales.
        return without_defaults(self, handler(self), "private", "weight", "target_scale")

    @rule
    def _the_target_is_shown(self) -> Iterator[Mistake]:
        if self.target in self.private:
            yield wrong(
                f"{self.target!r} is the target, whose classes every report shows; let the source "
                "give them other names",
                "private",
            )

    @rule
    def _weights_are_shown(self) -> Iterator[Mistake]:
        if self.weight is not None and self.weight in self.private:
            yield wrong(
                f"{self.weight!r} is the weight, which stands beside each kept prediction; let the "
                "source give other numbers",
                "private",
            )

    @rule
    def _the_weight_is_a_column_of_its_own(self) -> Iterator[Mistake]:
        if self.weight is None:
            return
        if self.weight == self.target:
            yield wrong(f"{self.weight!r} is the target; a weight is another column", "weight")
        if self.weight in self.key:
            yield wrong(f"{self.weight!r} is a column of `key`, which holds words", "weight")
        if self.weight == self.time:
            yield wrong(f"{self.weight!r} is `time`, and a time is not a number", "weight")

    @rule
    def _only_numbers_have_a_scale(self) -> Iterator[Mistake]:
        if self.task != "regression" and self.target_scale != "linear":
            said = f"{self.target_scale} is for a regression; the classes of a {self.task} task "
            yield wrong(said + "have no scale", "target_scale")

    @rule
    def _classes_fit_the_task(self) -> Iterator[Mistake]:
        if self.classes is None:
            return
        if self.task == "regression":
            yield wrong("a regression has no classes", "classes")
        if twice := repeated(self.classes):
            yield wrong(f"lists {examples(twice)} twice", "classes")
        elif self.task == "binary" and len(self.classes) != 2:
            yield wrong(f"a binary task has 2 classes, not {len(self.classes)}", "classes")

    @rule
    def _the_format_can_be_read(self) -> Iterator[Mistake]:
        if self.time_format is None:
            return
        if problem := format_problem(self.time_format):
            yield wrong(problem, "time_format")
        if self.time is None:
            yield wrong("needs `data.time`, the column with the time of each row", "time_format")
