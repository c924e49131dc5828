"""A query as a stream of text: one SELECT, read-only, in batches, without showing secrets.

Every value becomes text in one canonical form, so that a column's type comes from the contract and
never from what a driver makes of this run's rows. `${NAME}` in the url is looked up when the
connection is made, and what was looked up is taken out of every message.
"""

import math
import os
import re
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.addresses import is_secret_name, without_secrets
from pipeline_lib.config.database_url import STRAY_AT, has_stray_at
from pipeline_lib.config.sources import SqlQuery
from pipeline_lib.data.sources.amounts import BATCH_BYTES, MAX_ROW_BYTES, Amount, long_row
from pipeline_lib.data.sources.column_names import check_names
from pipeline_lib.data.sources.stream import Part, RowStream
from pipeline_lib.data.values.written import TYPED_TEXT, decimal_text, plain_numbers, text_of
from pipeline_lib.errors import SourceError, SourceNotFoundError, UsageError
from pipeline_lib.transient import hiding
from pipeline_lib.wording import did_you_mean, first_line

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, CursorResult, Engine, TextClause

_BATCH_ROWS = 10_000
_FIRST_ROWS = 100
# What PostgreSQL sends at once; of SQLite one row is asked for at a time.
_FETCHED_ROWS = 1000
_CONNECT_TIMEOUT_S = 10
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_FIRST_WORD = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*(\w*)", re.DOTALL)
_URL_PARTS = re.compile(r"([^/]*://)([^/]*@)?([^?]*)(\?.*)?", re.DOTALL)
_EXTRA = "pip install 'evergreen-tables[postgres]'"
_MAX_SAID = 500
_READING = {"SELECT", "WITH", "VALUES"}
# Of a column without a value in the first rows: its type is not known.
_UNTOLD = {b"evergreen": b"untold"}


def open_query(source: SqlQuery, *, root: Path, run_date: date) -> RowStream:
    """Open a query: connect, learn its columns from a few rows, and read no others yet.

    Each reading of the stream runs the query anew, in a transaction that can only read.

    Args:
        source: the url and the query; `:run_date` in it is bound to a DATE, which SQLite sees as
            ISO text.
        root: the folder that the relative path of an SQLite file starts from.
        run_date: the run's date.

    Returns:
        A stream of one part; every column is of type string. Numbers are written in decimal,
        truth as true and false, times in ISO 8601 and, where they know their zone, in UTC. The
        field of a column whose first values are no text says so, see `written.is_typed_text`.

    Raises:
        SourceNotFoundError: there is no such SQLite file.
        SourceError: the connection or the query fails, or the query only writes; a variable of
            the url is not set.
        UsageError: the url is of a kind that is not known, or its driver is not installed.
    """
    query = _Query(source, root, run_date)
    with query.result() as result:
        names = _column_names(result)
        columns = _first_columns(result, len(names))
    check_names(names, query.name)
    schema = pa.schema([_field(name, held) for name, held in zip(names, columns, strict=True)])
    return RowStream(query.name, schema, (Part(query.name, "", partial(query.batches, schema)),))


def query_name(source: SqlQuery) -> str:
    """Return what a person calls the query: its url as the config has it, without options."""
    return f"query on {source.url.partition('?')[0]}"


def as_text(value: object, column: str) -> str | None:
    """Return a value from a database as text; a float or decimal keeps its point.

    >>> [as_text(v, "x") for v in (True, 2, 2.0, Decimal("1E+2"), float("nan"), date(2026, 5, 1))]
    ['true', '2', '2.0', '100', None, '2026-05-01']

    Raises:
        SourceError: it has a type that is no text, number, truth or time; naming the column.
    """
    if (with_point := _WITH_POINT.get(type(value))) is not None:
        return with_point(value)
    try:
        return text_of(value)
    except TypeError as error:
        is_bytes = isinstance(value, bytes | bytearray | memoryview)
        raise SourceError(
            f"column {column!r} holds {'bytes' if is_bytes else error}, which has no one text; "
            "cast it in the query"
        ) from None


def _float_text(value: float) -> str | None:
    return None if math.isnan(value) else repr(float(value))


_WITH_POINT: dict[type, Callable[..., str | None]] = {
    float: _float_text,
    Decimal: partial(decimal_text, whole_without_point=False),
}


def _first_columns(result: "CursorResult[tuple[object, ...]]", n: int) -> list[list[object]]:
    """Return the first values of each column that are no null, of more rows where some have none.

    A query may be sorted with its nulls first.
    """
    columns: list[list[object]] = [[] for _ in range(n)]
    for n_rows in (_FIRST_ROWS, _BATCH_ROWS):
        for row in _next_rows(result, n_rows):
            for values, value in zip(columns, row, strict=True):
                if value is not None and len(values) < _FIRST_ROWS:
                    values.append(value)
        if all(columns):
            break
    return columns


def _next_rows(
    result: "CursorResult[tuple[object, ...]]", n: int, amount: Amount | None = None
) -> Iterator[tuple[object, ...]]:
    """Yield the next rows one by one, `n` of them or fewer where they are long."""
    n_bytes = 0
    for _ in range(n):
        if (row := result.fetchone()) is None:
            return
        long = sum(len(value) for value in row if isinstance(value, str | bytes))
        if amount is not None:
            if long > MAX_ROW_BYTES:
                raise long_row(amount.name, long)
            amount.add(1, long)
        yield tuple(row)
        n_bytes += long
        if n_bytes > BATCH_BYTES:
            return


def _field(name: str, held: Sequence[object]) -> pa.Field:
    """Return a column of text, marked where the database has types for its first values."""
    is_typed = bool(held) and not any(isinstance(value, str) for value in held)
    metadata = TYPED_TEXT if is_typed else None if held else _UNTOLD
    return pa.field(name, pa.string(), metadata=metadata)


@dataclass(frozen=True)
class _Query:
    """One query, and how it is asked."""

    source: SqlQuery
    root: Path
    run_date: date

    @property
    def name(self) -> str:
        return query_name(self.source)

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        n_rows = 0
        with self.result(lambda: n_rows) as result:
            names = schema.names
            if _column_names(result) != names:
                raise SourceError(f"{self.name}: its columns changed while it was read; run again")
            amount = Amount(self.name)
            while rows := list(_next_rows(result, _BATCH_ROWS, amount)):
                columns = zip(schema, zip(*rows, strict=True), strict=True)
                try:
                    arrays = [_text_array(values, field) for field, values in columns]
                except SourceError as error:
                    raise SourceError(f"{self.name}: {error}") from None
                n_rows += len(rows)
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        if n_rows == 0:
            raise SourceError(f"{self.name} returns no rows")

    @contextmanager
    def result(
        self, n_rows: Callable[[], int] = lambda: 0
    ) -> "Generator[CursorResult[tuple[object, ...]]]":
        """Run the query; whatever fails, then or later, is reported with its name and no secret."""
        from sqlalchemy.exc import SQLAlchemyError

        statement = self._statement()
        url = _Url.expanded(self.source.url, self.name)
        engine = _engine(url, self.root, self.name)
        try:
            with engine.connect() as connection:
                asked = _read_only(connection).execute(statement)
                if not asked.returns_rows:
                    raise SourceError(f"{self.name} returns no table")
                yield asked
        except (SQLAlchemyError, sqlite3.Warning, UnicodeError) as error:
            after = f" after {n_rows():,} rows" if n_rows() else ""
            failed = SourceError(f"{self.name} failed{after}: {url.hidden_in(error)}")
            raise hiding(failed, error) from None
        finally:
            engine.dispose()

    def _statement(self) -> "TextClause":
        from sqlalchemy import Date, bindparam, text

        word = _FIRST_WORD.match(self.source.query)
        if word is None or word[1].upper() not in _READING:
            begins = f" begins with {word[1][:20]!r}" if word and word[1] else " is none"
            raise SourceError(f"{self.name}: the query{begins}; it may be a SELECT, WITH or VALUES")
        clause = text(self.source.query)
        named = set(clause.compile().params)
        if strange := named - {"run_date"}:
            raise SourceError(
                f"{self.name}: unknown parameter :{min(strange)}; a query may name :run_date, "
                "and a literal colon is written \\:"
            )
        # A DATE compares with PostgreSQL's dates and times, where text would find no operator.
        return clause.bindparams(bindparam("run_date", self.run_date, Date())) if named else clause


def _column_names(result: "CursorResult[tuple[object, ...]]") -> list[str]:
    description = result.cursor.description if result.cursor else None
    return [str(column[0]) for column in description or ()]


def _text_array(values: tuple[object, ...], field: pa.Field) -> pa.Array:
    text = pa.array([as_text(value, field.name) for value in values], pa.string())
    if field.metadata != _UNTOLD:
        return text
    # It is not known yet whether it is typed, and its words would be read without their points.
    is_text = pa.array([isinstance(value, str) for value in values])
    plain = plain_numbers(pa.chunked_array([text])).combine_chunks()
    return pc.if_else(is_text, text, plain)


def _read_only(connection: "Connection") -> "Connection":
    options: dict[str, object] = {"stream_results": True, "max_row_buffer": _FETCHED_ROWS}
    if connection.dialect.name == "postgresql":
        options["postgresql_readonly"] = True
    return connection.execution_options(**options)


@dataclass(frozen=True)
class _Url:
    """A url with its variables looked up, and the words of it that no message may hold."""

    url: "URL"
    secrets: dict[str, str]

    @classmethod
    def expanded(cls, text: str, name: str) -> "_Url":
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        secrets: dict[str, str] = {}

        def looked_up(match: re.Match[str], *, quoted: bool) -> str:
            variable = match[1]
            value = os.environ.get(variable)
            if value is None:
                raise SourceError(f"{name}: the environment variable {variable} is not set")
            secrets[value] = secrets[quote(value, safe="")] = match[0]
            return quote(value, safe="") if quoted else value

        quoting, plain = partial(looked_up, quoted=True), partial(looked_up, quoted=False)
        parts = _URL_PARTS.fullmatch(text)
        if parts is None:  # the whole url is a variable, or nothing that could be one
            whole = _VARIABLE.sub(plain, text)
        else:
            scheme, user, place, options = (part or "" for part in parts.groups())
            whole = _VARIABLE.sub(plain, scheme) + _VARIABLE.sub(quoting, user)
            whole += _VARIABLE.sub(plain, place) + _VARIABLE.sub(quoting, options)
        try:
            url = make_url(whole)
        except (ArgumentError, ValueError):  # whose texts can hold a part of the password
            raise SourceError(
                f"{name}: is not a database url, such as driver://user@host/database"
            ) from None
        if has_stray_at(url):
            raise SourceError(f"{name}: {STRAY_AT}")
        options = [value for key in url.query if is_secret_name(key) for value in _all(url, key)]
        for value in (url.password, *options):
            if value:
                secrets.setdefault(str(value), "***")
                secrets.setdefault(quote(str(value), safe=""), "***")
        return cls(url, {secret: shown for secret, shown in secrets.items() if secret})

    def hidden_in(self, error: Exception) -> str:
        """Return the first line of what the driver says, less what was looked up."""
        said = first_line(getattr(error, "orig", None) or error)
        for secret in sorted(self.secrets, key=len, reverse=True):
            said = said.replace(secret, self.secrets[secret])
        return without_secrets(said)[:_MAX_SAID]


def _all(url: "URL", key: str) -> Sequence[str]:
    value = url.query[key]
    return (value,) if isinstance(value, str) else value


def _engine(url: _Url, root: Path, name: str) -> "Engine":
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import NoSuchModuleError

    driver = url.url.drivername
    if driver.startswith("sqlite"):
        return _sqlite_engine(url.url, root, name)
    if driver in {"postgresql", "postgres"}:
        raise UsageError(
            f"{name}: write postgresql+psycopg:// to name the driver; it comes with {_EXTRA}"
        )
    arguments: dict[str, object] = {}
    if driver == "postgresql+psycopg" and "connect_timeout" not in url.url.query:
        arguments["connect_timeout"] = _CONNECT_TIMEOUT_S  # without one a lost host hangs the run
    try:
        return create_engine(
            url.url, poolclass=NullPool, hide_parameters=True, connect_args=arguments
        )
    except (ImportError, NoSuchModuleError):
        advice = (
            f"write postgresql+psycopg:// and: {_EXTRA}"
            if driver.startswith("postgres")
            else f"install it beside Evergreen; PostgreSQL's comes with {_EXTRA}"
        )
        raise UsageError(f"{name}: the driver {driver!r} is not installed; {advice}") from None


def _sqlite_engine(url: "URL", root: Path, name: str) -> "Engine":
    from sqlalchemy import NullPool, create_engine

    if url.drivername not in {"sqlite", "sqlite+pysqlite"} or url.query:
        raise UsageError(f"{name}: write sqlite:///path/to/file.db, with no driver and no options")
    if not url.database or url.database == ":memory:":
        raise SourceError(f"{name}: names no file; write sqlite:///path/to/file.db")
    path = root / url.database
    if not path.is_file():
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*")))
        raise SourceNotFoundError(f"{path}: there is no such file{near}")
    address = f"{path.resolve().as_uri()}?mode=ro"  # never makes a file, never writes one

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ROW_BYTES)
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
