"""Checks of the data before training: rules, quarantine budget, volume and drift."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from pipeline_lib.config.columns import Severity
from pipeline_lib.config.mistakes import Mistake, rule, wrong
from pipeline_lib.config.settings import Settings
from pipeline_lib.wording import repeated


class _Rule(Settings):
    """What every rule has: a name and a severity."""

    name: str = Field(
        pattern=r"^[A-Za-z][\w\- ]{0,62}$", description="name of the rule in messages"
    )
    severity: Severity = Field(
        default="stop",
        description="what happens to a row that breaks the rule: `stop` ends the run, `quarantine` "
        "sets the row aside, `warn` reports it and uses it",
    )


class ExpressionRule(_Rule):
    """A condition on each row as an SQL expression; null counts as true."""

    kind: Literal["expression"] = "expression"
    expression: str = Field(
        min_length=1,
        max_length=10_000,
        description="SQL over the columns, such as `price > 0 AND color <> 'none'`",
    )


class FunctionRule(_Rule):
    """A condition on each row as a Python function."""

    kind: Literal["function"] = "function"
    function: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        max_length=200,
        description="`module:name`; takes a pyarrow Table and returns a boolean per row, true for "
        "a valid row. The module is a file at the project root, or in its package `rules`",
    )


Rule = Annotated[ExpressionRule | FunctionRule, Field(discriminator="kind")]


class QuarantineBudget(Settings):
    """How many rows may be quarantined before the run stops instead."""

    max_rows: int = Field(default=1000, ge=0, description="largest number of quarantined rows")
    max_percent: float = Field(
        default=1.0, ge=0, le=100, description="largest share of quarantined rows, in percent"
    )


class DriftSettings(Settings):
    """How far new rows may drift from the champion's training rows."""

    severity: Literal["warn", "stop"] = Field(
        default="warn",
        description="what drift above `min_effect` does: `warn` reports it, `stop` ends the run",
    )
    min_effect: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="smallest total variation distance that counts as drift",
    )
    max_age_days: float | None = Field(
        default=None,
        gt=0,
        le=36_600,
        description="largest age of the newest `data.time`, in days; null: any",
    )
    n_nights: int = Field(
        default=14, ge=0, le=1000, description="past runs that show the normal variation"
    )


class VolumeSettings(Settings):
    """How far the number of rows may be from that of earlier runs."""

    max_drop: float | None = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="largest decrease, as a share of the rows of an earlier run, before the run "
        "stops; null: any",
    )
    max_growth: float | None = Field(
        default=3.0,
        ge=1,
        le=1e6,
        description="growth above which a warning is given, as a multiple of the rows of the last "
        "run; null: never",
    )


class ValidationSettings(Settings):
    """Checks of the data before training."""

    min_rows: int = Field(default=20, ge=3, description="fewest rows to train on")
    min_rows_per_class: int = Field(
        default=3,
        ge=3,
        description="fewest rows of a class: at least one each for train, val and test",
    )
    unique_key: Severity = Field(
        default="stop", description="what happens to rows whose `data.key` occurs more than once"
    )
    duplicates: Literal["stop", "warn", "drop"] = Field(
        default="stop",
        description="what happens if the whole table occurs several times, as when it was loaded "
        "twice: `stop` ends the run, `warn` reports it, `drop` keeps one copy. Only without "
        "`data.key`",
    )
    volume: VolumeSettings = Field(
        default=VolumeSettings(), description="allowed change of the number of rows between runs"
    )
    rules: tuple[Rule, ...] = Field(
        default=(), max_length=1000, description="conditions that every row must meet"
    )
    quarantine: QuarantineBudget = Field(
        default=QuarantineBudget(), description="how many rows may be quarantined"
    )
    drift: DriftSettings = Field(
        default=DriftSettings(), description="when drift is reported or stops the run"
    )

    @rule
    def _rules_have_names_of_their_own(self) -> Iterator[Mistake]:
        names = [each.name for each in self.rules]
        for name in repeated(names):
            second = names.index(name, names.index(name) + 1)
            yield wrong(f"two rules are called {name!r}", ("rules", second, "name"))
