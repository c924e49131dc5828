"""Queries asked on one night, and what is said of those that are refused."""

from datetime import date
from pathlib import Path

import pytest

from pipeline_lib.config.sources import SqlQuery
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.errors import EvergreenError

NIGHT = date(2026, 5, 10)
SQLITE = "sqlite:///data/cars.db"


def open_query(root: Path, query: str, url: str = SQLITE) -> RowStream:
    return open_source(SqlQuery(url=url, query=query), root=root, run_date=NIGHT)


def refused(root: Path, query: str, url: str = SQLITE) -> str:
    with pytest.raises(EvergreenError) as raised:
        open_query(root, query, url).read()
    return str(raised.value)
