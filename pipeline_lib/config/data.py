"""The table and the target."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from pipeline_lib.config.mistakes import Mistake, rule, wrong
from pipeline_lib.config.settings import Settings
from pipeline_lib.config.sources import Source
from pipeline_lib.config.times import format_problem
from pipeline_lib.wording import examples, repeated

Task = Literal["binary", "multiclass", "regression"]


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
    severity: Literal["stop", "quarantine"] = Field(
        default="stop",
        description="what happens to a row whose target is missing, or not one of `classes`: "
        "`stop` ends the run, `quarantine` sets the row aside",
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
        # A config keeps the digest that it had before columns could be private.
        values: dict[str, Any] = handler(self)
        if not self.private:
            values.pop("private", None)
        return values

    @rule
    def _the_target_is_shown(self) -> Iterator[Mistake]:
        if self.target in self.private:
            yield wrong(
                f"{self.target!r} is the target, whose classes every report shows; let the source "
                "give them other names",
                "private",
            )

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
