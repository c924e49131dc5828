"""A disk that refuses in the middle of a write, by a real limit of the operating system."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = """
import resource, sys
import numpy as np
import pyarrow as pa
from pipeline_lib.home import find_home
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import check_snapshot
from pipeline_lib.data.splits.split_rows import split_checked
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.splits.assign import SPLITS
from pipeline_lib.data.sources.stream import Part, RowStream
from pipeline_lib.encoding import encoded_splits
from pipeline_lib.encoding.encoded_splits import encode_splits, read_ledger
from pipeline_lib.errors import StorageError

limit_bytes, step = int(sys.argv[1]), sys.argv[2]
encoded_splits._MIN_KEPT_ROWS = 10**9 if step == "numbered" else 1000
config = PipelineConfig.model_validate({
    "name": "cars",
    "data": {
        "source": {"kind": "csv", "path": "cars.csv"}, "target": "label", "task": "binary"
    },
    "columns": {
        "word": {"kind": "category", "severity": "quarantine", "nullable": False},
        "size": {"kind": "number"},
    },
    "validation": {"quarantine": {"max_percent": 60, "max_rows": 1_000_000}},
})

def table(n_rows):
    random = np.random.default_rng(n_rows)
    words = [f"{i * 7919 % 1000003:012}" for i in range(n_rows)]
    return pa.table({
        "word": pa.array(words, mask=random.random(n_rows) < 0.4),
        "size": random.normal(size=n_rows),
        "label": np.where(random.random(n_rows) < 0.5, "yes", "no"),
    })

def stream(*sizes):
    tables = [table(n) for n in sizes]
    parts = [
        Part(f"part {n}", f"print {n}", lambda rows=rows: iter(rows.to_batches()))
        for n, rows in zip(sizes, tables)
    ]
    return RowStream("cars.csv", tables[0].schema, tuple(parts))

def snapshot(*sizes):
    return take_snapshot(find_home().dataset(config.name), stream(*sizes))

def encoded(rows, **encoding):
    settings = config.encoding.model_copy(update=encoding)
    return encode_splits(
        config.model_copy(update={"encoding": settings}), rows, today="2026-01-01"
    )

def bits(data):
    splits = [data.read(name) for name in SPLITS]
    return [a.tobytes() for s in splits for a in (s.x_cat, s.x_num, s.y)]

small = snapshot(2000, 2001)
rows = split_checked(config, check_snapshot(config, small))
before = encoded(rows)
ledger = read_ledger(find_home().dataset("cars"))
known = bits(before), {n: v.categories.to_pylist() for n, v in ledger.items()}

large = checked = assigned = None
if step != "snapshot":
    large = snapshot(60_000, 2001)
if step not in ("snapshot", "quarantine"):
    checked = check_snapshot(config, large)
if step in ("segments", "numbered", "encoded"):
    assigned = split_checked(config, checked)
if step == "encoded":
    encoded(assigned, min_count=2)  # its segments are kept
steps = {
    "snapshot": lambda: snapshot(60_000, 2001),
    "quarantine": lambda: check_snapshot(config, large),
    "split": lambda: split_checked(config, checked),
    "segments": lambda: encoded(assigned),
    "numbered": lambda: encoded(assigned),
    "encoded": lambda: encoded(assigned, min_count=3),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
try:
    steps[step]()
    print("nothing was refused")
except StorageError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)

again = encoded(split_checked(config, check_snapshot(config, snapshot(2000, 2001))))
ledger = {n: v.categories.to_pylist() for n, v in read_ledger(find_home().dataset("cars")).items()}
print(not again.is_new and (bits(again), ledger) == known)
after = encoded(split_checked(config, check_snapshot(config, snapshot(60_000, 2001))))
print(sum(after.read(name).n_rows for name in SPLITS) > 30_000)
"""


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[int, str], list[str]]:
    """Return a function that limits the size of files while one step runs; and what it says."""

    def run(limit_bytes: int, step: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(limit_bytes), step],
            env={**os.environ, "EVERGREEN_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()

    return run


@pytest.mark.parametrize(
    ("step", "limit_bytes"),
    [
        ("snapshot", 100_000),
        ("quarantine", 20_000),
        ("split", 20_000),
        ("segments", 0),
        ("segments", 100_000),
        ("numbered", 100_000),
        ("encoded", 1_000),
        ("encoded", 100_000),
    ],
)
def test_a_full_disk_is_told_and_nothing_half_written_is_believed_later(
    tmp_path: Path, refused: Callable[[int, str], list[str]], step: str, limit_bytes: int
) -> None:
    message, old_is_whole, new_is_whole = refused(limit_bytes, step)

    assert message.startswith("cannot write ")
    assert ("/rows:" if step == "snapshot" else f"/{step}") in message
    assert "File too large" in message
    assert old_is_whole == "True"
    assert new_is_whole == "True"
    left = [path.name for path in (tmp_path / "home").rglob(".*")]
    assert left == []
