"""What a feature column has to look like, and how it becomes codes or floats."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline_lib.config.settings import Settings
from pipeline_lib.config.time_zones import zone_problem

Severity = Literal["stop", "quarantine", "warn"]
DatetimePart = Literal[
    "elapsed", "year", "month", "day", "day_of_year", "weekday", "hour", "minute"
]

MAX_COLUMNS = 10_000  # of a table; what is asked of each column is asked ten thousand times

_SEVERITY = (
    "what a row that breaks a rule of this column does: stop the night, go into quarantine, or "
    "be told of and used (a value that cannot be read never is: then it quarantines)"
)

_TIME_ZONE = (
    "IANA name, as America/New_York: the clock that `parts` are read from, and that of times and "
    "bounds written without a zone (of two equal ones the first is meant). Without it the zone "
    "of the data, UTC where offsets differ"
)


class _Column(Settings):
    """What every column has: whether it may be empty, and how strict its rules are."""

    nullable: bool = Field(default=False, description="whether rows without a value are fine")
    severity: Severity = Field(default="stop", description=_SEVERITY)


class CategoryColumn(_Column):
    """A column of words. Whole numbers and booleans count as their text."""

    kind: Literal["category"] = "category"
    allowed: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="the only words there may be"
    )
    on_unknown: Literal["bucket", "error"] = Field(
        default="bucket",
        description="what a category unseen in training does at prediction: share code 0, or stop",
    )
    min_count: int | None = Field(
        default=None, ge=1, description="as `encoding.min_count`, for this column"
    )
    max_size: int | None = Field(
        default=None, ge=1, description="as `encoding.max_size`, for this column"
    )


class HashColumn(_Column):
    """A column of so many words that no vocabulary should hold them: a code is a word's hash."""

    kind: Literal["hash"] = "hash"
    n_buckets: int = Field(
        default=4096, ge=2, le=2**24, description="codes that the words share, less reserved ones"
    )


class StandardScaling(Settings):
    """Training mean 0 and deviation 1."""

    kind: Literal["standard"] = "standard"


class RobustScaling(Settings):
    """Median 0, by quartiles, and a smooth clip: outliers keep their order, not their distance."""

    kind: Literal["robust"] = "robust"
    clip: float = Field(
        default=3.0, gt=0, le=1e6, description="what no value ever reaches, in scaled units"
    )


class QuantileScaling(Settings):
    """By rank among the training rows: any distribution becomes normal, or uniform."""

    kind: Literal["quantile"] = "quantile"
    n_quantiles: int = Field(default=1000, ge=10, le=100_000, description="points of the curve")
    output: Literal["normal", "uniform"] = Field(
        default="normal", description="what the ranks are spread to"
    )


Scaling = Annotated[StandardScaling | RobustScaling | QuantileScaling, Field(discriminator="kind")]


class NumberColumn(_Column):
    """A column of numbers, scaled with what the training rows say."""

    kind: Literal["number"] = "number"
    minimum: float | None = Field(default=None, description="the least value there may be")
    maximum: float | None = Field(default=None, description="the greatest value there may be")
    scaling: Scaling = Field(default=StandardScaling(), description="how it becomes small floats")

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> "NumberColumn":
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self


class BooleanColumn(_Column):
    """A column of yes and no: booleans, 0 and 1, or the words of `true` and `false`."""

    kind: Literal["boolean"] = "boolean"
    true: tuple[str, ...] = Field(
        default=("true", "t", "yes", "y", "1"), min_length=1, description="words, in any case"
    )
    false: tuple[str, ...] = Field(
        default=("false", "f", "no", "n", "0"), min_length=1, description="words, in any case"
    )

    @model_validator(mode="after")
    def _a_word_says_one_thing(self) -> "BooleanColumn":
        both = {w.casefold() for w in self.true} & {w.casefold() for w in self.false}
        if both:
            raise ValueError(f"{min(both)!r} stands in `true` and in `false`")
        return self


class DatetimeColumn(_Column):
    """A column of dates or times, which becomes its parts; cyclical ones as sine and cosine."""

    kind: Literal["datetime"] = "datetime"
    format: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="of text, as strptime has it; without it ISO 8601",
    )
    time_zone: str | None = Field(default=None, description=_TIME_ZONE)
    parts: tuple[DatetimePart, ...] = Field(
        default=("elapsed", "month", "weekday", "hour"),
        min_length=1,
        description="what the network sees; `elapsed` and `year` are scaled, all others go round",
    )
    earliest: str | None = Field(default=None, description="the first time there may be (ISO 8601)")
    latest: str | None = Field(default=None, description="the last time there may be (ISO 8601)")

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, name: str | None) -> str | None:
        if name is not None and (problem := zone_problem(name)):
            raise ValueError(problem)
        return name

    @model_validator(mode="after")
    def _parts_are_different(self) -> "DatetimeColumn":
        if len(set(self.parts)) < len(self.parts):
            raise ValueError("`parts` names one part twice")
        return self


Column = Annotated[
    CategoryColumn | HashColumn | NumberColumn | BooleanColumn | DatetimeColumn,
    Field(discriminator="kind"),
]


class EncodingSettings(Settings):
    """How words become codes: 0 unseen, 1 missing, 2 and up categories."""

    min_count: int = Field(
        default=1, ge=1, description="training rows a category needs; rarer ones count as unseen"
    )
    max_size: int | None = Field(
        default=None, ge=1, description="most categories a column may ever have, the frequent first"
    )
