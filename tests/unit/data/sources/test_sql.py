"""Queries against SQLite, and what is the same for every database."""

import shutil
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as clock
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline_lib.config.columns import CategoryColumn
from pipeline_lib.config.sources import SqlQuery
from pipeline_lib.data.sources.open import source_name
from pipeline_lib.data.sources.sql import as_text
from pipeline_lib.data.values.casts import read_columns
from pipeline_lib.errors import SourceError, SourceNotFoundError, UsageError
from tests.unit.data.in_memory import read_source
from tests.unit.data.sources.queries import SQLITE, open_query, refused


@pytest.mark.parametrize("n_nulls", [0, 150, 12_000])
def test_a_typed_column_has_the_same_words_however_many_nulls_come_first(
    root: Path, n_nulls: int
) -> None:
    numbers = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {0} + 2)"
    grades = "SELECT CASE WHEN n > {0} THEN n - {0}.0 END AS grade, n FROM r"
    query = f"{numbers} {grades}".format(n_nulls)

    table = open_query(root, query).read()

    words = read_columns(table.select(["grade"]), {"grade": CategoryColumn(nullable=True)})
    assert words["grade"].to_pylist() == [*[None] * n_nulls, "1", "2"]


def test_every_value_is_text_and_nothing_is_null(root: Path) -> None:
    table = open_query(root, "SELECT * FROM cars ORDER BY id").read()

    assert {str(kind) for kind in table.schema.types} == {"string"}
    assert table.to_pylist() == [
        {"id": "1", "zip": "08123", "price": "9.5", "sold": "2026-05-09"},
        {"id": "2", "zip": None, "price": "10.0", "sold": "2026-05-10"},
        {"id": "3", "zip": "", "price": None, "sold": "2026-05-11"},
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("08 ", "08 "),
        (True, "true"),
        (False, "false"),
        (-(10**30), "-1" + "0" * 30),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (float("nan"), None),
        (float("-inf"), "-inf"),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (Decimal(f"{10**39 + 1}.00"), f"{10**39 + 1}.00"),
        (Decimal("1E-999999999"), "1E-999999999"),
        (Decimal("NaN"), None),
        (Decimal("Infinity"), "inf"),
        (date(2026, 5, 1), "2026-05-01"),
        (datetime(2026, 5, 1, 12, 30), "2026-05-01T12:30:00"),  # noqa: DTZ001 - a column without zone
        (datetime(2026, 5, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2026-04-30T23:00:00+00:00"),
        (clock(1, 2, 3), "01:02:03"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
    ids=repr,
)
def test_a_value_has_one_text(value: object, text: str | None) -> None:
    assert as_text(value, "x") == text


def test_a_float_comes_back_from_its_text(root: Path) -> None:
    table = open_query(root, "SELECT 0.1 + 0.2 AS x").read()

    assert float(table["x"][0].as_py()) == 0.1 + 0.2


@pytest.mark.parametrize(
    ("value", "what"), [(b"x", "bytes"), ([1], "list"), ({"a": 1}, "dict"), (1j, "complex")]
)
def test_a_value_that_has_no_one_text_is_told_with_its_column(value: object, what: str) -> None:
    with pytest.raises(SourceError, match=f"column 'x' holds {what}, .* cast it in the query"):
        as_text(value, "x")


def test_bytes_are_told_with_query_and_column(root: Path) -> None:
    assert refused(root, "SELECT x'00ff' AS raw") == (
        f"query on {SQLITE}: column 'raw' holds bytes, which has no one text; cast it in the query"
    )


def test_the_night_is_bound_where_the_query_names_it(root: Path) -> None:
    table = open_query(root, "SELECT id FROM cars WHERE sold <= :run_date ORDER BY id").read()

    assert table["id"].to_pylist() == ["1", "2"]


def test_today_is_bound_unless_another_night_is_given(root: Path) -> None:
    source = SqlQuery(url=SQLITE, query="SELECT :run_date AS d")

    assert read_source(source, root=root)["d"][0].as_py() in {
        str(datetime.now(UTC).date() + timedelta(days=n)) for n in (-1, 0)
    }


@pytest.mark.parametrize(
    ("query", "row"),
    [
        ("SELECT '12:30' AS x", "12:30"),
        (r"SELECT '\:run' AS x", ":run"),
        ("SELECT 'a%b%s' AS x", "a%b%s"),
        ("VALUES ('v')", "v"),
        ("/* of\n today */ SELECT 'c' AS x", "c"),
        ("-- all\nwith t as (select 'w' as x) select * from t;", "w"),
    ],
)
def test_colons_percents_comments_and_a_last_semicolon_are_fine(
    root: Path, query: str, row: str
) -> None:
    assert open_query(root, query).read()[0].to_pylist() == [row]


def test_a_name_that_nobody_binds_is_told(root: Path) -> None:
    assert "unknown parameter :today; a query may name :run_date" in refused(
        root, "SELECT * FROM cars WHERE sold = :today"
    )


def test_a_query_without_rows_is_refused(root: Path) -> None:
    assert "returns no rows" in refused(root, "SELECT * FROM cars WHERE id > 10")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT 1 AS a, 2 AS a", "stand twice: 'a'"),
        ("SELECT 1 AS a, 2 AS A", "differ by blanks or case alone"),
        ("SELECT 1 AS ''", "without a name"),
        ("SELECT * FROM absent", "no such table: absent"),
        ("SELEC 1", "begins with 'SELEC'"),
        ("  ", "the query is none"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
    ],
)
def test_a_query_that_gives_no_table_is_refused(root: Path, query: str, told: str) -> None:
    message = refused(root, query)

    assert message.startswith(f"query on {SQLITE}")
    assert told in message


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE cars",
        "DELETE FROM cars",
        "PRAGMA writable_schema = 1",
        "ATTACH 'other.db' AS other",
        "WITH gone AS (SELECT 1) DELETE FROM cars",
        "SELECT 1; DROP TABLE cars",
        "/* SELECT */ DROP TABLE cars",
    ],
)
def test_a_query_that_would_write_is_refused_and_writes_nothing(root: Path, query: str) -> None:
    before = (root / "data" / "cars.db").read_bytes()

    refused(root, query)

    assert (root / "data" / "cars.db").read_bytes() == before
    assert [path.name for path in (root / "data").iterdir()] == ["cars.db"]


def test_a_database_file_that_is_not_there_is_told_and_not_made(root: Path) -> None:
    with pytest.raises(SourceNotFoundError) as raised:
        open_query(root, "SELECT 1", "sqlite:///data/car.db")

    assert str(raised.value) == (
        f"{root}/data/car.db: there is no such file; did you mean cars.db?"
    )
    assert not (root / "data" / "car.db").exists()


@pytest.mark.parametrize("name", ["a #1%20@b.db", "ä:b.db", "file.db"])
def test_a_database_file_may_have_any_name(root: Path, name: str) -> None:
    shutil.copy(root / "data" / "cars.db", root / name)

    for url in (f"sqlite:///{name}", f"sqlite:///{root}/{name}", f"sqlite+pysqlite:///{name}"):
        assert open_query(root, "SELECT * FROM cars", url).read().num_rows == 3


def test_options_of_an_sqlite_url_are_refused_for_they_could_write(root: Path) -> None:
    with pytest.raises(UsageError, match="no options"):
        open_query(root, "SELECT * FROM cars", f"{SQLITE}?mode=rwc")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite+pysqlite://"])
def test_a_database_in_memory_holds_nothing_to_read(root: Path, url: str) -> None:
    assert "names no file" in refused(root, "SELECT 1", url)


def test_a_file_that_is_no_database_is_told(root: Path) -> None:
    (root / "data" / "cars.db").write_text("a,b\n" * 1000)

    assert "file is not a database" in refused(root, "SELECT 1 FROM x")


def test_a_query_that_fails_midway_is_told_with_the_rows_it_had_given(root: Path) -> None:
    # the absolute value of the least integer is the one number SQLite cannot give
    query = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000) "
        "SELECT CASE WHEN i = 45000 THEN abs(-9223372036854775807 - 1) ELSE i END AS x FROM n"
    )

    batches = open_query(root, query).batches()

    assert [next(batches).num_rows for _ in range(4)] == [10_000] * 4
    with pytest.raises(
        SourceError, match=f"query on {SQLITE} failed after 40,000 rows: .*integer overflow"
    ):
        next(batches)


def test_text_that_is_no_utf8_is_told(root: Path) -> None:
    assert "Could not decode to UTF-8" in refused(root, "SELECT CAST(x'ff' AS TEXT) AS x")


def test_columns_that_change_between_opening_and_reading_are_told(root: Path) -> None:
    stream = open_query(root, "SELECT * FROM cars")

    with closing(sqlite3.connect(root / "data" / "cars.db")) as connection:
        connection.execute("ALTER TABLE cars ADD COLUMN color TEXT")

    with pytest.raises(SourceError, match="its columns changed"):
        stream.read()


def test_each_reading_asks_anew(root: Path) -> None:
    stream = open_query(root, "SELECT * FROM cars")

    assert [stream.read().num_rows, stream.read().num_rows] == [3, 3]
    assert (stream.parts[0].fingerprint, stream.parts[0].day) == ("", None)


def test_a_variable_of_the_url_is_looked_up_when_connecting(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "sqlite:///${FOLDER}/cars.db"
    assert "the environment variable FOLDER is not set" in refused(root, "SELECT 1 AS x", url)

    monkeypatch.setenv("FOLDER", "data")

    assert open_query(root, "SELECT 1 AS x", url).read().num_rows == 1
    assert source_name(SqlQuery(url=url, query="SELECT 1"), root=root) == f"query on {url}"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://u@localhost/db", "write postgresql+psycopg://"),
        ("postgres://u@localhost/db", "write postgresql+psycopg://"),
        ("postgresql+psycopg2://u@localhost/db", "evergreen-tables[postgres]"),
        ("oracle+nonsense://u@localhost/db", "'oracle+nonsense' is not installed"),
        ("nonsense://u@localhost/db", "evergreen-tables[postgres]"),
        ("sqlite+aiosqlite:///data/cars.db", "write sqlite:///path"),
    ],
)
def test_a_driver_that_is_not_there_is_told_with_what_to_do(
    root: Path, url: str, told: str
) -> None:
    with pytest.raises(UsageError) as raised:
        open_query(root, "SELECT 1 AS x", url)

    assert told in str(raised.value)


@pytest.mark.parametrize("text", ["no url", "postgresql+psycopg://h:${SECRET}/db", "${SECRET}"])
def test_a_url_that_cannot_be_read_is_told_without_what_it_holds(
    root: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")

    message = refused(root, "SELECT 1 AS x", text)

    assert "is not a database url" in message
    assert "hunter2" not in message


def test_the_stream_is_of_strings_before_a_row_is_read(root: Path) -> None:
    schema = open_query(root, "SELECT id, price FROM cars").schema

    assert schema == pa.schema([("id", pa.string()), ("price", pa.string())])
