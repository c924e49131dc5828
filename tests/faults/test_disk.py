"""A disk that refuses in the middle of a write, by a real limit of the operating system."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import resource, sys
import pyarrow as pa
from pipeline_lib.data.snapshot import take_snapshot
from pipeline_lib.data.stream import RowStream
from pipeline_lib.errors import StorageError

small = pa.table({"word": [f"{i:012}" for i in range(100)]})
large = pa.table({"word": [f"{i * 7919 % 1000003:012}" for i in range(400_000)]})
kept = take_snapshot("cars", RowStream.of(small, source="memory"))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    take_snapshot("cars", RowStream.of(large, source="memory"))
except StorageError as error:
    print(error)
    print(kept.read().equals(small))
"""


def test_a_full_disk_is_told_and_leaves_no_half_written_snapshot(tmp_path: Path) -> None:
    home = tmp_path / "home"

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "EVERGREEN_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )

    message, old_is_whole = done.stdout.strip().splitlines()
    assert message.startswith("cannot write ")
    assert "File too large" in message
    assert old_is_whole == "True"
    snapshots = list((home / "datasets" / "cars" / "snapshots").iterdir())
    assert len(snapshots) == 1
