"""How much a source's rows may hold: what costs the sender little must not cost us the memory.

Rows are kept until there are some ten thousand of them, so that is what is bounded: the bytes of
neighbouring rows, as they lie in memory, and those of one row.
"""

from collections.abc import Iterator

import pyarrow as pa

from pipeline_lib.errors import SourceError

MAX_ROW_BYTES = 32 * 1024 * 1024
BATCH_BYTES = 64 * 1024 * 1024
_WINDOW_ROWS = 65_536
_MAX_WINDOW_BYTES = 512 * 1024 * 1024
# A damaged or hostile file can declare anything: 859 bytes were seen to hold 3 GB.
MAX_UNPACKED_BYTES = 1 << 30
MAX_RATIO = 1000
_WAY_OUT = "Leave long values out of the source"


class Amount:
    """Counts what a part of a source holds, and stops what is made to fill the memory.

    Args:
        name: what messages call the part.
        packed_bytes: the size of its file, where it may be packed.
    """

    def __init__(self, name: str, *, packed_bytes: int | None = None) -> None:
        self.name, self._packed = name, packed_bytes
        self._n_rows = self._window_rows = self._window_bytes = self._total = 0

    def add(self, n_rows: int, n_bytes: int) -> None:
        """Take in the next rows, best before they are unpacked.

        Raises:
            SourceError: they are too many bytes for so few rows, or for so small a file.
        """
        if self._window_rows >= _WINDOW_ROWS:
            self._window_rows = self._window_bytes = 0
        self._n_rows, self._window_rows = self._n_rows + n_rows, self._window_rows + n_rows
        self._window_bytes, self._total = self._window_bytes + n_bytes, self._total + n_bytes
        if self._packed is not None:
            is_much = self._total > MAX_UNPACKED_BYTES or self._window_bytes > BATCH_BYTES
            if is_much and self._total > MAX_RATIO * self._packed:
                raise made_to_fill(self.name, self._packed, self._total)
        if self._window_bytes > _MAX_WINDOW_BYTES:
            raise SourceError(
                f"{self.name}: {self._window_rows:,} rows, up to row {self._n_rows:,}, hold "
                f"{self._window_bytes:,} bytes, more than {_MAX_WINDOW_BYTES:,}. {_WAY_OUT}"
            )

    def of(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Yield batches that lie in memory, counted."""
        for batch in batches:
            self.add(batch.num_rows, batch.nbytes)
            yield batch


def together(batches: Iterator[pa.RecordBatch], n_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield neighbouring batches as one, up to a number of rows and `BATCH_BYTES`."""
    held, n_held, n_bytes = list[pa.RecordBatch](), 0, 0
    for batch in batches:
        if held and (n_held + len(batch) > n_rows or n_bytes + batch.nbytes > BATCH_BYTES):
            yield pa.concat_batches(held)
            held, n_held, n_bytes = [], 0, 0
        held.append(batch)
        n_held, n_bytes = n_held + len(batch), n_bytes + batch.nbytes
    if held:
        yield pa.concat_batches(held)


def made_to_fill(name: str, packed_bytes: int, n_bytes: int) -> SourceError:
    """Return what to say of a file that unpacks to far more than it is."""
    return SourceError(
        f"{name}: {packed_bytes:,} bytes come to {n_bytes:,} or more unpacked; it is damaged or "
        "made to fill the memory"
    )


def long_row(name: str, n_bytes: int) -> SourceError:
    """Return what to say of one row that is longer than any row may be."""
    return SourceError(
        f"{name}: a row of {n_bytes:,} bytes, more than {MAX_ROW_BYTES:,}. {_WAY_OUT}"
    )
