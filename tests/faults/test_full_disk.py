"""A disk that is full, or turns read-only, while a network learns: a real tmpfs."""

import logging
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.errors import StorageError
from pipeline_lib.home import find_home
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.storage.json_files import read_json_lines
from pipeline_lib.storage.publishing import publish
from pipeline_lib.tracking.epochs import EpochLog
from pipeline_lib.tracking.runs import TrackedRun, start_run
from pipeline_lib.tracking.tensorboard import TensorBoardLog
from pipeline_lib.training.checkpoint import load_checkpoint
from pipeline_lib.training.keeper import Keeper
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.rows import TensorSplit

EPOCHS = 60


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=False
    ).returncode:
        pytest.skip("mounting a tmpfs needs CAP_SYS_ADMIN")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture(scope="module")
def run(
    table_config: Callable[..., PipelineConfig], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TrackedRun]:
    """An MLflow run, on another disk."""
    home = tmp_path_factory.mktemp("home")
    snapshot = Snapshot(home, "ab" * 32, 90, "toy.csv", dataset=find_home().dataset("toy"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(home))
        with start_run(
            table_config(), find_home(), snapshot, run_key="k", run_name="n", tags={}
        ) as reference:
            yield TrackedRun.of(reference)


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Fill a disk to the last byte, or leave a few free; return what takes the room."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    os.truncate(filler, filler.stat().st_size - leave)
    return filler


class Training:
    """A small training that keeps everything on the disk, as the task `train` puts it together."""

    def __init__(self, folder: Path, run: TrackedRun) -> None:
        random = torch.Generator().manual_seed(0)
        x_num = torch.randn(90, 2, generator=random)
        x_cat = torch.randint(0, 40, (90, 1), generator=random).to(torch.int32)
        split = TensorSplit(x_cat, x_num, (x_num[:, 0] > 0).long())
        torch.manual_seed(1)
        self.loop = TrainingLoop(
            EmbeddingMLP((40,), n_numeric=2, d_out=1, d_hidden=(64,)),
            split.slice(0, 70),
            split.slice(70, 90),
            task="binary",
            primary="accuracy",
            training=TrainingSettings.model_validate(
                {"epochs": EPOCHS, "batch_size": 16, "device": "cpu"}
            ),
            n_classes=2,
        )
        self.folder, self.keeper = folder, Keeper(self.loop, folder, key="k", every_s=0)
        self.epochs = EpochLog(folder / "epochs.jsonl", run, primary="accuracy")
        self.board = TensorBoardLog(folder / "tensorboard", primary="accuracy")

    def go(self, at: dict[int, Callable[[], Any]]) -> None:
        """Train all epochs; after some of them something happens to the disk."""
        with self.epochs, self.keeper:
            for record in self.loop.epochs():
                self.epochs.append(record)
                self.board.append(record)
                self.keeper.save()
                at.get(record.epoch, lambda: None)()


@pytest.mark.parametrize("leave", [0, 4096, 8192])
def test_a_full_disk_stops_no_training_and_room_that_comes_back_is_used(
    disk: Path, run: TrackedRun, caplog: pytest.LogCaptureFixture, leave: int
) -> None:
    folder = disk / "run"
    folder.mkdir()
    training, while_full = Training(folder, run), []

    def look() -> None:
        while_full.append(load_checkpoint(folder, "k").state)
        while_full.append(list(folder.glob(".*")))
        (disk / "filler").unlink()

    with caplog.at_level(logging.WARNING):
        training.go({10: lambda: fill(disk, leave=leave), 50: look})

    assert len(training.loop.history) == EPOCHS
    assert len(while_full[0]["history"]) in range(9, 12)
    assert while_full[1] == []
    afterwards = load_checkpoint(folder, "k")
    assert afterwards.state is not None
    assert (len(afterwards.state["history"]), afterwards.notes) == (EPOCHS, ())
    lines = [line["epoch"] for line in read_json_lines(folder / "epochs.jsonl")]
    assert lines == list(range(1, EPOCHS + 1))
    told = [record.getMessage() for record in caplog.records]
    assert sum(text.startswith(f"no checkpoint in {folder} (") for text in told) == 1
    assert len(told) == len(set(told)) <= 3, told
    assert all("No space left on device" in text for text in told)


def test_a_disk_that_turns_read_only_stops_no_training_and_the_model_says_why_it_has_no_place(
    disk: Path, run: TrackedRun, caplog: pytest.LogCaptureFixture
) -> None:
    folder = disk / "run"
    folder.mkdir()
    training = Training(folder, run)

    def turn() -> None:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

    with caplog.at_level(logging.WARNING):
        training.go({10: turn})
    with pytest.raises(StorageError) as refused, publish(folder / "model", {}):
        pass

    assert len(training.loop.history) == EPOCHS
    assert str(refused.value) == (
        f"cannot write to {folder}: Read-only file system. "
        "Make it writable, or set EVERGREEN_HOME to a folder that is."
    )
    kept = load_checkpoint(folder, "k").state
    assert kept is not None
    assert len(kept["history"]) == 10
    told = sorted(record.getMessage() for record in caplog.records)
    assert [text.partition(" (")[0] for text in told] == [
        "epochs.jsonl cannot be written",
        f"no checkpoint in {folder}",
        "no curves in TensorBoard from here",
    ]
    assert all("Read-only file system" in text for text in told)
