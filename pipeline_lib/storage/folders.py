"""Folders that can be written, or a message that says why not."""

import contextlib
import tempfile
from collections.abc import Generator
from pathlib import Path

from pipeline_lib.errors import StorageError
from pipeline_lib.permissions import make_folders
from pipeline_lib.wording import no_room, owned_by_another


def writable_folder(folder: Path, *, mode: int = 0o775) -> Path:
    """Create a folder and prove that it can be written.

    Args:
        folder: the folder; those above it are made too.
        mode: permissions of a folder that is made, of which the umask takes its own.

    Raises:
        StorageError: it cannot be created or written; the message names what to change.
    """
    with explained(folder):
        make_folders(folder, mode=mode)
        with tempfile.TemporaryFile(dir=folder):
            pass
    return folder


@contextlib.contextmanager
def explained(folder: Path) -> Generator[None]:
    """Raise a StorageError that names the cause where a folder cannot be made or written."""
    try:
        yield
    except OSError as error:
        if (file := _file_in_the_way(folder)) is not None:
            raise StorageError(
                f"cannot make the folder {folder}: {file} is a file. Rename it, or set "
                "EVERGREEN_HOME to another folder."
            ) from error
        if full := no_room(error, folder):
            raise StorageError(
                f"cannot write to {folder}: {error.strerror}: {full}. Make room there, or set "
                "EVERGREEN_HOME to a folder that has it."
            ) from error
        raise StorageError(
            f"cannot write to {folder}: {error.strerror}{owned_by_another(folder, error)}. "
            "Make it writable, or set EVERGREEN_HOME to a folder that is."
        ) from error


def _file_in_the_way(folder: Path) -> Path | None:
    return next((p for p in (folder, *folder.parents) if p.exists() and not p.is_dir()), None)
