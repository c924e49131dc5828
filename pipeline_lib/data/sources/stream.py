"""Rows on their way from a source: batches, part by part, never the whole table at once."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa

from pipeline_lib.interruption import raise_if_heard

# Where a table's metadata says which columns of its source are not read, with their types.
LEFT_OUT = b"evergreen.left_out"


@dataclass(frozen=True)
class Part:
    """One file, or one query.

    `fingerprint` changes when the content does; empty where only reading shows it, as of a query.

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
    columns that are not read, and their types; a table says them in its metadata.
    """

    source: str
    schema: pa.Schema
    parts: tuple[Part, ...]
    missing_days: tuple[date, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of all parts."""
        for part in self.parts:
            for batch in part.batches():
                raise_if_heard()
                yield batch

    def read(self) -> pa.Table:
        """Return all rows as one table."""
        return self._table(self.batches())

    def head(self, n_rows: int) -> pa.Table:
        """Return the first rows; what comes after them is not read."""
        batches, n_left = list[pa.RecordBatch](), n_rows
        for batch in self.batches():
            batches.append(batch.slice(0, n_left))
            n_left -= len(batches[-1])
            if not n_left:
                break
        return self._table(batches)

    def _table(self, batches: Iterable[pa.RecordBatch]) -> pa.Table:
        table = pa.Table.from_batches(batches, self.schema)
        if not self.left_out:
            return table
        said = {LEFT_OUT: json.dumps(dict(self.left_out))}
        return table.replace_schema_metadata({**(table.schema.metadata or {}), **said})

    @classmethod
    def of(cls, table: pa.Table, *, source: str) -> "RowStream":
        """Return a stream of a table in memory."""
        return cls(source, table.schema, (Part(source, "", lambda: iter(table.to_batches())),))
