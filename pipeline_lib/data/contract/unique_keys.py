"""Whether a key stands once: exact over a whole stream, at 8 bytes a row.

The first pass keeps a 64-bit hash per row. Only where two are equal, which without duplicates
happens once in forty million tables of a million rows, a second look at the rows compares the keys
themselves; so a hash can neither invent a duplicate nor hide one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.data.contract.repeats import hash_rows
from pipeline_lib.data.hashing import Hashes

TypedBatches = Callable[[], Iterable[pa.Table]]
_ROW = "row"


@dataclass(frozen=True)
class RepeatedKeys:
    """Rows whose key an earlier row has; `table` holds them with their columns, `rows` where.

    Shape: rows ``(n_repeated,)``, positions in the stream from 0, ascending.
    """

    rows: npt.NDArray[np.int64]
    table: pa.Table


class KeyHashes:
    """Hashes of all keys of a stream; rows without a whole key have none and repeat none."""

    def __init__(self, key: Sequence[str]) -> None:
        """Start with no rows; `key` are names of columns."""
        self._key = list(key)
        self._parts: list[Hashes] = []

    def add(self, typed: pa.Table) -> None:
        """Take in a batch whose key columns have their declared types."""
        self._parts.append(hash_rows(typed, self._key)[_has_key(typed, self._key)])

    def repeated(self, batches: TypedBatches) -> RepeatedKeys | None:
        """Return the rows that repeat a key, or None.

        Args:
            batches: the same typed rows again; only asked where hashes are equal. Of the rows
                that may repeat a key all columns are held in memory: give what is needed.
        """
        hashes = np.concatenate([np.empty(0, np.uint64), *self._parts])
        hashes.sort()
        suspects = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        if not len(suspects):
            return None
        found: list[pa.Table] = []
        first_row = 0
        for batch in batches():
            mask = _is_in(hash_rows(batch, self._key), suspects) & _has_key(batch, self._key)
            rows = np.flatnonzero(mask)
            numbered = batch.take(pa.array(rows))
            found.append(numbered.append_column(_free_name(batch), pa.array(rows + first_row)))
            first_row += batch.num_rows
        return self._really_repeated(pa.concat_tables(found))

    def _really_repeated(self, suspects: pa.Table) -> RepeatedKeys | None:
        row = suspects.column_names[-1]
        values = [_plain_zero(suspects[name]) for name in self._key]
        names = [f"key {position}" for position in range(len(values))]
        keyed = pa.table([*values, suspects[row]], names=[*names, _ROW])
        groups = keyed.group_by(names, use_threads=False).aggregate([(_ROW, "min")])
        rows = suspects[row].to_numpy()
        repeated = ~np.isin(rows, groups[f"{_ROW}_min"].to_numpy())
        if not repeated.any():
            return None
        return RepeatedKeys(rows[repeated], suspects.drop_columns([row]).filter(pa.array(repeated)))


def _plain_zero(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the values with 0.0 for -0.0, which is the same key."""
    return pc.add(values, 0.0) if pa.types.is_floating(values.type) else values


def _has_key(typed: pa.Table, key: Sequence[str]) -> npt.NDArray[np.bool_]:
    present = np.ones(typed.num_rows, np.bool_)
    for name in key:
        if typed[name].null_count:
            present &= pc.is_valid(typed[name]).to_numpy()
    return present


def _is_in(hashes: Hashes, suspects: Hashes) -> npt.NDArray[np.bool_]:
    places = np.minimum(np.searchsorted(suspects, hashes), len(suspects) - 1)
    return suspects[places] == hashes


def _free_name(table: pa.Table) -> str:
    name = _ROW
    while name in table.column_names:
        name += "_"
    return name
