"""Where compiled networks are kept between runs: in a folder of the home that is this user's alone.

torch loads what it finds in its caches, pickles and shared objects, as code. Left alone it keeps
them in `torchinductor_<user>` of the temporary folder, which any user may make first.
"""

import importlib
import os
import shutil
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from pipeline_lib.errors import StorageError
from pipeline_lib.home import Home

_INDUCTOR = "TORCHINDUCTOR_CACHE_DIR"


def keep_compiled_code_private(home: Home) -> Path:
    """Let torch and Triton keep compiled code under the home, and return the folder.

    To be called before each compilation: torch reads the places late, and sets them itself.

    Raises:
        StorageError: the folder belongs to another user, or cannot be written.
    """
    folder = _own_folder(home)
    os.environ[_INDUCTOR] = str(folder / "inductor")
    os.environ["TRITON_CACHE_DIR"] = str(folder / "triton")
    from torch._inductor.runtime import cache_dir_utils

    # Precompiled headers and some memos lie in the temporary folder whatever the variables say
    # (torch 2.13): the module that names it is given another one.
    cast("Any", cache_dir_utils).tempfile = SimpleNamespace(gettempdir=lambda: str(folder))
    if (codecache := cast("Any", sys.modules.get("torch._inductor.codecache"))) is not None:
        headers = Path(cache_dir_utils.default_cache_dir(), "precompiled_headers")
        codecache._HEADER_DIR = str(headers)
        codecache._HEADER_LOCK_DIR = str(headers / "locks")
        codecache._precompile_header.cache_clear()
    return folder


def load_compiler_unused() -> None:
    """Import what a training that compiles nothing imports too, without a place for its caches.

    While it is imported torch makes the folder for them: in the temporary folder a file of that
    name, which any user may put there, would end every training.
    """
    if "torch._dynamo" in sys.modules or _INDUCTOR in os.environ:
        return
    os.environ[_INDUCTOR] = str(Path(__file__).parent)  # is there: nothing is made or written
    try:
        importlib.import_module("torch._dynamo")
    finally:
        del os.environ[_INDUCTOR]


def _own_folder(home: Home) -> Path:
    """Make a folder that no other user may enter, without what others could have written there."""
    folder = home.compiled
    was_open = _is_open(folder)  # before the home closes all that lies in it
    home.writable(home.root)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
            raise StorageError(
                f"{folder} is a link or belongs to another user, and what is compiled there is "
                "run: remove it, or set `training.compile: false`"
            )
        if was_open or facts.st_mode & 0o077:
            folder.chmod(0o700)
            for inner in folder.iterdir():
                shutil.rmtree(
                    inner
                ) if inner.is_dir() and not inner.is_symlink() else inner.unlink()
    except OSError as error:
        raise StorageError(
            f"cannot use {folder}: {error.strerror}. Make it writable, or set "
            "`training.compile: false`"
        ) from error
    return folder


def _is_open(folder: Path) -> bool:
    """Return whether others may enter a folder that is there."""
    try:
        return bool(folder.lstat().st_mode & 0o077)
    except OSError:
        return False
