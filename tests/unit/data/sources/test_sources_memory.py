"""The memory that reading takes, measured in a process of its own: a batch's, not a file's."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_PEAK = r"""
import re, sys
from datetime import date
from pathlib import Path
from pipeline_lib.config.sources import CsvFile, ParquetFile
from pipeline_lib.data.sources.open import open_source
kind = {"csv": CsvFile, "parquet": ParquetFile}[sys.argv[1].rpartition(".")[2]]
stream = open_source(kind(path=sys.argv[1]), root=Path("/"), run_date=date(2026, 5, 10))
n_bytes = sum(batch.nbytes for batch in stream.batches())
# getrusage would count what the process that started this one had
print(n_bytes, re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])
"""


def _peak_mb(path: Path) -> float:
    asked = [sys.executable, "-c", _PEAK, str(path)]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    n_bytes, peak_kb = map(int, done.stdout.split())
    assert n_bytes > 0.8 * path.stat().st_size
    return peak_kb / 1024


def _csv(path: Path, n_mb: int) -> Path:
    rows = b'08123,"some words, quoted",2026-05-01,1234567890,and some more of the same length\n'
    path.write_bytes(b"a,b,c,d,e\n" + rows * (n_mb * 1_000_000 // len(rows)))
    return path


def _one_row_group(path: Path, n_mb: int) -> Path:
    n_rows = n_mb * 1_000_000 // 100
    table = pa.table({"x": [f"{row:0100d}" for row in range(n_rows)]})
    pq.write_table(table, path, row_group_size=n_rows, compression="none", use_dictionary=False)
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("write", [_csv, _one_row_group])
def test_memory_does_not_grow_with_the_file(
    tmp_path: Path, write: Callable[[Path, int], Path]
) -> None:
    suffix = "csv" if write is _csv else "parquet"

    small = _peak_mb(write(tmp_path / f"small.{suffix}", 60))
    large = _peak_mb(write(tmp_path / f"large.{suffix}", 180))

    assert large < small + 40
