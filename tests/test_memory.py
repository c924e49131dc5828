"""Memory of a night's steps, as the operating system saw it: it does not grow with the rows."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc for the peak"),
]

_NIGHT = """
import os
import pickle
import sys
from datetime import date
from pathlib import Path
import numpy as np
import pyarrow as pa
from pipeline_lib.home import find_home
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import check_snapshot
from pipeline_lib.data.splits.split_rows import split_checked
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.stream import Part, RowStream
from pipeline_lib.monitoring.monitor import Watch
from pipeline_lib.encoding.encoded_splits import encode_splits

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
stream = RowStream("big", schema, (Part("big", "", batches),))
snapshot = take_snapshot(find_home().dataset("big"), stream)
watch = Watch(config, snapshot, {})
checked = check_snapshot(config, snapshot, on_batch=watch.see)
watch.finish(reference=None, run_date=date(2026, 1, 1))
rows = split_checked(config, checked)
encoded = encode_splits(config, rows, today="2026-01-01")
night = Path(os.environ["EVERGREEN_HOME"]) / "night.pickle"
night.write_bytes(pickle.dumps((config, rows, encoded)))
"""

_EVALUATION = """
import os
import pickle
from pathlib import Path
from pipeline_lib.evaluation.baselines import EncodedSplits
from pipeline_lib.evaluation.evaluate import TEST_BATCH_ROWS, evaluate_model, score_champion
from pipeline_lib.models import Dimensions, Networks, model_kind
from pipeline_lib.serving import FittedModel

home = Path(os.environ["EVERGREEN_HOME"])
config, rows, encoded = pickle.loads((home / "night.pickle").read_bytes())
encoder, target = encoded.read_encoder(), encoded.read_target()
kind, dimensions = model_kind(config.model), Dimensions.of(encoder, target)
networks = Networks((kind.build(dimensions, None),), dimensions.n_classes)
model = FittedModel("big", "binary", kind, encoder, target, networks)
result = evaluate_model(
    config,
    model,
    rows.batches("test", TEST_BATCH_ROWS),
    splits=EncodedSplits(*(encoded.open(name) for name in ("train", "val", "test"))),
    out=home / "predictions.parquet",
).result
test_rows = rows.batches("test", TEST_BATCH_ROWS)
score_champion(config, model, "1", test_rows, challenger=result.predictions)
"""

_STREAM = """
import os
import sys
from pathlib import Path
import numpy as np
import pyarrow as pa
import torch
from pipeline_lib.config.columns import HashColumn
from pipeline_lib.encoding import Encoder, NumberTarget
from pipeline_lib.encoding.tensors import ROW_GROUP_ROWS, SplitWriter
from pipeline_lib.training.batches import batch_bounds
from pipeline_lib.training.rows import StreamedSplit

what, n_groups = sys.argv[1], int(sys.argv[2])
path = Path(os.environ["EVERGREEN_HOME"]) / "train.parquet"
columns = {"word": HashColumn(n_buckets=1000)}
encoder = Encoder.fit(pa.table({"word": ["a", "b"]}), columns, today="2026-01-01")
if what == "write":
    path.parent.mkdir()
    with SplitWriter(path, encoder, NumberTarget("y", 0.0, 1.0)) as writer:
        for seed in range(n_groups):
            codes = np.random.default_rng(seed).integers(0, 1000, ROW_GROUP_ROWS)
            writer.write([codes, codes.astype(np.float32)])
else:
    rows = StreamedSplit(path, encoder, torch.device("cpu"))
    for _ in rows.batches(batch_bounds(rows.n_rows, 1024), seed=1):
        pass
"""

_TELL = """
status = open("/proc/self/status").read()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


# What glibc keeps of freed pieces differs by 60 MB from run to run: large ones are given back.
_ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
}


def _peak_mb(script: str, home: Path, *arguments: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", script + _TELL, *arguments],
        env={"EVERGREEN_HOME": str(home), **_ENVIRONMENT},
        cwd=Path(__file__).resolve().parents[1],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1]) / 1024


def test_five_times_the_rows_take_hardly_more_memory(tmp_path: Path) -> None:
    homes = {n_batches: tmp_path / str(n_batches) for n_batches in (10, 50)}

    nights = [_peak_mb(_NIGHT, home, str(n)) for n, home in homes.items()]
    evaluations = [_peak_mb(_EVALUATION, home) for home in homes.values()]

    # Of each test row its truth and the answers of both models are held, which are compared on the
    # same resamples: some 150 bytes with what metrics copy.
    for what, (small, large), most in (
        ("the night", nights, 1.3),
        ("the evaluation", evaluations, 1.1),
    ):
        assert large <= most * small, f"{what}: {small:.0f} MB for 0.5M, {large:.0f} MB for 2.5M"


def test_an_epoch_of_eight_times_the_rows_takes_no_more_memory(tmp_path: Path) -> None:
    peaks: list[float] = []
    for n_groups in (8, 64):
        home = tmp_path / str(n_groups)
        _peak_mb(_STREAM, home, "write", str(n_groups))
        peaks.append(_peak_mb(_STREAM, home, "read", str(n_groups)))

    small, large = peaks
    assert large <= small + 20, f"{small:.0f} MB for 1M rows, {large:.0f} MB for 8.4M"
