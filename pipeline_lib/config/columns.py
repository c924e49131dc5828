"""What a feature column has to look like, and how it becomes codes or floats."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from pipeline_lib.config.mistakes import Mistake, rule, wrong
from pipeline_lib.config.settings import Settings
from pipeline_lib.config.time_zones import zone_problem
from pipeline_lib.config.times import WrittenTime, format_problem, is_later, time_problem
from pipeline_lib.wording import examples, repeated

Severity = Literal["stop", "quarantine", "warn"]
DatetimePart = Literal[
    "elapsed", "year", "month", "day", "day_of_year", "weekday", "hour", "minute"
]

Order = Annotated[tuple[str, ...], Field(max_length=10_000)] | Literal["numeric"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", flags=re.ASCII)

MAX_COLUMNS = 10_000  # of a table; every check of a column runs ten thousand times

_SEVERITY = (
    "what happens to a row that breaks a rule of this column: `stop` ends the run, `quarantine` "
    "sets the row aside, `warn` reports it and uses it (a value that cannot be read is always "
    "quarantined)"
)

_TIME_ZONE = (
    "IANA name, such as America/New_York: the time zone in which `parts` are computed, and of "
    "times and bounds written without a zone (an ambiguous time is the earlier one). Default: the "
    "zone of the data, UTC where offsets differ"
)


_PRIVATE = (
    "whether the values are personal data: reports, messages, logs, MLflow artifacts and profiles "
    "then show counts and hashes instead, as messages always do for `kind: hash`. Values stay in "
    "the home: in snapshots, splits, quarantine, encoded splits, the ledger (shown by `evergreen "
    "codes`), the model folder and its package. Ranges and means of numbers and times are shown, "
    "and so is what the config itself says, as in a rule. A hash can confirm a guessed value"
)


class _Column(Settings):
    """What every column has: nullability, severity and privacy."""

    nullable: bool = Field(default=False, description="whether missing values are allowed")
    severity: Severity = Field(default="stop", description=_SEVERITY)
    private: bool = Field(default=False, description=_PRIVATE)

    @property
    def hides_values(self) -> bool:
        """Whether messages must not quote values."""
        return self.private

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A config and an encoder keep the digests that they had before columns could be private.
        values: dict[str, Any] = handler(self)
        if not self.private:
            values.pop("private", None)
        if values.get("order", "") is None:  # as before categories could have one
            del values["order"]
        return values


class CategoryColumn(_Column):
    """A categorical column. Integers and booleans are read as text."""

    kind: Literal["category"] = "category"
    allowed: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="the allowed categories; null: any"
    )
    order: Order | None = Field(
        default=None,
        description="the words with a rank, the lowest first, or `numeric`, for words that are "
        "numbers: models see the scaled rank, or number, beside the category. Other words have "
        "none, which is marked as a missing number is; with `allowed` both list the same words",
    )
    on_unknown: Literal["bucket", "error"] = Field(
        default="bucket",
        description="a category unseen in training, at prediction: `bucket` maps it to code 0, "
        "`error` raises",
    )
    min_count: int | None = Field(
        default=None, ge=1, description="overrides `encoding.min_count` for this column"
    )
    max_size: int | None = Field(
        default=None, ge=1, description="overrides `encoding.max_size` for this column"
    )

    @property
    def ranked(self) -> tuple[str, ...]:
        """The words that `order` lists."""
        return () if self.order is None or self.order == "numeric" else self.order

    @rule
    def _an_order_ranks_different_words(self) -> Iterator[Mistake]:
        if self.order is None or self.order == "numeric":
            return
        if twice := repeated(self.order):
            yield wrong(f"lists {examples(twice)} twice", "order")
        elif len(self.order) < 2:
            yield wrong("ranks fewer than 2 words, which says nothing", "order")

    @rule
    def _order_and_allowed_list_the_same(self) -> Iterator[Mistake]:
        if self.order is None or self.allowed is None:
            return
        if self.order == "numeric":
            if odd := [word for word in self.allowed if not _NUMBER.fullmatch(word.strip())]:
                yield wrong(f"{examples(odd)} in `allowed`: no number", "order", "allowed")
            return
        if unranked := [word for word in self.allowed if word not in self.order]:
            yield wrong(f"lacks {examples(unranked)}, listed in `allowed`", "order", "allowed")
        if never := [word for word in self.order if word not in self.allowed]:
            yield wrong(f"ranks {examples(never)}, not listed in `allowed`", "order", "allowed")


class HashColumn(_Column):
    """A categorical column of very high cardinality, by feature hashing: no vocabulary is kept."""

    kind: Literal["hash"] = "hash"

    @property
    def hides_values(self) -> bool:
        """Whether messages must not quote values: always, as a code stands for many values."""
        return True

    n_buckets: int = Field(
        default=4096, ge=2, le=2**24, description="number of hash buckets, reserved codes included"
    )


class StandardScaling(Settings):
    """Mean 0 and standard deviation 1 on the training rows."""

    kind: Literal["standard"] = "standard"


class RobustScaling(Settings):
    """Median 0, scaled by the interquartile range, then clipped smoothly: order is kept."""

    kind: Literal["robust"] = "robust"
    clip: float = Field(
        default=3.0,
        gt=0,
        le=1e6,
        description="limit of the scaled values; approached, never reached",
    )


class QuantileScaling(Settings):
    """Map the empirical quantiles of the training rows to a normal or uniform distribution."""

    kind: Literal["quantile"] = "quantile"
    n_quantiles: int = Field(
        default=1000, ge=10, le=100_000, description="number of quantiles that are estimated"
    )
    output: Literal["normal", "uniform"] = Field(
        default="normal", description="distribution of the scaled values"
    )


Scaling = Annotated[StandardScaling | RobustScaling | QuantileScaling, Field(discriminator="kind")]


class NumberColumn(_Column):
    """A numeric column, scaled with statistics of the training rows."""

    kind: Literal["number"] = "number"
    minimum: float | None = Field(default=None, description="smallest allowed value; null: any")
    maximum: float | None = Field(default=None, description="largest allowed value; null: any")
    scaling: Scaling = Field(default=StandardScaling(), description="how values are scaled")

    @rule
    def _range_is_not_empty(self) -> Iterator[Mistake]:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            said = f"minimum {self.minimum:g} is above maximum {self.maximum:g}"
            yield wrong(said, "minimum", "maximum")


class BooleanColumn(_Column):
    """A boolean column: booleans, 0 and 1, or the words of `true` and `false`."""

    kind: Literal["boolean"] = "boolean"
    true: tuple[str, ...] = Field(
        default=("true", "t", "yes", "y", "1"),
        min_length=1,
        description="words read as true, in any case",
    )
    false: tuple[str, ...] = Field(
        default=("false", "f", "no", "n", "0"),
        min_length=1,
        description="words read as false, in any case",
    )

    @rule
    def _a_word_has_one_meaning(self) -> Iterator[Mistake]:
        both = {w.casefold() for w in self.true} & {w.casefold() for w in self.false}
        if both:
            yield wrong(f"{min(both)!r} is in `true` and in `false`", "false", "true")


class DatetimeColumn(_Column):
    """A column of dates or times, split into `parts`; cyclic ones as sine and cosine."""

    kind: Literal["datetime"] = "datetime"
    format: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="strptime format of the text, such as %d.%m.%Y; null: ISO 8601",
    )
    time_zone: str | None = Field(default=None, description=_TIME_ZONE)
    parts: tuple[DatetimePart, ...] = Field(
        default=("elapsed", "month", "weekday", "hour"),
        min_length=1,
        description="the features made of it: `elapsed` and `year` are scaled, the others are "
        "cyclic (sine and cosine)",
    )
    earliest: WrittenTime | None = Field(
        default=None, description="earliest allowed date or time, ISO 8601; null: any"
    )
    latest: WrittenTime | None = Field(
        default=None,
        description="latest allowed date or time, ISO 8601; a date includes its whole day; "
        "null: any",
    )

    @rule
    def _zone_exists(self) -> Iterator[Mistake]:
        if self.time_zone is not None and (problem := zone_problem(self.time_zone)):
            yield wrong(problem, "time_zone")

    @rule
    def _format_can_be_read(self) -> Iterator[Mistake]:
        if self.format is not None and (problem := format_problem(self.format)):
            yield wrong(problem, "format")

    @rule
    def _bounds_are_times(self) -> Iterator[Mistake]:
        for key, text in (("earliest", self.earliest), ("latest", self.latest)):
            if text is not None and (problem := time_problem(text)):
                yield wrong(problem, key)

    @rule
    def _range_is_not_empty(self) -> Iterator[Mistake]:
        first, last = self.earliest, self.latest
        if first is None or last is None or time_problem(first) or time_problem(last):
            return
        zone = self.time_zone if self.time_zone and not zone_problem(self.time_zone) else None
        if is_later(first, last, zone):
            yield wrong(f"{first} is after `latest`, {last}", "earliest", "latest")

    @rule
    def _parts_are_different(self) -> Iterator[Mistake]:
        if twice := repeated(self.parts):
            yield wrong(f"lists {examples(twice)} twice", "parts")


Column = Annotated[
    CategoryColumn | HashColumn | NumberColumn | BooleanColumn | DatetimeColumn,
    Field(discriminator="kind"),
]


class EncodingSettings(Settings):
    """How categories become codes: 0 unseen, 1 missing, categories from 2."""

    min_count: int = Field(
        default=1,
        ge=1,
        description="fewest training rows of a category; rarer ones are encoded as unseen",
    )
    max_size: int | None = Field(
        default=None,
        ge=1,
        description="largest number of categories of a column, most frequent first; null: any",
    )
