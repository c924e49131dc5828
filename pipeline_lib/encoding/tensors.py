"""Encoded splits as parquet tensors: one column per input, the narrowest integers that fit.

Columns are called ``cat:<name>``, ``num:<position>``, ``y`` and, where rows have weights,
``weight``; the encoder's fingerprint stands in the schema's metadata, and a file of another encoder
is refused. Files are written and read row group by row group, and can be iterated over where a
split does not fit into memory.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.data.arrow import BATCH_ROWS
from pipeline_lib.encoding.encoder import Encoder
from pipeline_lib.encoding.target import ClassTarget, Target
from pipeline_lib.encoding.weights import RowWeights
from pipeline_lib.errors import StorageError
from pipeline_lib.wording import first_line

ROW_GROUP_ROWS = BATCH_ROWS
_FINGERPRINT = b"evergreen.encoder"
_WEIGHT = pa.field("weight", pa.float32())
_Y_TYPES = (pa.float32(), pa.uint8(), pa.uint16(), pa.uint32())

Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class EncodedSplit:
    """One split, ready for a network.

    Shape:
        x_cat: ``(n_rows, n_code_columns)`` int32; x_num: ``(n_rows, n_numeric)`` float32;
        y: ``(n_rows,)`` int64 class numbers or float32 standardized values; weight: ``(n_rows,)``
        float32 above 0, in units of the training rows' mean; None where all rows count alike.
    """

    x_cat: npt.NDArray[np.int32]
    x_num: npt.NDArray[np.float32]
    y: Labels
    weight: npt.NDArray[np.float32] | None = None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.y)

    @classmethod
    def of(
        cls, rows: pa.Table, encoder: Encoder, target: Target, weights: RowWeights | None = None
    ) -> "EncodedSplit":
        """Encode typed rows that hold the target and, with `weights`, a weight above 0."""
        return cls(
            encoder.encode_categories(rows),
            encoder.encode_numbers(rows),
            target.encode(rows[target.column]),
            None if weights is None else weights.encode(rows[weights.column]),
        )

    @classmethod
    def empty(
        cls, n_rows: int, encoder: Encoder, *, y_type: npt.DTypeLike, weighted: bool = False
    ) -> "EncodedSplit":
        """Return a split whose arrays are there but not filled."""
        return cls(
            np.empty((n_rows, len(encoder.code_inputs)), np.int32),
            np.empty((n_rows, encoder.n_numeric), np.float32),
            np.empty(n_rows, y_type),
            np.empty(n_rows, np.float32) if weighted else None,
        )

    def take(self, rows: npt.NDArray[np.intp]) -> "EncodedSplit":
        """Return some rows, in the order given."""
        weight = None if self.weight is None else self.weight[rows]
        return EncodedSplit(self.x_cat[rows], self.x_num[rows], self.y[rows], weight)

    def slice(self, start: int, stop: int) -> "EncodedSplit":
        """Return rows `start` to `stop` as views."""
        rows = slice(start, stop)
        weight = None if self.weight is None else self.weight[rows]
        return EncodedSplit(self.x_cat[rows], self.x_num[rows], self.y[rows], weight)


class SplitWriter(AbstractContextManager["SplitWriter"]):
    """Writes one split as zstd parquet, in row groups of 131,072 rows whatever comes at a time."""

    def __init__(
        self, path: Path, encoder: Encoder, target: Target, *, weighted: bool = False
    ) -> None:
        y_type = code_type(len(target.classes)) if isinstance(target, ClassTarget) else np.float32
        fields = [*_inputs(encoder), pa.field("y", pa.from_numpy_dtype(y_type))]
        fields += [_WEIGHT] if weighted else []
        self._schema = pa.schema(fields, {_FINGERPRINT: encoder.fingerprint()})
        # Without dictionaries of integers and unread statistics: half the time, measured on
        # 2M rows of 15 columns (2026-11). With a checksum per page: zstd as Arrow writes it has
        # none, and a flipped bit would be another code.
        self._writer = pq.ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
            write_page_checksum=True,
        )
        self._pending: list[pa.Table] = []
        self._n_pending = 0

    def write(self, columns: Sequence[npt.NDArray[np.generic]]) -> None:
        """Take rows as arrays of one type each: codes, floats, target, weights if there are any."""
        arrays = [
            pa.array(column).cast(field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._pending.append(pa.table(arrays, self._schema))
        self._n_pending += len(arrays[-1])
        if self._n_pending >= ROW_GROUP_ROWS:
            self._flush(self._n_pending - self._n_pending % ROW_GROUP_ROWS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what is left, and the footer; after an error nothing of use stays."""
        if kind is None and self._n_pending:
            self._flush(self._n_pending)
        self._writer.close()

    def _flush(self, n_rows: int) -> None:
        table = pa.concat_tables(self._pending)
        self._writer.write_table(table.slice(0, n_rows), row_group_size=ROW_GROUP_ROWS)
        rest = table.slice(n_rows)
        self._pending, self._n_pending = ([rest] if rest.num_rows else []), rest.num_rows


def code_type(cardinality: int) -> np.dtype[np.unsignedinteger]:
    """Return the narrowest type that holds so many codes."""
    return np.min_scalar_type(max(cardinality, 1) - 1)


def read_split(path: Path, encoder: Encoder) -> EncodedSplit:
    """Read a whole split into arrays that are allocated once.

    Raises:
        StorageError: the file is damaged, or was written by another encoder.
    """
    file = _open(path, encoder)
    return _read(file, range(file.num_row_groups), encoder, path)


class SplitFile:
    """An encoded split that stays in its file; row groups are read by number.

    Raises:
        StorageError: the file is damaged, or was written by another encoder.
    """

    def __init__(self, path: Path, encoder: Encoder) -> None:
        self._path, self._encoder = path, encoder
        self._file = _open(path, encoder)

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return int(self._file.metadata.num_rows)

    @property
    def n_groups(self) -> int:
        """The number of row groups."""
        return int(self._file.num_row_groups)

    @property
    def size_bytes(self) -> int:
        """What all rows take in memory, as `EncodedSplit` holds them."""
        empty = self.room(1)
        of_weight = 0 if empty.weight is None else empty.weight.nbytes
        return self.n_rows * (empty.x_cat.nbytes + empty.x_num.nbytes + empty.y.nbytes + of_weight)

    @property
    def is_weighted(self) -> bool:
        """Whether rows have weights."""
        return _is_weighted(self._file)

    def read(self, groups: Sequence[int], into: EncodedSplit | None = None) -> EncodedSplit:
        """Return row groups, one after the other; errors as of the class.

        Args:
            groups: their numbers.
            into: arrays of at least as many rows, to be filled; new ones without it.
        """
        return _read(self._file, groups, self._encoder, self._path, into)

    def in_groups(self) -> Iterator[EncodedSplit]:
        """Yield all rows, row group by row group; errors as of the class."""
        for number in range(self.n_groups):
            yield self.read([number])

    def labels(self) -> Iterator[npt.NDArray[np.generic]]:
        """Yield the target alone, in the file's type, row group by row group; errors likewise."""
        return self._column("y")

    def weights(self) -> Iterator[npt.NDArray[np.float32] | None]:
        """Yield the weights alone, None where there are none, group by group; errors likewise."""
        if self.is_weighted:
            return self._column("weight")
        return iter([None] * self.n_groups)

    def _column(self, name: str) -> Iterator[npt.NDArray[Any]]:
        for number in range(self.n_groups):
            with _damage_named(self._path):
                column = self._file.read_row_group(number, columns=[name], use_threads=False)[name]
            yield column.to_numpy()

    def room(self, n_rows: int) -> EncodedSplit:
        """Return arrays that `read` can fill."""
        return _room(self._file, n_rows, self._encoder)


_DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError, OverflowError, MemoryError)


@contextmanager
def _damage_named(path: Path) -> Generator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise StorageError(f"{path} cannot be read: {first_line(error)}; encode again") from None


def _open(path: Path, encoder: Encoder) -> pq.ParquetFile:
    with _damage_named(path):
        file = pq.ParquetFile(path, page_checksum_verification=True)
        schema = file.schema_arrow
    if (schema.metadata or {}).get(_FINGERPRINT) != encoder.fingerprint().encode():
        raise StorageError(f"{path} was encoded by another encoder; encode again")
    # No checksum covers the footer, where one flipped bit makes a float column one of booleans.
    fields = list(schema)
    inputs, targets = _inputs(encoder), [pa.field("y", kind) for kind in _Y_TYPES]
    if fields not in [[*inputs, t, *more] for t in targets for more in ([], [_WEIGHT])]:
        raise StorageError(f"{path} cannot be read: its columns are damaged; encode again")
    return file


def _inputs(encoder: Encoder) -> list[pa.Field]:
    """Return the columns of a split without the target."""
    codes = zip(encoder.code_inputs, encoder.cardinalities, strict=True)
    fields = [pa.field(f"cat:{name}", pa.from_numpy_dtype(code_type(n))) for name, n in codes]
    return [*fields, *(pa.field(f"num:{n}", pa.float32()) for n in range(encoder.n_numeric))]


def _room(file: pq.ParquetFile, n_rows: int, encoder: Encoder) -> EncodedSplit:
    is_number = pa.types.is_floating(file.schema_arrow.field("y").type)
    y_type = np.float32 if is_number else np.int64
    return EncodedSplit.empty(n_rows, encoder, y_type=y_type, weighted=_is_weighted(file))


def _is_weighted(file: pq.ParquetFile) -> bool:
    return file.schema_arrow.names[-1] == _WEIGHT.name


def _read(
    file: pq.ParquetFile,
    numbers: Sequence[int],
    encoder: Encoder,
    path: Path,
    into: EncodedSplit | None = None,
) -> EncodedSplit:
    """Return row groups in arrays allocated once."""
    with _damage_named(path):
        sizes: list[int] = [file.metadata.row_group(number).num_rows for number in numbers]
        room = into or _room(file, sum(sizes), encoder)
        split = room.slice(0, sum(sizes))
        start = 0
        for number, n_rows in zip(numbers, sizes, strict=True):
            table = file.read_row_group(number, use_threads=False)
            _put(split.slice(start, start + n_rows), [c.to_numpy() for c in table.columns])
            start += n_rows
    return split


def _put(split: EncodedSplit, columns: Sequence[npt.NDArray[np.generic]]) -> None:
    n_codes, n_floats = split.x_cat.shape[1], split.x_num.shape[1]
    n_last = 1 if split.weight is None else 2
    if len(columns) != n_codes + n_floats + n_last or len(columns[-1]) != split.n_rows:
        raise ValueError("its columns and rows are not those of its metadata")
    for position in range(n_codes):
        split.x_cat[:, position] = columns[position]
    for position in range(n_floats):
        split.x_num[:, position] = columns[n_codes + position]
    split.y[:] = columns[n_codes + n_floats]
    if split.weight is not None:
        split.weight[:] = columns[-1]
