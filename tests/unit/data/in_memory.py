"""What the product does stream by stream, done at once on a table in memory."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa

from pipeline_lib.config.columns import Column
from pipeline_lib.config.data import DataSettings
from pipeline_lib.config.sources import Source
from pipeline_lib.config.validation import ValidationSettings
from pipeline_lib.data.contract.checker import ContractChecker
from pipeline_lib.data.snapshots.digest import ContentDigest
from pipeline_lib.data.sources.open import open_source


def content_digest(table: pa.Table) -> str:
    """Return the digest of a table."""
    digest = ContentDigest(table.schema)
    digest.add(table)
    return digest.finish()


def read_source(source: Source, *, root: Path, run_date: date | None = None) -> pa.Table:
    """Return all rows of a source, read today unless `run_date` says otherwise."""
    today = run_date or datetime.now(UTC).date()
    return open_source(source, root=root, run_date=today).read()


def check_rows(
    table: pa.Table,
    columns: Mapping[str, Column],
    data: DataSettings,
    validation: ValidationSettings,
    *,
    source: str,
    root: Path = Path(),
) -> pa.Table:
    """Return the rows to learn from, typed, without those in quarantine."""
    checker = ContractChecker(columns, data, validation, source=source, root=root)
    typed = checker.check(table).typed
    return checker.finish(lambda: [table]).kept(typed, 0)
