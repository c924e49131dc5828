"""The table and what is to be predicted."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline_lib.config.settings import Settings
from pipeline_lib.config.sources import Source

Task = Literal["binary", "multiclass", "regression"]


class DataSettings(Settings):
    """The table and what is to be predicted."""

    source: Source = Field(description="where the rows are read from")
    target: str = Field(min_length=1, description="name of the column to predict")
    task: Task = Field(description="what kind of prediction it is")
    classes: tuple[str, ...] | None = Field(
        default=None,
        min_length=2,
        max_length=10_000,
        description="the target's classes in the order of reports; of two, the last is the "
        "positive one. Without it: those of the rows, sorted",
    )
    severity: Literal["stop", "quarantine"] = Field(
        default="stop",
        description="what a row does whose target is missing, or none of `classes`: stop the "
        "night, or go into quarantine",
    )
    key: tuple[str, ...] = Field(
        default=(), description="columns that name a row, each value once; the split goes by them"
    )
    time: str | None = Field(default=None, description="column that says when a row came to be")
    time_format: str | None = Field(
        default=None,
        max_length=200,
        description="of `time`, as strptime has it; without it ISO 8601",
    )

    @model_validator(mode="after")
    def _classes_fit_the_task(self) -> "DataSettings":
        if self.classes is None:
            return self
        if self.task == "regression":
            raise ValueError("`classes` has no meaning for a regression")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("`classes` names one class twice")
        if self.task == "binary" and len(self.classes) != 2:
            raise ValueError(f"a binary task has 2 classes, not {len(self.classes)}")
        return self

    @model_validator(mode="after")
    def _a_format_needs_a_column(self) -> "DataSettings":
        if self.time_format is not None and self.time is None:
            raise ValueError("`time_format` without `time` means nothing")
        return self
