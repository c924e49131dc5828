"""Who learns, who chooses the epoch, and who judges: one settings class per kind of split."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline_lib.config.settings import Settings
from pipeline_lib.errors import repeated


class _Shares(Settings):
    """Shares of rows; the rest is for training."""

    val: float = Field(default=0.15, gt=0, lt=1, description="share of rows for validation")
    test: float = Field(default=0.15, gt=0, lt=1, description="share of rows for the test")
    seed: int = Field(default=0, ge=0, le=2**31 - 1, description="another seed, another split")

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> "_Shares":
        if self.val + self.test >= 1:
            raise ValueError(f"val {self.val:g} + test {self.test:g} leave no rows to train on")
        return self


class HashSplit(_Shares):
    """By hash of a row's key, else of its features: a row keeps its split for ever."""

    kind: Literal["hash"] = "hash"


class StratifiedSplit(_Shares):
    """By hash within each class: shares are exact, rows near a border move as the table grows."""

    kind: Literal["stratified"] = "stratified"


class GroupSplit(_Shares):
    """By hash of a group: rows of one group stay together, for ever."""

    kind: Literal["group"] = "group"
    columns: tuple[str, ...] = Field(min_length=1, description="what makes a group")


class TimeSplit(Settings):
    """By `data.time`: the oldest rows train, the newest judge.

    Either cut dates (`val_from`, `test_from`), or lengths counted back from the newest row
    (`val_days`, `test_days`).
    """

    kind: Literal["time"] = "time"
    val_from: date | None = Field(default=None, description="first day of validation")
    test_from: date | None = Field(default=None, description="first day of the test")
    val_days: float | None = Field(
        default=None, gt=0, le=36_600, description="length of validation, in days"
    )
    test_days: float | None = Field(
        default=None, gt=0, le=36_600, description="length of the test, in days"
    )
    gap_days: float = Field(
        default=0.0, ge=0, le=36_600, description="days before each cut whose rows nobody uses"
    )

    @model_validator(mode="after")
    def _cuts_or_lengths(self) -> "TimeSplit":
        cuts, lengths = (self.val_from, self.test_from), (self.val_days, self.test_days)
        given = [pair for pair in (cuts, lengths) if any(v is not None for v in pair)]
        if len(given) != 1 or None in given[0]:
            raise ValueError("give `val_from` and `test_from`, or `val_days` and `test_days`")
        if self.val_from and self.test_from and self.val_from >= self.test_from:
            raise ValueError("`val_from` must be before `test_from`")
        return self


class PredefinedSplit(Settings):
    """By a column that names each row's split; rows with any other word are not used."""

    kind: Literal["predefined"] = "predefined"
    column: str = Field(min_length=1, description="where the split stands")
    train: tuple[str, ...] = Field(default=("train",), min_length=1, description="its words")
    val: tuple[str, ...] = Field(default=("val",), min_length=1, description="its words")
    test: tuple[str, ...] = Field(default=("test",), min_length=1, description="its words")

    @model_validator(mode="after")
    def _a_word_names_one_split(self) -> "PredefinedSplit":
        if double := repeated([*self.train, *self.val, *self.test]):
            raise ValueError(f"the word {double[0]!r} names two splits")
        return self


Split = Annotated[
    HashSplit | StratifiedSplit | GroupSplit | TimeSplit | PredefinedSplit,
    Field(discriminator="kind"),
]
