"""Scratch that a kill leaves is removed by the next run; what somebody holds stays."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_lib.home import find_home
from pipeline_lib.scratch import scratch_folder, sweep, sweep_beside
from pipeline_lib.storage.publishing import publish, staged
from pipeline_lib.storage.replacing import replacing

_HOLDS = """
import sys, time
from pipeline_lib.home import find_home
from pipeline_lib.scratch import scratch_folder
with scratch_folder(find_home()) as folder:
    (folder / "package").write_text("")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_scratch_lies_in_the_home_and_is_gone_afterwards(evergreen_home_of_the_test: Path) -> None:
    home = evergreen_home_of_the_test
    home.mkdir()

    with scratch_folder(find_home()) as folder:
        (folder / "below").mkdir()
        assert folder.is_relative_to(home)

    assert list((home / "scratch").iterdir()) == []


def test_who_only_reads_makes_no_home(evergreen_home_of_the_test: Path) -> None:
    with scratch_folder(find_home()) as folder:
        assert folder.is_dir()

    assert not folder.exists()
    assert not evergreen_home_of_the_test.exists()


def test_scratch_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(
    evergreen_home_of_the_test: Path,
) -> None:
    home = evergreen_home_of_the_test
    home.mkdir()
    process = subprocess.Popen([sys.executable, "-c", _HOLDS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    left = Path(process.stdout.readline().strip())

    sweep(find_home().dataset("toy"))
    before = left.exists()
    process.send_signal(signal.SIGKILL)
    process.wait()
    with scratch_folder(find_home()) as mine:
        sweep(find_home().dataset("toy"))

        assert before
        assert not left.exists()
        assert mine.exists()
    assert list((home / "scratch").iterdir()) == []


_DIES = """
import os, sys
from pathlib import Path
from pipeline_lib.storage.publishing import publish, staged
from pipeline_lib.storage.replacing import replacing
folder = Path(sys.argv[1])
with (
    staged(folder, "numbered") as stage,
    publish(folder / "encoded" / "ab12", {}) as published,
    replacing(folder / "file.parquet") as file,
):
    (stage.folder / "0").mkdir()
    (published / "train.parquet").write_text("x")
    file.write_text("x")
    os._exit(9)
"""


def test_what_a_kill_left_beside_its_place_is_removed_and_nothing_else(
    evergreen_home_of_the_test: Path,
) -> None:
    folder = find_home().dataset("toy").folder
    with publish(folder / "encoded" / "cd34", {}) as scratch:
        (scratch / "train.parquet").write_text("whole")
    (folder / ".lock").write_text("")
    whole = {path for path in folder.rglob("*") if path.is_file()}
    subprocess.run([sys.executable, "-c", _DIES, str(folder)], check=False)
    n_left = sum(path.is_file() for path in folder.rglob("*")) - len(whole)

    sweep(find_home().dataset("toy"))

    assert n_left >= 2
    assert {path for path in folder.rglob("*") if path.is_file()} == whole
    assert [path.name for path in folder.rglob(".*")] == [".lock"]


@pytest.mark.parametrize("has_successor", [True, False])
def test_a_folder_that_a_kill_left_aside_comes_back_unless_its_successor_stands(
    tmp_path: Path, has_successor: bool
) -> None:
    (tmp_path / ".model.old").mkdir()
    (tmp_path / ".model.old/weights").write_text("old")
    if has_successor:
        (tmp_path / "model").mkdir()
        (tmp_path / "model/weights").write_text("new")

    sweep_beside(tmp_path)

    assert (tmp_path / "model/weights").read_text() == ("new" if has_successor else "old")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_is_being_written_has_a_name_that_a_sweep_knows(tmp_path: Path) -> None:
    with staged(tmp_path, "rows") as stage, replacing(tmp_path / "page.md") as page:
        page.write_text("x")

        sweep_beside(tmp_path)

        assert not stage.folder.exists()
        assert not page.exists()
        page.write_text("x")
