"""Locks that end with the process that holds them."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path

from pipeline_lib.errors import StorageError
from pipeline_lib.permissions import open_lock
from pipeline_lib.storage.folders import writable_folder
from pipeline_lib.wording import refusal


@contextlib.contextmanager
def lock(path: Path, *, on_wait: Callable[[], None]) -> Generator[None]:
    """Hold a lock that ends with the process, however it ends; wait while another holds it.

    Args:
        path: the lock's file; it stays, and so does its content. A symbolic link is refused.
        on_wait: called once if another process or thread holds it.

    Raises:
        StorageError: it cannot be used.
    """
    writable_folder(path.parent)
    try:
        opened = os.fdopen(open_lock(path), "rb")
    except OSError as error:
        hint = f". {path} is a link: remove it" if path.is_symlink() else ""
        raise StorageError(f"{refusal(error, path)}{hint}") from error
    with opened as file:
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waiting:
                    waiting = True
                    on_wait()
                time.sleep(0.5)
        yield
