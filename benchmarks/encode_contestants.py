"""One contestant of the encoding benchmark in a process of its own: prints CPU seconds and memory.

Everyone runs on one thread and reads the same Parquet file; imports do not count as time. Memory
is the operating system's figure of the process, at its highest.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.zipf_table import CARDINALITIES, N_NUMBERS

WORDS = [f"c{position}" for position in range(len(CARDINALITIES))]
NUMBERS = [f"n{position}" for position in range(N_NUMBERS)]


class Clock:
    """CPU seconds of this process while it counts."""

    def __init__(self) -> None:
        self.seconds = 0.0

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
    from pipeline_lib.data.prepared import SplitRows
    from pipeline_lib.data.snapshot import Snapshot
    from pipeline_lib.encoding.prepared import encode_splits

    snapshot_folder = out / "snapshot"
    snapshot_folder.mkdir()
    (snapshot_folder / "rows.parquet").symlink_to(table)
    n_rows = pq.read_metadata(table).num_rows
    snapshot = Snapshot(snapshot_folder, "digest", n_rows, str(table))
    splits = pa.table({"split": np.zeros(n_rows, np.int8)})
    pq.write_table(splits, snapshot_folder / "assignment.parquet")
    counts = {"train": n_rows, "val": 0, "test": 0}
    rows = SplitRows(snapshot_folder, "digest", snapshot, "rule", counts, 0, ())
    config = zipf_config()
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


CONTESTANTS: dict[str, Callable[[Path, Path, Clock], None]] = {
    "floor": floor,
    "evergreen": evergreen,
    "pandas": pandas,
    "ordinal_encoder": ordinal_encoder,
    "load": load,
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
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": clock.seconds, "peak_mb": peak_mb}))


if __name__ == "__main__":
    main()
