"""Scratch below the home: held while it is used, and removed by the next run after a kill.

`scratch/` holds temporary files of a run, such as a package that is read. Each folder there is
locked by its owner: one without a lock was left behind. What `storage` writes beside its own
places has hidden names; it is removed by the next run that holds the dataset.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Generator
from pathlib import Path

from pipeline_lib.home import DatasetFolder, Home
from pipeline_lib.storage.publishing import finish_replacing
from pipeline_lib.storage.replacing import is_scratch


@contextlib.contextmanager
def scratch_folder(home: Home | None) -> Generator[Path]:
    """Yield an empty folder below the home, removed when the context ends.

    Where there is no home yet, or none is given, it lies in the machine's own temporary folder:
    reading makes no home.

    Raises:
        StorageError: the home cannot be written.
    """
    if home is None or not home.root.is_dir():
        with tempfile.TemporaryDirectory(prefix="evergreen-") as outside:
            yield Path(outside)
        return
    with _held(home.writable(home.scratch)) as folder:
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(dataset: DatasetFolder) -> None:
    """Remove what kills left in a dataset's folders and in `scratch/`; the caller holds it."""
    _sweep_scratch(dataset.home)
    for folder in (dataset.folder, dataset.quarantine):
        sweep_beside(folder)


def _sweep_scratch(home: Home) -> None:
    for place in home.scratch.glob("*.lock"):
        with contextlib.suppress(OSError), place.open("r+b") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place.with_suffix(""), ignore_errors=True)
            place.unlink()


def sweep_beside(folder: Path) -> None:
    """Remove what kills left below a folder that the caller alone writes to."""
    for path in [path for path in folder.rglob(".*") if is_scratch(path)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    for path in list(folder.rglob(".*.old")):
        finish_replacing(path)


@contextlib.contextmanager
def _held(parent: Path) -> Generator[Path]:
    """Yield the name of a folder to make, locked against `sweep`."""
    while True:
        folder = parent / uuid.uuid4().hex
        guard = folder.with_suffix(".lock").open("xb")
        fcntl.flock(guard, fcntl.LOCK_EX)
        if os.fstat(guard.fileno()).st_nlink:
            break
        guard.close()  # it was swept between the two lines above
    with guard:
        try:
            yield folder
        finally:
            folder.with_suffix(".lock").unlink(missing_ok=True)
