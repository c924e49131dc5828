"""Who writes into a drop folder leads a glob to files that are not theirs to give."""

import os
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.config.sources import CsvFile, ParquetFile
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.data.sources.paths import find_files
from pipeline_lib.data.sources.stores import DataFile, FolderStore
from pipeline_lib.errors import SourceError, SourceNotFoundError
from pipeline_lib.proposal.sniff import guess_source

_NIGHT = date(2026, 5, 11)


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """A drop folder with one honest file, beside a folder that is none of its business."""
    folder = tmp_path / "drop"
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "o.csv").write_text("a,b\nsecret,3\n")
    return folder


def _rows(root: Path, path: str, *, follow_symlinks: bool = False) -> list[str]:
    source = CsvFile(path=path, follow_symlinks=follow_symlinks)
    return open_source(source, root=root, run_date=_NIGHT).read()["a"].to_pylist()


def _plant(drop: Path, kind: str) -> str:
    """Lay a link, and return the path that a config has."""
    outside = drop.parent / "outside"
    match kind:
        case "a file":
            (drop / "in" / "2.csv").symlink_to(outside / "o.csv")
            return "drop/in/*.csv"
        case "a relative link":
            (drop / "in" / "2.csv").symlink_to("../../outside/o.csv")
            return "drop/**/*.csv"
        case "a linked folder":
            (drop / "more").symlink_to(outside)
            return "drop/**/*.csv"
        case "a linked folder under a star":
            (drop / "more").symlink_to(outside)
            return "drop/*/*.csv"
        case "a link to a link":
            (drop / "in" / "2.csv").symlink_to(drop / "3")
            (drop / "3").symlink_to(outside / "o.csv")
            return "drop/in/?.csv"
        case "a day's folder":
            (drop / "2026-05-10").symlink_to(outside)
            return "drop/{YYYY}-{MM}-{DD}/*.csv"
        case "a day's file":
            (drop / "2026-05-10.csv").symlink_to(outside / "o.csv")
            return "drop/{YYYY}-{MM}-{DD}.csv"
        case "a name with a star":
            (drop / "in" / "*.csv").symlink_to(outside / "o.csv")
            return "drop/in/*.csv"
        case _:
            (drop / "in" / "[12].csv").symlink_to(outside / "o.csv")
            return "drop/in/[12].csv"


@pytest.mark.parametrize(
    "kind",
    [
        "a file",
        "a relative link",
        "a linked folder",
        "a linked folder under a star",
        "a link to a link",
        "a day's folder",
        "a day's file",
        "a name with a star",
        "a name with brackets",
    ],
)
def test_a_link_out_of_the_fixed_folder_is_refused_and_followed_on_request(
    drop: Path, kind: str
) -> None:
    path = _plant(drop, kind)

    with pytest.raises(SourceError, match="follow_symlinks: true") as refused:
        _rows(drop.parent, path)

    assert str(drop) in str(refused.value)
    assert "secret" in _rows(drop.parent, path, follow_symlinks=True)


def test_a_link_out_of_the_folder_is_refused_from_a_folder_beside_the_root(drop: Path) -> None:
    _plant(drop, "a file")

    with pytest.raises(SourceError, match="leads out of"):
        _rows(drop.parent / "project", "../drop/**/*.csv")
    with pytest.raises(SourceError, match="leads out of"):
        _rows(drop.parent / "project", f"{drop}/in/*.csv")


def test_parquet_and_the_proposal_of_a_config_refuse_it_too(drop: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), drop.parent / "outside" / "o.parquet")
    (drop / "o.parquet").symlink_to(drop.parent / "outside" / "o.parquet")
    source = ParquetFile(path="drop/*.parquet")

    with pytest.raises(SourceError, match="leads out of"):
        open_source(source, root=drop.parent, run_date=_NIGHT)
    with pytest.raises(SourceError, match="leads out of"):
        guess_source(f"{drop}/*.parquet", root=drop.parent)


def test_links_that_stay_inside_or_are_the_configs_own_are_read(drop: Path) -> None:
    (drop / "in" / "2.csv").symlink_to("1.csv")
    (drop.parent / "elsewhere").symlink_to(drop)
    (drop.parent / "cars.csv").symlink_to(drop / "in" / "1.csv")

    assert _rows(drop.parent, "drop/in/*.csv") == ["1", "1"]
    assert _rows(drop.parent, "elsewhere/in/*.csv") == ["1", "1"]
    assert _rows(drop.parent, "cars.csv") == ["1"]


def test_links_in_a_circle_are_walked_once(drop: Path) -> None:
    for number in range(8):
        (drop / f"loop{number}").symlink_to(".")
        (drop / "in" / f"back{number}").symlink_to("..")

    assert _rows(drop.parent, "drop/**/*.csv") == ["1"]
    assert _rows(drop.parent, "drop/**/*.csv", follow_symlinks=True) == ["1"]


def test_a_folder_deeper_than_python_calls_is_walked(drop: Path) -> None:
    here, deep = os.getcwd(), ["d"] * 1100  # noqa: PTH109
    try:
        os.chdir(drop)
        for name in deep:
            os.mkdir(name)  # noqa: PTH102
            os.chdir(name)
    finally:
        os.chdir(here)

    try:
        assert _rows(drop.parent, "drop/**/*.csv") == ["1"]
    finally:
        subprocess.run(["rm", "-r", drop / "d"], check=True)  # too deep for pytest


@pytest.fixture
def swapped(drop: Path) -> Iterator[Path]:
    """A file below a folder; the test puts something else in their place once it is found."""
    (drop / "in" / "deep").mkdir()
    file = drop / "in" / "deep" / "2.csv"
    file.write_text("a,b\n5,6\n")
    return iter([file])


def _read(file: DataFile, how: str) -> object:
    if how == "fingerprint":
        return file.fingerprint()
    with file.on_disk() if how == "on_disk" else file.open() as opened:
        return opened


@pytest.mark.parametrize("what", ["file", "folder", "pipe"])
@pytest.mark.parametrize("how", ["open", "on_disk", "fingerprint"])
def test_what_is_swapped_after_it_was_found_is_not_followed(
    drop: Path, swapped: Iterator[Path], what: str, how: str
) -> None:
    path = next(swapped)
    store = FolderStore(drop.parent)
    found = find_files("drop/**/2.csv", store, window_days=None, run_date=_NIGHT)
    (file,) = (dated.file for dated in found.files)
    outside = drop.parent / "outside"
    (outside / "2.csv").write_text("a,b\n7,8\n")
    os.utime(outside / "2.csv", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    match what:
        case "file":
            path.unlink()
            path.symlink_to(outside / "2.csv")
        case "folder":
            path.parent.rename(drop / "aside")
            path.parent.symlink_to(outside)
        case _:
            path.unlink()
            os.mkfifo(path)

    with pytest.raises(SourceError, match="changed while it was read"):
        _read(file, how)


def test_what_is_lent_stays_what_it_was_while_its_name_is_swapped(
    drop: Path, swapped: Iterator[Path]
) -> None:
    path = next(swapped)
    found = find_files("drop/**/2.csv", FolderStore(drop.parent), window_days=None, run_date=_NIGHT)

    lending = found.files[0].file.on_disk()
    lent = lending.__enter__()
    path.unlink()
    path.symlink_to(drop.parent / "outside" / "o.csv")

    assert lent.read_text() == "a,b\n5,6\n"
    with pytest.raises(SourceError, match="changed while it was read"):
        lending.__exit__(None, None, None)


def test_a_pipe_is_no_match_and_is_not_waited_for(drop: Path) -> None:
    os.mkfifo(drop / "2.csv")

    with pytest.raises(SourceNotFoundError, match="no file matches"):
        _rows(drop.parent, "drop/*.csv")
