"""The temporary Prefect server on a full disk, or over a damaged database: told at once."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]

Mount = Callable[[str], Path]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mount]:
    """Return a function that mounts a small file system."""
    places: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / f"disk{len(places)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("mounting a tmpfs needs CAP_SYS_ADMIN")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", place], check=True)


def run(home: Path) -> Any:
    named = ("MLFLOW_", "PREFECT_", "EVERGREEN_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(named)}
    return subprocess.run(
        [sys.executable, "-m", "evergreen", "run", "configs/car_evaluation.yaml"],
        cwd=PROJECT,
        env={**clean, "EVERGREEN_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def error_of(done: Any) -> str:
    assert done.returncode == 1, done.stdout + done.stderr
    [message] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return str(message)


@pytest.mark.slow
def test_a_disk_that_fills_while_the_server_starts_is_named(mounted: Mount) -> None:
    place = mounted("size=2m")

    message = error_of(run(place / "home"))

    database = place / "home" / "prefect" / "prefect.db"
    assert message.startswith(f"error: cannot make the database {database}: ")
    assert "disk is full. Make room on the disk of" in message
    assert "or set EVERGREEN_HOME to a folder on another one" in message


@pytest.mark.parametrize("n_inodes", [2, 3])
def test_a_disk_without_inodes_is_named_as_such(mounted: Mount, n_inodes: int) -> None:
    place = mounted(f"size=50m,nr_inodes={n_inodes}")

    message = error_of(run(place / "home"))

    assert f"{place}" in message
    assert "can hold no more files, all its inodes are taken" in message


def test_a_database_that_is_cut_is_told_with_what_to_do(tmp_path: Path) -> None:
    database = tmp_path / "home" / "prefect" / "prefect.db"
    database.parent.mkdir(parents=True)
    base = sqlite3.connect(database)
    base.execute("create table t (x)")
    base.execute("insert into t values (zeroblob(100000))")
    base.commit()
    base.close()
    os.truncate(database, 40_000)

    message = error_of(run(tmp_path / "home"))

    assert f"{database} is damaged (40,000 of " in message
    assert f"`mv {database.parent} {database.parent}.damaged`, and a new one is made" in message
