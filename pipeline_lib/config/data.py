"""Where the rows come from, what their columns must look like, and who lands in which split."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline_lib.config.settings import Settings

Task = Literal["binary", "multiclass", "regression"]


class BuiltinTable(Settings):
    """A table that Evergreen carries itself."""

    kind: Literal["builtin"] = "builtin"
    table: Literal["car_evaluation"] = Field(description="which one")


class CsvFile(Settings):
    """A CSV file. Every field is read as text; the contract's columns give the types."""

    kind: Literal["csv"] = "csv"
    path: str = Field(min_length=1, description="the file, relative to the project root")
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="between fields")
    encoding: str = Field(default="utf-8", min_length=1, description="name of the text encoding")
    null_values: tuple[str, ...] = Field(
        default=("",),
        description="words that mean that nothing is there; with `trim` quoted ones too",
    )
    trim: bool = Field(
        default=False, description="drop blanks around column names and values of text"
    )


class ParquetFile(Settings):
    """A Parquet file."""

    kind: Literal["parquet"] = "parquet"
    path: str = Field(min_length=1, description="the file, relative to the project root")


Source = Annotated[BuiltinTable | CsvFile | ParquetFile, Field(discriminator="kind")]


class DataSettings(Settings):
    """The table and what is to be predicted."""

    source: Source = Field(description="where the rows are read from")
    target: str = Field(min_length=1, description="name of the column to predict")
    task: Task = Field(description="what kind of prediction it is")
    classes: tuple[str, ...] | None = Field(
        default=None,
        min_length=2,
        description="the target's classes in the order of reports; of two, the last is the "
        "positive one. Without it: those of the rows, sorted",
    )
    key: tuple[str, ...] = Field(
        default=(), description="columns that name a row; the split goes by them"
    )
    time: str | None = Field(
        default=None, description="column that says when a row came to be; it has to be there"
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


class CategoryColumn(Settings):
    """A column of words. Whole numbers and booleans count as their text."""

    kind: Literal["category"] = "category"
    nullable: bool = Field(default=False, description="whether rows without a value are fine")
    allowed: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="the only words there may be"
    )
    on_unknown: Literal["bucket", "error"] = Field(
        default="bucket",
        description="what a category unseen in training does at prediction: share code 0, or stop",
    )


class NumberColumn(Settings):
    """A column of numbers, standardized with the training rows' mean and deviation."""

    kind: Literal["number"] = "number"
    nullable: bool = Field(default=False, description="whether rows without a value are fine")
    minimum: float | None = Field(default=None, description="the least value there may be")
    maximum: float | None = Field(default=None, description="the greatest value there may be")

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> "NumberColumn":
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self


Column = Annotated[CategoryColumn | NumberColumn, Field(discriminator="kind")]


class ValidationSettings(Settings):
    """When rows are too poor to train on."""

    min_rows: int = Field(default=20, ge=3, description="fewest rows worth training on")
    min_rows_per_class: int = Field(
        default=3, ge=3, description="fewest rows of a class: one each for train, val and test"
    )


class HashSplit(Settings):
    """By hash of a row's key, else of its features: a row keeps its split for ever."""

    kind: Literal["hash"] = "hash"
    val: float = Field(default=0.15, gt=0, lt=1, description="share of rows for validation")
    test: float = Field(default=0.15, gt=0, lt=1, description="share of rows for the test")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="another seed, another split")

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> "HashSplit":
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val:g} + test {self.test:g} leave no rows to train on")
        return self


class EncodingSettings(Settings):
    """How words become codes: 0 unseen, 1 missing, 2 and up categories."""

    min_count: int = Field(
        default=1, ge=1, description="training rows a category needs to get a code of its own"
    )
