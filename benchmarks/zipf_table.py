"""The synthetic table of the encoding benchmark: Zipf-distributed words and numbers with gaps."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

CARDINALITIES = (5, 10, 25, 50, 100, 1_000, 10_000, 100_000, 300_000, 1_000_000)
N_NUMBERS = 5
_NULL_WORDS = 0.02
_NULL_NUMBERS = 0.05
_CHUNK_ROWS = 4 * 131_072
_EXPONENT = 1.1


def write_zipf_table(path: Path, n_rows: int, *, seed: int = 0) -> None:
    """Write `n_rows` rows: columns `c0`… of words, `n0`… of numbers, and `y` (two classes).

    Snappy, dictionaries, row groups of 131,072 rows as a snapshot has them.
    """
    random = np.random.default_rng(seed)
    curves = [_cumulated(cardinality) for cardinality in CARDINALITIES]
    words = [
        pa.array([f"{name:07x}-{cardinality}" for name in random.permutation(cardinality)])
        for cardinality in CARDINALITIES
    ]
    writer: pq.ParquetWriter | None = None
    for start in range(0, n_rows, _CHUNK_ROWS):
        n = min(_CHUNK_ROWS, n_rows - start)
        columns: dict[str, pa.Array] = {}
        for position, (curve, known) in enumerate(zip(curves, words, strict=True)):
            picked = np.searchsorted(curve, random.random(n)).astype(np.int32)
            indices = pa.array(picked, mask=random.random(n) < _NULL_WORDS)
            columns[f"c{position}"] = known.take(indices)
        for position in range(N_NUMBERS):
            values = random.lognormal(0.0, 0.5 + position / 4, n)
            columns[f"n{position}"] = pa.array(values, mask=random.random(n) < _NULL_NUMBERS)
        columns["y"] = pa.array(np.where(random.random(n) < 0.3, "yes", "no"))
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=131_072)
    assert writer is not None
    writer.close()


def _cumulated(cardinality: int) -> npt.NDArray[np.float64]:
    weights = np.arange(1, cardinality + 1, dtype=np.float64) ** -_EXPONENT
    curve = np.cumsum(weights)
    return curve / curve[-1]
