"""Encoded splits as parquet tensors: one column per input, the narrowest integers that fit.

Columns are called ``cat:<name>``, ``num:<position>`` and ``y``; the encoder's fingerprint stands
in the schema's metadata, and a file of another encoder is refused.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.encoding.encoder import Encoder
from pipeline_lib.encoding.target import Target
from pipeline_lib.errors import StorageError

ROW_GROUP_ROWS = 131_072
_FINGERPRINT = b"evergreen.encoder"


@dataclass(frozen=True)
class EncodedSplit:
    """One split, ready for a network.

    Shape:
        x_cat: ``(n_rows, n_category_columns)`` int32; x_num: ``(n_rows, n_numeric)`` float32;
        y: ``(n_rows,)`` int64 class numbers or float32 standardized values.
    """

    x_cat: npt.NDArray[np.int32]
    x_num: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64] | npt.NDArray[np.float32]

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.y)

    @classmethod
    def of(cls, rows: pa.Table, encoder: Encoder, target: Target) -> "EncodedSplit":
        """Encode typed rows that hold the target."""
        return cls(
            encoder.encode_categories(rows),
            encoder.encode_numbers(rows),
            target.encode(rows[target.column]),
        )


def write_split(path: Path, split: EncodedSplit, encoder: Encoder) -> None:
    """Write a split as zstd parquet with row groups of 131,072 rows."""
    names = [f"cat:{name}" for name in encoder.vocabularies]
    arrays = [
        pa.array(split.x_cat[:, position].astype(np.min_scalar_type(cardinality - 1)))
        for position, cardinality in enumerate(encoder.cardinalities)
    ]
    names += [f"num:{position}" for position in range(split.x_num.shape[1])]
    arrays += [pa.array(split.x_num[:, position]) for position in range(split.x_num.shape[1])]
    y = split.y
    if y.dtype == np.int64:
        y = y.astype(np.min_scalar_type(int(y.max(initial=0))))
    table = pa.table([*arrays, pa.array(y)], names=[*names, "y"])
    table = table.replace_schema_metadata({_FINGERPRINT: encoder.fingerprint()})
    pq.write_table(table, path, compression="zstd", row_group_size=ROW_GROUP_ROWS)


def read_split(path: Path, encoder: Encoder) -> EncodedSplit:
    """Read what `write_split` wrote.

    Raises:
        StorageError: the file was written by another encoder.
    """
    table = pq.read_table(path)
    if (table.schema.metadata or {}).get(_FINGERPRINT) != encoder.fingerprint().encode():
        raise StorageError(f"{path} was encoded by another encoder; encode again")
    n_rows, n_categories = table.num_rows, len(encoder.vocabularies)
    x_cat = np.empty((n_rows, n_categories), np.int32)
    x_num = np.empty((n_rows, encoder.n_numeric), np.float32)
    for position in range(n_categories):
        x_cat[:, position] = table.column(position).to_numpy()
    for position in range(encoder.n_numeric):
        x_num[:, position] = table.column(n_categories + position).to_numpy()
    y = table["y"].to_numpy()
    return EncodedSplit(x_cat, x_num, y.astype(np.float32 if y.dtype.kind == "f" else np.int64))
