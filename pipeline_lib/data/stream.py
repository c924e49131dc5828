"""Rows on their way from a source: batches, part by part, never the whole table at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from pipeline_lib.interruption import raise_if_heard


@dataclass(frozen=True)
class Part:
    """One file, or one query.

    `fingerprint` changes when the content does; empty where only reading tells, as of a query.

    `day` is the date in its name, for a source with a file per day.
    """

    name: str
    fingerprint: str
    batches: Callable[[], Iterator[pa.RecordBatch]]
    day: date | None = None


@dataclass(frozen=True)
class RowStream:
    """All rows of a source; each part can be read as often as one likes.

    Every batch has the schema. `missing_days` are days of the window without a part, `left_out`
    columns that are not read.
    """

    source: str
    schema: pa.Schema
    parts: tuple[Part, ...]
    missing_days: tuple[date, ...] = ()
    left_out: tuple[str, ...] = ()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all parts."""
        for part in self.parts:
            for batch in part.batches():
                raise_if_heard()
                yield batch

    def read(self) -> pa.Table:
        """Return all rows as one table."""
        return pa.Table.from_batches(self.batches(), self.schema)

    def head(self, n_rows: int) -> pa.Table:
        """Return the first rows; what comes after them is not read."""
        batches, n_left = list[pa.RecordBatch](), n_rows
        for batch in self.batches():
            batches.append(batch.slice(0, n_left))
            n_left -= len(batches[-1])
            if not n_left:
                break
        return pa.Table.from_batches(batches, self.schema)

    @classmethod
    def of(cls, table: pa.Table, *, source: str) -> "RowStream":
        """Return a stream of a table in memory."""
        return cls(source, table.schema, (Part(source, "", lambda: iter(table.to_batches())),))
