"""The synthetic tables of the training benchmark, and what one measurement of it reports.

Everyone reads the same arrays, so this file needs numpy alone (pyarrow only to write Parquet).
Codes count from 0 and are Zipf-distributed; which codes are frequent is drawn, so that they do not
lie side by side in an embedding. The target is drawn from five classes whose scores add up an
effect per category and a weight per number.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

SMALL = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_000, 5_000)
LARGE = (1_000_000, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_000)
N_NUMBERS, N_CLASSES = 5, 5
D_HIDDEN = (200, 100, 50)
DROPOUT, LEARNING_RATE, BATCH_ROWS = 0.1, 1e-3, 1024
# Rows of a first, uncounted training, and rows of the loss that is shown at the end.
WARM_UP_ROWS, LOSS_ROWS = 8 * BATCH_ROWS, 20 * BATCH_ROWS
ROW_GROUP_ROWS = 131_072
CATEGORIES = [f"c{position}" for position in range(len(SMALL))]
NUMBERS = [f"n{position}" for position in range(N_NUMBERS)]
_EXPONENT = 1.1


@dataclass(frozen=True)
class Outcome:
    """What one measurement gave: `n_rows` went through in `cpu_s`; `loss` where rows taught."""

    cpu_s: float
    n_rows: int
    loss: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows to learn from, and how often.

    Shape:
        x_cat: ``(n_rows, 10)`` int64 codes below `cardinalities`;
        x_num: ``(n_rows, 5)`` float32;
        y: ``(n_rows,)`` int64 classes.
    """

    x_cat: npt.NDArray[np.int64]
    x_num: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    cardinalities: tuple[int, ...]
    epochs: int

    @classmethod
    def load(cls, folder: Path) -> "Table":
        """Read what `write_arrays` wrote."""
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        arrays = [np.load(folder / f"{name}.npy") for name in ("x_cat", "x_num", "y")]
        return cls(*arrays, tuple(about["cardinalities"]), about["epochs"])

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.y)

    def head(self, n_rows: int, *, epochs: int = 1) -> "Table":
        """Return the first rows, to be learned from `epochs` times."""
        first = slice(0, n_rows)
        return Table(
            self.x_cat[first], self.x_num[first], self.y[first], self.cardinalities, epochs
        )


def embedding_width(n_categories: int) -> int:
    """Return the textbook's width.

    >>> [embedding_width(n) for n in (5, 50, 5_000)]
    [3, 25, 50]
    """
    return min(50, (n_categories + 1) // 2)


def log_loss(probs: npt.ArrayLike, y: npt.NDArray[np.int64]) -> float:
    """Return the mean negative log of the probability ``(n_rows, 5)`` given to what came."""
    given = np.asarray(probs, dtype=np.float64)[np.arange(len(y)), y]
    return float(-np.log(np.maximum(given, 1e-12)).mean())


def constant_loss(y: npt.NDArray[np.int64]) -> float:
    """Return the loss of who knows nothing but how frequent the classes are."""
    shares = np.bincount(y, minlength=N_CLASSES) / len(y)
    return log_loss(np.tile(shares, (len(y), 1)), y)


def write_arrays(
    folder: Path, cardinalities: Sequence[int], n_rows: int, *, epochs: int, seed: int = 0
) -> None:
    """Write a table as `.npy` files."""
    folder.mkdir(parents=True)
    blocks = list(_blocks(cardinalities, n_rows, seed))
    for name, parts in zip(("x_cat", "x_num", "y"), zip(*blocks, strict=True), strict=True):
        np.save(folder / f"{name}.npy", np.concatenate(parts))
    about = {"cardinalities": cardinalities, "epochs": epochs}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def write_parquet(path: Path, cardinalities: Sequence[int], n_rows: int, *, seed: int = 0) -> None:
    """Write a table as Parquet: codes int32, numbers float32, `y` int8, as encoded splits are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = [pa.int32()] * len(CATEGORIES) + [pa.float32()] * N_NUMBERS + [pa.int8()]
    names = [*CATEGORIES, *NUMBERS, "y"]
    schema = pa.schema(list(zip(names, types, strict=True)))
    with pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=False, write_statistics=False
    ) as writer:
        for x_cat, x_num, y in _blocks(cardinalities, n_rows, seed):
            columns = [*x_cat.astype(np.int32).T, *x_num.T, y.astype(np.int8)]
            arrays = [pa.array(np.ascontiguousarray(column)) for column in columns]
            writer.write_table(pa.table(arrays, schema=schema), row_group_size=ROW_GROUP_ROWS)


def run_contestant(contestants: Mapping[str, Callable[[Path], Outcome]]) -> None:
    """Run the one named on the command line on the folder named there, and print its outcome.

    With it goes the most memory that this process had, as the operating system saw it.
    """
    outcome = contestants[sys.argv[1]](Path(sys.argv[2]))
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    print("\n" + json.dumps({**asdict(outcome), "peak_mb": int(peak) / 1024}))


def _blocks(
    cardinalities: Sequence[int], n_rows: int, seed: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.int64]]]:
    random = np.random.default_rng(seed)
    curves = [_cumulated(n) for n in cardinalities]
    names = [random.permutation(n) for n in cardinalities]
    effects = [0.5 * random.standard_normal((n, N_CLASSES), np.float32) for n in cardinalities]
    weights = 0.5 * random.standard_normal((N_NUMBERS, N_CLASSES), np.float32)
    for start in range(0, n_rows, ROW_GROUP_ROWS):
        n = min(ROW_GROUP_ROWS, n_rows - start)
        picked = [np.searchsorted(curve, random.random(n)) for curve in curves]
        codes = [known[ranks] for known, ranks in zip(names, picked, strict=True)]
        x_num = random.standard_normal((n, N_NUMBERS), np.float32)
        scores = x_num @ weights + random.gumbel(size=(n, N_CLASSES))
        for effect, column in zip(effects, codes, strict=True):
            scores += effect[column]
        yield np.stack(codes, axis=1), x_num, scores.argmax(axis=1)


def _cumulated(cardinality: int) -> npt.NDArray[np.float64]:
    curve = np.cumsum(np.arange(1, cardinality + 1, dtype=np.float64) ** -_EXPONENT)
    return curve / curve[-1]
