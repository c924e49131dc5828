"""A database for tests of queries: three cars in a file of SQLite."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project root with an SQLite file, `data/cars.db`, of three cars."""
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data" / "cars.db")) as connection:
        connection.execute("CREATE TABLE cars (id INTEGER, zip TEXT, price REAL, sold DATE)")
        connection.executemany(
            "INSERT INTO cars VALUES (?, ?, ?, ?)",
            [
                (1, "08123", 9.5, "2026-05-09"),
                (2, None, 10.0, "2026-05-10"),
                (3, "", None, "2026-05-11"),
            ],
        )
        connection.commit()
    return tmp_path
