"""How rows are assigned to train, val and test: one settings class per kind of split."""

from collections.abc import Iterator
from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from pipeline_lib.config.mistakes import Mistake, rule, wrong
from pipeline_lib.config.settings import Settings
from pipeline_lib.wording import repeated


class _Shares(Settings):
    """Shares of rows for val and test; the rest is for training."""

    val: float = Field(default=0.15, gt=0, lt=1, description="share of rows for validation")
    test: float = Field(default=0.15, gt=0, lt=1, description="share of rows for testing")
    seed: int = Field(
        default=0,
        ge=0,
        le=2**31 - 1,
        description="seed of the hash; another seed gives another split",
    )

    @rule
    def _something_is_left_to_train_on(self) -> Iterator[Mistake]:
        if self.val + self.test >= 1:
            said = f"val {self.val:g} + test {self.test:g} leave no rows to train on"
            yield wrong(said, "test", "val")


class HashSplit(_Shares):
    """By hash of a row's key, or of its features without one: a row never changes its split."""

    kind: Literal["hash"] = "hash"


class StratifiedSplit(_Shares):
    """By hash within each class: shares are exact, but rows can move as the table grows."""

    kind: Literal["stratified"] = "stratified"


class GroupSplit(_Shares):
    """By hash of a group: all rows of a group have the same split, which never changes."""

    kind: Literal["group"] = "group"
    columns: tuple[str, ...] = Field(min_length=1, description="columns that identify a group")


class TimeSplit(Settings):
    """By `data.time`: the oldest rows train, the newest test.

    Either cut dates (`val_from`, `test_from`), or lengths counted back from the newest row
    (`val_days`, `test_days`).
    """

    kind: Literal["time"] = "time"
    val_from: date | None = Field(default=None, description="first day of the validation rows")
    test_from: date | None = Field(default=None, description="first day of the test rows")
    val_days: float | None = Field(
        default=None, gt=0, le=36_600, description="length of the validation period, in days"
    )
    test_days: float | None = Field(
        default=None, gt=0, le=36_600, description="length of the test period, in days"
    )
    gap_days: float = Field(
        default=0.0,
        ge=0,
        le=36_600,
        description="gap before each cut, in days; its rows are unused",
    )

    @rule
    def _cuts_or_lengths(self) -> Iterator[Mistake]:
        cuts, lengths = (self.val_from, self.test_from), (self.val_days, self.test_days)
        given = [pair for pair in (cuts, lengths) if any(v is not None for v in pair)]
        if len(given) != 1 or None in given[0]:
            said = "give `val_from` and `test_from`, or `val_days` and `test_days`"
            yield wrong(said, "val_days", "test_days", "val_from", "test_from")

    @rule
    def _validation_comes_before_the_test(self) -> Iterator[Mistake]:
        if self.val_from and self.test_from and self.val_from >= self.test_from:
            said = f"`val_from` ({self.val_from}) must be before `test_from` ({self.test_from})"
            yield wrong(said, "val_from", "test_from")


class PredefinedSplit(Settings):
    """By a column that names the split of each row; rows with another word are unused."""

    kind: Literal["predefined"] = "predefined"
    column: str = Field(min_length=1, description="the column that names the split")
    train: tuple[str, ...] = Field(
        default=("train",), min_length=1, description="words for training rows"
    )
    val: tuple[str, ...] = Field(
        default=("val",), min_length=1, description="words for validation rows"
    )
    test: tuple[str, ...] = Field(
        default=("test",), min_length=1, description="words for test rows"
    )

    @rule
    def _a_word_names_one_split(self) -> Iterator[Mistake]:
        if double := repeated([*self.train, *self.val, *self.test]):
            at = [k for k in ("test", "val", "train") if double[0] in getattr(self, k)]
            yield wrong(f"the word {double[0]!r} names two splits", *at)


Split = Annotated[
    HashSplit | StratifiedSplit | GroupSplit | TimeSplit | PredefinedSplit,
    Field(discriminator="kind"),
]
