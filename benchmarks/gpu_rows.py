"""Synthetic encoded rows for the GPU benchmark: written to parquet once, read as tensors.

Columns are called as `pipeline_lib.encoding.tensors` calls them: ``cat:<name>``, ``num:<position>``
and ``y``. Codes are skewed toward the low ones; the label follows from codes and numbers, so that
losses fall.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from benchmarks.gpu_network import Shape

_GROUP_ROWS = 131_072


@dataclass(frozen=True)
class Rows:
    """Rows as tensors on one device.

    Shape:
        x_cat: ``(n_rows, n_category_columns)`` int32; x_num: ``(n_rows, n_numeric)`` floats;
        y: ``(n_rows,)`` int64 class numbers.
    """

    x_cat: Tensor
    x_num: Tensor
    y: Tensor

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.y)

    def to(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "Rows":
        """Return the rows on a device, numbers in `dtype`."""
        return Rows(self.x_cat.to(device), self.x_num.to(device, dtype), self.y.to(device))

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the batch of the rows named."""
        return (
            self.x_cat.index_select(0, rows),
            self.x_num.index_select(0, rows),
            self.y.index_select(0, rows),
        )


def write_rows(path: Path, shape: Shape, n_rows: int, *, seed: int = 0) -> None:
    """Write `n_rows` rows that fit a shape, row group by row group."""
    types = [(f"cat:c{i}", pa.int32()) for i in range(len(shape.cardinalities))]
    types += [(f"num:{i}", pa.float32()) for i in range(shape.n_numeric)]
    schema = pa.schema([*types, ("y", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for columns in _groups(shape, n_rows, np.random.default_rng(seed)):
            writer.write_table(pa.table(columns, schema=schema))


def read_rows(path: Path) -> Rows:
    """Read what `write_rows` wrote, onto the CPU."""
    table = pq.read_table(path)

    def tensor(prefix: str) -> Tensor:
        names = [name for name in table.column_names if name.startswith(prefix)]
        return torch.from_numpy(np.stack([table[name].to_numpy() for name in names], axis=1))

    return Rows(tensor("cat:"), tensor("num:"), tensor("y")[:, 0].contiguous())


def _groups(
    shape: Shape, n_rows: int, random: np.random.Generator
) -> Iterator[list[npt.NDArray[np.int32 | np.int64 | np.float32]]]:
    worth = [random.normal(size=n) for n in shape.cardinalities]
    edges = np.array([-2.0, 0.0, 2.0])
    assert len(edges) + 1 == shape.n_classes
    for start in range(0, n_rows, _GROUP_ROWS):
        n = min(_GROUP_ROWS, n_rows - start)
        codes = [(size * random.random(n) ** 2).astype(np.int32) for size in shape.cardinalities]
        numbers = [random.standard_normal(n, np.float32) for _ in range(shape.n_numeric)]
        score = sum(w[c] for w, c in zip(worth, codes, strict=True)) + numbers[0] - numbers[1]
        y = np.digitize(score + random.normal(size=n), edges).astype(np.int64)
        yield [*codes, *numbers, y]
