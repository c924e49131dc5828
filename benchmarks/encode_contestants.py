"""One contestant of the encoding benchmark in a process of its own: prints CPU seconds and memory.

Everyone runs on one thread and reads the same Parquet file; imports do not count as time. Memory
is the operating system's figure of the process, at its highest.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.zipf_table import CARDINALITIES, N_NUMBERS, write_zipf_table
from pipeline_lib.config.columns import Column

WORDS = [f"c{position}" for position in range(len(CARDINALITIES))]
NUMBERS = [f"n{position}" for position in range(N_NUMBERS)]


class Clock:
    """CPU seconds of this process while it counts."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.more: dict[str, float] = {}

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Add what happens within."""
        start = time.process_time()
        yield
        self.seconds += time.process_time() - start


def floor(table: Path, out: Path, clock: Clock) -> None:
    """Read the input, batch by batch, and write the finished output; nothing in between."""
    with clock.counting(), pq.ParquetFile(table, pre_buffer=False) as file:
        for _ in file.iter_batches(batch_size=131_072, use_threads=False):
            pass
    with pq.ParquetFile(out / "reference" / "train.parquet", pre_buffer=False) as file:
        writer = pq.ParquetWriter(
            out / "floor.parquet",
            file.schema_arrow,
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
        )
        for batch in file.iter_batches(batch_size=131_072, use_threads=False):
            with clock.counting():
                writer.write_batch(batch)
        with clock.counting():
            writer.close()


def evergreen(table: Path, out: Path, clock: Clock) -> None:
    """Encode a snapshot as a night does: ledger, fingerprints, checksums and all."""
    from pipeline_lib.data.snapshots.snapshot import Snapshot
    from pipeline_lib.data.splits.split_rows import SplitRows
    from pipeline_lib.encoding.encoded_splits import encode_splits
    from pipeline_lib.home import find_home

    snapshot_folder = out / "snapshot"
    snapshot_folder.mkdir()
    (snapshot_folder / "rows.parquet").symlink_to(table)
    n_rows = pq.read_metadata(table).num_rows
    config = zipf_config()
    dataset = find_home().dataset(config.name)
    snapshot = Snapshot(snapshot_folder, "digest", n_rows, str(table), dataset=dataset)
    splits = pa.table({"split": np.zeros(n_rows, np.int8)})
    pq.write_table(splits, snapshot_folder / "assignment.parquet")
    counts = {"train": n_rows, "val": 0, "test": 0}
    rows = SplitRows(snapshot_folder, "digest", snapshot, "rule", counts, 0, ())
    with clock.counting():
        encoded = encode_splits(config, rows, today="2026-01-01")
    reference = out / "reference"
    if not reference.exists():
        reference.symlink_to(encoded.folder)


def pandas(table: Path, out: Path, clock: Clock) -> None:
    """`cat.codes` of each column, numbers scaled, all stacked and written."""
    import pandas as pd

    with clock.counting():
        frame = pd.read_parquet(table)
        codes = np.stack([frame[c].astype("category").cat.codes for c in WORDS], axis=1)
        numbers = frame[NUMBERS]
        scaled = ((numbers - numbers.mean()) / numbers.std()).fillna(0.0).to_numpy(np.float32)
        missing = numbers.isna().to_numpy(np.float32)
        y = frame["y"].astype("category").cat.codes
        _write(out, codes.T, scaled, missing, y.to_numpy())


def ordinal_encoder(table: Path, out: Path, clock: Clock) -> None:
    """scikit-learn's OrdinalEncoder and StandardScaler."""
    import pandas as pd
    from sklearn.preprocessing import OrdinalEncoder, StandardScaler

    with clock.counting():
        frame = pd.read_parquet(table)
        codes = OrdinalEncoder().fit_transform(frame[WORDS])
        scaled = StandardScaler().fit_transform(frame[NUMBERS]).astype(np.float32)
        missing = np.isnan(scaled).astype(np.float32)
        y = OrdinalEncoder().fit_transform(frame[["y"]])[:, 0]
        codes = np.nan_to_num(codes, nan=-1).astype(np.int32)
        _write(out, codes.T, np.nan_to_num(scaled), missing, y.astype(np.int8))


def load(table: Path, out: Path, clock: Clock) -> None:
    """Read the encoded rows into arrays."""
    del table
    from pipeline_lib.encoding import Encoder, read_split

    encoder = Encoder.load(out / "reference")
    with clock.counting():
        read_split(out / "reference" / "train.parquet", encoder)


def zipf_config():
    """Return the config of the synthetic table."""
    from pipeline_lib.config import PipelineConfig

    columns: dict[str, dict[str, object]] = {
        **{name: {"kind": "category", "nullable": True} for name in WORDS},
        **{name: {"kind": "number", "nullable": True} for name in NUMBERS},
    }
    return PipelineConfig.model_validate(
        {
            "name": "zipf",
            "data": {
                "source": {"kind": "parquet", "path": "zipf.parquet"},
                "target": "y",
                "task": "binary",
            },
            "columns": columns,
        }
    )


def _write(out: Path, codes: np.ndarray, scaled: np.ndarray, missing: np.ndarray, y: np.ndarray):
    arrays = [pa.array(np.ascontiguousarray(column)) for column in codes]
    for position in range(scaled.shape[1]):
        arrays += [
            pa.array(np.ascontiguousarray(matrix[:, position])) for matrix in (scaled, missing)
        ]
    names = [str(position) for position in range(len(arrays) + 1)]
    table = pa.table([*arrays, pa.array(y)], names=names)
    pq.write_table(
        table,
        out / "rival.parquet",
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        row_group_size=131_072,
    )


def check(table: Path, out: Path, clock: Clock) -> None:
    """Profile, contract and drift of a million rows of 21 columns, batch by batch."""
    del table, out
    from datetime import date

    from pipeline_lib.config.data import DataSettings
    from pipeline_lib.config.validation import DriftSettings, ValidationSettings
    from pipeline_lib.data.contract.checker import ContractChecker
    from pipeline_lib.monitoring.drift import compare
    from pipeline_lib.monitoring.profile import Profile, Profiler

    columns, data = wide_contract()
    validation = ValidationSettings()
    profiles: list[Profile] = []
    start = time.process_time()
    for seed in range(2):
        batches = wide_batches(seed)
        start = time.process_time()
        checker = ContractChecker(
            columns, DataSettings.model_validate(data), validation, source="the table"
        )
        profiler = Profiler(columns, target="y", task="binary")
        for batch in batches:
            profiler.add(checker.check(batch).typed)
        checker.finish()
        profiles.append(profiler.finish())
    compare(profiles[0], profiles[1], settings=DriftSettings(), run_date=date(2026, 1, 2))
    seconds = time.process_time() - start
    clock.more["contract + profile + drift of 1M rows × 21 columns, CPU s (aim ≤ 5)"] = seconds


def predict(table: Path, out: Path, clock: Clock) -> None:
    """Encode one row, and many at once beside a pandas `map` per column."""
    del table, out
    import pandas as pd

    from pipeline_lib.encoding import Encoder

    config = zipf_config()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.parquet"
        write_zipf_table(path, 1_000_000)
        rows = pq.read_table(path)
    encoder = Encoder.fit(rows, config.columns, today="2026-01-01")
    one, many = rows.slice(7, 1), rows.slice(0, 200_000).combine_chunks()

    def encode(part: pa.Table) -> None:
        encoder.encode_categories(part)
        encoder.encode_numbers(part)

    encode(one)  # builds the dictionaries of words
    start = time.process_time()
    for _ in range(200):
        encode(one)
    clock.more["one row through the encoder, ms (aim ≤ 1)"] = (
        (time.process_time() - start) / 200 * 1000
    )
    start = time.process_time()
    encoder.encode_categories(many)
    ours = time.process_time() - start
    frame = many.select(WORDS).to_pandas()
    code_of = {
        name: dict(zip(words.categories.to_pylist(), words.codes.tolist(), strict=True))
        for name, words in encoder.vocabularies.items()
    }
    start = time.process_time()
    for name in WORDS:
        frame[name].map(code_of[name])
    theirs = time.process_time() - start
    clock.more["words of 200k rows in one call, CPU s"] = ours
    clock.more["the same with a pandas map per column, CPU s"] = theirs
    clock.more["pandas over ours (aim ≥ 4)"] = theirs / ours
    assert isinstance(frame, pd.DataFrame)


def wide_contract() -> tuple[dict[str, Column], dict[str, object]]:
    """Return columns and data settings of a table of 10 columns of words and 11 of numbers."""
    from pipeline_lib.config.columns import CategoryColumn, NumberColumn

    columns: dict[str, Column] = {
        **{f"c{number}": CategoryColumn(nullable=True) for number in range(10)},
        **{f"n{number}": NumberColumn(nullable=True, minimum=-100) for number in range(11)},
    }
    source = {"kind": "parquet", "path": "wide.parquet"}
    return columns, {"source": source, "target": "y", "task": "binary"}


def wide_batches(seed: int) -> list[pa.Table]:
    """Return a million rows of that table in batches of 131,072."""
    random, n_rows = np.random.default_rng(seed), 1_000_000
    columns: dict[str, pa.Array] = {}
    for number in range(10):
        cardinality = (5, 10, 20, 50, 100, 500, 1_000, 5_000, 20_000, 100_000)[number]
        words = pa.array([f"word-{word}" for word in range(cardinality)])
        picked = np.minimum(random.zipf(1.3, n_rows) - 1, cardinality - 1)
        columns[f"c{number}"] = words.take(pa.array(picked))
    for number in range(11):
        values = random.normal(number, 1 + number, n_rows)
        columns[f"n{number}"] = pa.array(values, mask=random.random(n_rows) < 0.05)
    columns["y"] = pa.array(np.where(random.random(n_rows) < 0.3, "yes", "no").tolist())
    table = pa.table(columns)
    return [table.slice(start, 131_072) for start in range(0, n_rows, 131_072)]


def _peak_mb() -> float:
    """Return the most memory that this process had at once, as the system saw it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (peak,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(peak) / 1024


CONTESTANTS: dict[str, Callable[[Path, Path, Clock], None]] = {
    "floor": floor,
    "evergreen": evergreen,
    "pandas": pandas,
    "ordinal_encoder": ordinal_encoder,
    "load": load,
    "check": check,
    "predict": predict,
}


def main() -> None:
    """Run one contestant: NAME, TABLE, OUT."""
    name, table, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    pa.set_cpu_count(1)
    clock = Clock()
    with tempfile.TemporaryDirectory(dir=out) as scratch:
        place = Path(scratch)
        if (out / "reference").exists():
            (place / "reference").symlink_to((out / "reference").resolve())
        CONTESTANTS[name](table, place, clock)
    print(json.dumps({"cpu_s": clock.seconds, "peak_mb": _peak_mb(), **clock.more}))


if __name__ == "__main__":
    main()
