"""Memory of a night's data path, as the operating system saw it: it does not grow with the rows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_NIGHT = """
import sys
from datetime import date
import numpy as np
import pyarrow as pa
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.checked import check_snapshot
from pipeline_lib.data.prepared import split_checked
from pipeline_lib.data.snapshot import take_snapshot
from pipeline_lib.data.stream import Part, RowStream
from pipeline_lib.data.watch import Watch
from pipeline_lib.encoding.prepared import encode_splits

n_batches = int(sys.argv[1])
schema = pa.schema([("word", pa.string()), ("size", pa.float64()), ("y", pa.string())])

def batches():
    for seed in range(n_batches):
        random = np.random.default_rng(seed)
        words = (random.zipf(1.3, 50_000) % 50_000).astype(str).tolist()
        yes = np.where(random.random(50_000) < 0.3, "yes", "no").tolist()
        yield pa.RecordBatch.from_arrays(
            [pa.array(words), pa.array(random.normal(size=50_000)), pa.array(yes)], schema=schema
        )

config = PipelineConfig.model_validate({
    "name": "big",
    "data": {"source": {"kind": "csv", "path": "x"}, "target": "y", "task": "binary"},
    "columns": {"word": {"kind": "category"}, "size": {"kind": "number"}},
})
snapshot = take_snapshot("big", RowStream("big", schema, (Part("big", "", batches),)))
watch = Watch(config, snapshot, {})
checked = check_snapshot(config, snapshot, on_batch=watch.see)
watch.finish(reference=None, run_date=date(2026, 1, 1))
encode_splits(config, split_checked(config, checked), today="2026-01-01")
status = open("/proc/self/status").read()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def _peak_mb(n_batches: int, home: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _NIGHT, str(n_batches)],
        env={"EVERGREEN_HOME": str(home), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).resolve().parents[1],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to tell the peak")
def test_five_times_the_rows_take_hardly_more_memory(tmp_path: Path) -> None:
    small, large = (_peak_mb(n_batches, tmp_path / str(n_batches)) for n_batches in (10, 50))

    assert large <= 1.3 * small, f"{small:.0f} MB for 0.5M rows, {large:.0f} MB for 2.5M"
