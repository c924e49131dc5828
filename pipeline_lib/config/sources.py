"""Where the rows come from: one settings class per kind of source."""

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, field_validator

from pipeline_lib.addresses import shown_address, without_secrets
from pipeline_lib.config.database_url import problem_of
from pipeline_lib.config.mistakes import Mistake, rule, wrong
from pipeline_lib.config.settings import Settings

# As in dblink('host=… password=…').
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_FIELDS = ("{YYYY}", "{MM}", "{DD}")
_PATH = (
    "a file, a glob (`data/*.csv`), or a path with `{YYYY}`, `{MM}`, `{DD}` for one file per day; "
    "relative to the project root, or `s3://bucket/…`"
)
_WINDOW = "of a path with dates: number of days to read, up to the run's date; null: all"

_LINKS = (
    "whether a glob or a path with dates may follow symbolic links out of its fixed folder (the "
    "part before the first wildcard); otherwise such a link is an error"
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
                "holds a key or a password; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "use AWS's own credentials file"
            )
        return path

    @rule
    def _dates_are_whole(self) -> Iterator[Mistake]:
        named = re.findall(r"\{[^}]*\}", self.path)
        if strange := [field for field in named if field not in _FIELDS]:
            yield wrong(
                f"{strange[0][:60]} is not a field of a path; there are {', '.join(_FIELDS)}",
                "path",
            )
        elif named and (absent := [field for field in _FIELDS if field not in named]):
            yield wrong(f"a path with dates needs {' and '.join(absent)} as well", "path")
        if self.window_days is not None and not named:
            yield wrong("`window_days` needs a path with {YYYY}, {MM} and {DD}", "window_days")


class BuiltinTable(Settings):
    """A table that comes with Evergreen."""

    kind: Literal["builtin"] = "builtin"
    table: Literal["car_evaluation"] = Field(description="name of the table")


class CsvFile(_Files):
    """CSV files. Fields are read as text; `columns` gives the types."""

    kind: Literal["csv"] = "csv"
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="field separator")
    encoding: str = Field(
        default="utf-8", min_length=1, description="text encoding, as Python names it"
    )
    null_values: tuple[str, ...] = Field(
        default=("",),
        description="words that are read as missing; with `trim` quoted ones too",
    )
    trim: bool = Field(
        default=False, description="strip whitespace around column names and text values"
    )

    @rule
    def _the_encoding_exists(self) -> Iterator[Mistake]:
        try:
            b"a".decode(self.encoding, errors="replace")  # of no bytes Python asks no codec
        except (LookupError, ValueError):
            said = f"{self.encoding[:60]!r} is not a text encoding; write one as utf-8 or latin-1"
            yield wrong(said, "encoding")


class ParquetFile(_Files):
    """Parquet files."""

    kind: Literal["parquet"] = "parquet"


class SqlQuery(Settings):
    """An SQL query, streamed from a database. Values are read as text; `columns` gives types."""

    kind: Literal["sql"] = "sql"
    url: str = Field(
        min_length=1,
        description="SQLAlchemy URL of the database (`sqlite:///data/cars.db`, "
        "`postgresql+psycopg://user@host/db`); `${NAME}` is an environment variable",
    )
    query: str = Field(
        min_length=1,
        max_length=100_000,
        description="one SELECT; `:run_date` is the date of the run (ISO). With ORDER BY, equal "
        "rows give equal snapshots",
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
            raise ValueError("holds a password in a literal; let the database store the connection")
        return query


Source = Annotated[BuiltinTable | CsvFile | ParquetFile | SqlQuery, Field(discriminator="kind")]
