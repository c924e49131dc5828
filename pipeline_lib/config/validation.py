"""When rows are too poor to train on: rules, budgets, and how far the data may drift."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline_lib.config.columns import Severity
from pipeline_lib.config.settings import Settings
from pipeline_lib.errors import repeated


class _Rule(Settings):
    """What every rule has: a name, and what a row that breaks it does."""

    name: str = Field(pattern=r"^[A-Za-z][\w\- ]{0,62}$", description="what messages call it")
    severity: Severity = Field(
        default="stop",
        description="what a row that breaks it does: stop the night, go into quarantine, or be "
        "told of and used",
    )


class ExpressionRule(_Rule):
    """What every row must keep, as SQL writes it; a rule that comes to null is kept."""

    kind: Literal["expression"] = "expression"
    expression: str = Field(
        min_length=1,
        max_length=10_000,
        description="over the columns, as `price > 0 AND color <> 'none'`",
    )


class FunctionRule(_Rule):
    """What every row must keep, as a Python function says."""

    kind: Literal["function"] = "function"
    function: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        max_length=200,
        description="`module:name`; takes a pyarrow Table, returns a boolean per row, true is "
        "fine. The module is a file at the project root, or one of the package `rules` there",
    )


Rule = Annotated[ExpressionRule | FunctionRule, Field(discriminator="kind")]


class QuarantineBudget(Settings):
    """How many rows a night may put aside before it stops instead."""

    max_rows: int = Field(default=1000, ge=0, description="most rows")
    max_percent: float = Field(default=1.0, ge=0, le=100, description="most rows, in percent")


class DriftSettings(Settings):
    """How far tonight's rows may be from the champion's training rows."""

    severity: Literal["warn", "stop"] = Field(
        default="warn", description="what drift that matters does: be told of, or stop the night"
    )
    min_effect: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="share of rows that must have moved (total variation) before it matters",
    )
    max_age_days: float | None = Field(
        default=None, gt=0, le=36_600, description="greatest age of the newest `data.time`"
    )
    n_nights: int = Field(default=14, ge=0, le=1000, description="past nights that tell the usual")


class VolumeSettings(Settings):
    """How far tonight's number of rows may be from that of the nights before."""

    max_drop: float | None = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="greatest share of the rows of an earlier night that may be missing before "
        "the night stops; null: any drop is fine",
    )
    max_growth: float | None = Field(
        default=3.0,
        ge=1,
        le=1e6,
        description="rows, as a multiple of the last night's, above which growth is said; null: "
        "never",
    )


class ValidationSettings(Settings):
    """When rows are too poor to train on."""

    min_rows: int = Field(default=20, ge=3, description="fewest rows worth training on")
    min_rows_per_class: int = Field(
        default=3, ge=3, description="fewest rows of a class: one each for train, val and test"
    )
    unique_key: Severity = Field(
        default="stop", description="what rows with a `data.key` that another row has do"
    )
    duplicates: Literal["stop", "warn", "drop"] = Field(
        default="stop",
        description="what happens where all rows are the same ones several times over, as of a "
        "table that was loaded twice: stop the night, be said, or keep one copy. Only without a "
        "`data.key`",
    )
    volume: VolumeSettings = Field(
        default=VolumeSettings(), description="how far the number of rows may move between nights"
    )
    rules: tuple[Rule, ...] = Field(
        default=(), max_length=1000, description="what every row must keep"
    )
    quarantine: QuarantineBudget = Field(
        default=QuarantineBudget(), description="how many rows may be put aside"
    )
    drift: DriftSettings = Field(default=DriftSettings(), description="how far rows may drift")

    @model_validator(mode="after")
    def _rules_have_names_of_their_own(self) -> "ValidationSettings":
        if double := repeated(rule.name for rule in self.rules):
            raise ValueError(f"rules: two are called {double[0]!r}")
        return self
