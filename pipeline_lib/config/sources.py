"""Where the rows come from: one settings class per kind of source."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from pipeline_lib.addresses import shown_address, without_secrets
from pipeline_lib.config.database_url import problem_of
from pipeline_lib.config.settings import Settings

# As in dblink('host=… password=…').
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_FIELDS = ("{YYYY}", "{MM}", "{DD}")
_PATH = (
    "a file, a glob (`data/*.csv`), or a path with `{YYYY}`, `{MM}`, `{DD}` for a file per day; "
    "relative to the project root, or `s3://bucket/…`"
)
_WINDOW = (
    "of a path with dates, the last days to take, tonight's included; without it all there are"
)

_LINKS = (
    "let a glob, or a path with dates, find files through links that lead out of its fixed folder, "
    "which ends before the first star; without it such a link is refused"
)


class _Files(Settings):
    """What files of any format have in common: a path, a glob or a span of days."""

    path: str = Field(min_length=1, max_length=4096, description=_PATH)
    follow_symlinks: bool = Field(default=False, description=_LINKS)
    window_days: int | None = Field(default=None, ge=1, le=36_600, description=_WINDOW)

    @field_validator("path")
    @classmethod
    def _keys_stay_outside(cls, path: str) -> str:
        if shown_address(path) != path:
            raise ValueError(
                "holds a key or a password; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS's own "
                "files say who asks"
            )
        return path

    @model_validator(mode="after")
    def _dates_are_whole(self) -> "_Files":
        named = re.findall(r"\{[^}]*\}", self.path)
        if strange := [field for field in named if field not in _FIELDS]:
            raise ValueError(
                f"{strange[0]} means nothing in a path; there are {', '.join(_FIELDS)}"
            )
        if named and (absent := [field for field in _FIELDS if field not in named]):
            raise ValueError(f"a path with dates needs {' and '.join(absent)} as well")
        if self.window_days is not None and not named:
            raise ValueError("`window_days` needs a path with {YYYY}, {MM} and {DD}")
        return self


class BuiltinTable(Settings):
    """A table that Evergreen carries itself."""

    kind: Literal["builtin"] = "builtin"
    table: Literal["car_evaluation"] = Field(description="which one")


class CsvFile(_Files):
    """CSV files. Every field is read as text; the contract's columns give the types."""

    kind: Literal["csv"] = "csv"
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="between fields")
    encoding: str = Field(default="utf-8", min_length=1, description="name of the text encoding")
    null_values: tuple[str, ...] = Field(
        default=("",),
        description="words that mean that nothing is there; with `trim` quoted ones too",
    )
    trim: bool = Field(
        default=False, description="drop blanks around column names and values of text"
    )


class ParquetFile(_Files):
    """Parquet files."""

    kind: Literal["parquet"] = "parquet"


class SqlQuery(Settings):
    """A query, streamed from a database. Every value is read as text; the contract gives types."""

    kind: Literal["sql"] = "sql"
    url: str = Field(
        min_length=1,
        description="of the database, as SQLAlchemy writes it (`sqlite:///data/cars.db`, "
        "`postgresql+psycopg://user@host/db`); `${NAME}` stands for an environment variable",
    )
    query: str = Field(
        min_length=1,
        max_length=100_000,
        description="one SELECT; `:run_date` is the night's date (ISO), with an ORDER BY equal "
        "rows make equal snapshots",
    )

    @field_validator("url")
    @classmethod
    def _passwords_stay_outside(cls, url: str) -> str:
        if problem := problem_of(url):
            raise ValueError(problem)
        return url

    @field_validator("query")
    @classmethod
    def _connections_within_hold_no_password(cls, query: str) -> str:
        if any(without_secrets(literal) != literal for literal in _LITERAL.findall(query)):
            raise ValueError("holds a password in a literal; let the database know the other one")
        return query


Source = Annotated[BuiltinTable | CsvFile | ParquetFile | SqlQuery, Field(discriminator="kind")]
