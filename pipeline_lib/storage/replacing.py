"""Files that take the place of another when they are whole, under hidden names until then."""

import contextlib
import glob
import os
import re
import secrets
from collections.abc import Generator
from pathlib import Path

from pipeline_lib.interruption import raise_if_heard
from pipeline_lib.permissions import make_file

_SCRATCH = re.compile(r"\..+\.(?:[0-9a-f]{12}|[0-9a-f]{16})")


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o660) -> Generator[Path]:
    """Yield a file to write that replaces `path` once it is complete.

    It exists and is empty; its permissions are `mode` less the umask's.
    """
    scratch = beside(path)
    make_file(scratch, mode=mode)
    try:
        yield scratch
        raise_if_heard()
        sync_file(scratch)
        scratch.replace(path)
        sync_folder(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    """Return a hidden, unpredictable name in the same folder that nothing else uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def scratch_files(path: Path) -> list[Path]:
    """Return what `replacing` left beside a file where a kill came before its end."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.*"))


def is_scratch(path: Path) -> bool:
    """Return whether a name is one that `staged`, `publish` or `replacing` writes under."""
    return _SCRATCH.fullmatch(path.name) is not None


def sync_file(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
