"""Where state lies and how it gets there: digests, manifests, atomic publishing.

Everything is written to a temporary folder beside its place, synced, and renamed. A folder is
believed only when its `manifest.json` is there and every file still has the size and sha256 that
the manifest names. What the files mean is decided by the rooms that write them.
"""

import contextlib
import fcntl
import functools
import glob
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast

from pipeline_lib.errors import StorageError, UsageError, owned_by_another, refusal

MANIFEST = "manifest.json"
NAME_PATTERN = r"[a-z][a-z0-9_\-]{0,62}"
Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"


_logger = logging.getLogger(__name__)
_MARKER = "prefect.yaml"
# SQLAlchemy ends a database's path at '?'; MLflow 3.17 decodes plain paths, so that it reads the
# files of `a%20b` from `a b`.
_NO_ADDRESS = re.compile(r"\?|%[0-9A-Fa-f]{2}")
_SCRATCH = re.compile(r"\..+\.[0-9a-f]{12}")
# Of the flow that is running, in its thread and in those that Prefect starts for its tasks.
_project: ContextVar[Path | None] = ContextVar("project", default=None)


def project_root(start: Path | None = None) -> Path:
    """Return the nearest folder at or above `start` that holds a `prefect.yaml`.

    `start` is the working directory unless given, and is returned itself where none does.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / _MARKER).is_file():
            return folder
    return here


def project_of(config: str | Path) -> Path:
    """Return the project that a config belongs to; symbolic links are followed.

    It is the nearest folder at or above the config that holds a `prefect.yaml`. Where none does
    it is the config's own folder, or the one around it if that is `configs`.
    """
    return _project_at(Path(config).resolve().parent)


def current_project() -> Path:
    """Return the project that `in_project` names, else that of the working directory."""
    return _project.get() or _project_at(Path.cwd().resolve())


@contextlib.contextmanager
def in_project(root: Path) -> Generator[None]:
    """Let all state be that of a project, for as long as the context lasts."""
    token = _project.set(root.resolve())
    try:
        yield
    finally:
        _project.reset(token)


def evergreen_home() -> Path:
    """Return the folder of all state: `EVERGREEN_HOME`, else `.evergreen` in the project."""
    chosen = os.environ.get("EVERGREEN_HOME")
    return (Path(chosen).expanduser() if chosen else current_project() / ".evergreen").resolve()


def _project_at(folder: Path) -> Path:
    root = project_root(folder)
    is_marked = (root / _MARKER).is_file()
    return root.parent if root.name == "configs" and not is_marked else root


def dataset_folder(name: str) -> Path:
    """Return `datasets/<name>` under the home.

    Raises:
        UsageError: `name` is no plain slug, so the folder could lie anywhere.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(f"{name[:80]!r} is no name of a dataset: lower case, digits, _ and -")
    return evergreen_home() / "datasets" / name


def run_folder(run_key: str) -> Path:
    """Return `runs/<run_key>` under the home."""
    return evergreen_home() / "runs" / run_key


def writable_folder(folder: Path) -> Path:
    """Create a folder and prove that it can be written; a home that is made for it is reported.

    Raises:
        StorageError: it cannot be created or written; the message names what to change.
    """
    home = evergreen_home()
    is_inside = folder.is_relative_to(home)
    if is_inside and (found := _NO_ADDRESS.search(str(home))):
        raise StorageError(
            f"{home}: {found[0]!r} means something else in an address, so databases and MLflow "
            "would look in another folder. Rename it, or set EVERGREEN_HOME to another folder."
        )
    try:
        makes_home = is_inside and not home.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if makes_home:
            _logger.warning("home made: %s%s", home, _another_home(home))
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if (file := _file_in_the_way(folder)) is not None:
            raise StorageError(
                f"cannot make the folder {folder}: {file} is a file. Rename it, or set "
                "EVERGREEN_HOME to another folder."
            ) from error
        raise StorageError(
            f"cannot write to {folder}: {error.strerror}{owned_by_another(folder, error)}. "
            "Make it writable, or set EVERGREEN_HOME to a folder that is."
        ) from error
    return folder


def _file_in_the_way(folder: Path) -> Path | None:
    return next((p for p in (folder, *folder.parents) if p.exists() and not p.is_dir()), None)


def _another_home(home: Path) -> str:
    """Return what to do if the state was meant to be the working directory's."""
    here = (_project_at(Path.cwd().resolve()) / ".evergreen").resolve()
    if os.environ.get("EVERGREEN_HOME") or here == home or not (here / "datasets").is_dir():
        return ""
    return f" ({here} belongs to another project; EVERGREEN_HOME={here} would use it)"


def digest_bytes(data: bytes) -> str:
    """Return the sha256 of bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Json) -> str:
    """Return the sha256 of a value's canonical JSON: keys sorted, no blanks, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_bytes(text.encode())


def digest_file(path: Path) -> str:
    """Return the sha256 of a file's content, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_tree(folder: Path, pattern: str) -> str:
    """Return one sha256 over the names and contents of the files below `folder`."""
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return digest_json({path.relative_to(folder).as_posix(): digest_file(path) for path in files})


@functools.cache
def code_digest() -> str:
    """Return one sha256 over this package: what other code has made is made again."""
    return digest_tree(Path(__file__).resolve().parent, "*.py")


def write_json(path: Path, value: Json, *, indent: int | None = 2) -> None:
    """Replace a JSON file atomically: a reader sees the old text or the new one, whole.

    Args:
        path: the file.
        value: what it shall hold.
        indent: blanks per level; None for files of numbers that nobody reads.
    """
    with replacing(path) as scratch, scratch.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=indent, ensure_ascii=False, sort_keys=True)
        file.write("\n")


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Give a file to write that takes the place of `path` when it is whole, and not before."""
    scratch = _beside(path)
    try:
        yield scratch
        _sync_file(scratch)
        scratch.replace(path)
        _sync_folder(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def append_json_line(path: Path, value: Json) -> None:
    """Append one line of JSON and sync it; a last line that a kill has cut is dropped first."""
    append_json_lines(path, [value])


def append_json_lines(path: Path, values: Iterable[Json]) -> None:
    """Append lines of JSON and sync them; a last line that a kill has cut is dropped first.

    Raises:
        OSError: the disk refuses; none of the lines is there.
    """
    text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        size, rest = file.seek(0, os.SEEK_END), text.encode()
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def read_json_lines(path: Path) -> list[dict[str, Json]]:
    """Read a file of JSON lines; a missing file is empty, a last line cut by a kill is dropped.

    Raises:
        StorageError: a line is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    records: list[dict[str, Json]] = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(cast("dict[str, Json]", json.loads(line)))
        except ValueError as error:
            raise StorageError(
                f"{path}:{number} is damaged: {error}. Restore the file, or remove the line"
            ) from None
    return records


@contextlib.contextmanager
def lock(path: Path, *, on_wait: Callable[[], None]) -> Generator[None]:
    """Hold a lock that ends with the process, however it ends; wait for whoever has it.

    Args:
        path: the lock's file; it stays.
        on_wait: called once if somebody else has it.
    """
    writable_folder(path.parent)
    try:
        opened = path.open("w")
    except OSError as error:
        raise StorageError(refusal(error, path)) from error
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


@dataclass(frozen=True)
class Staged:
    """A temporary folder to fill, which becomes a published one under a name found on the way."""

    folder: Path

    def publish(self, folder: Path, facts: Mapping[str, Json]) -> None:
        """Write the manifest and rename to `folder`, beside the temporary one.

        A `folder` that is already there is replaced.

        Args:
            folder: where the result shall stand.
            facts: what the manifest says besides `files` (sizes in bytes, sha256).
        """
        files: dict[str, Json] = {}
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            _sync_file(path)
            name = path.relative_to(self.folder).as_posix()
            files[name] = {"size_bytes": path.stat().st_size, "sha256": digest_file(path)}
        write_json(self.folder / MANIFEST, {**facts, "files": files})
        _recover(folder)
        _replace_folder(self.folder, folder)


@contextlib.contextmanager
def staged(parent: Path, label: str) -> Generator[Staged]:
    """Give a temporary folder below `parent`; what is not published when it ends is gone.

    Raises:
        StorageError: the disk is full, read-only, or otherwise refuses.
    """
    writable_folder(parent)
    scratch = _beside(parent / label)
    scratch.mkdir()
    try:
        yield Staged(scratch)
    except OSError as error:
        raise StorageError(f"cannot write {parent / label}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def publish(folder: Path, facts: Mapping[str, Json]) -> Generator[Path]:
    """Give a temporary folder to fill; on success write its manifest and rename it to `folder`.

    A `folder` that is already there is replaced; after an exception nothing of the attempt is
    left and the old folder stands as it was.

    Args:
        folder: where the result shall stand.
        facts: what the manifest says besides `files` (sizes in bytes, sha256).

    Raises:
        StorageError: the disk is full, read-only, or otherwise refuses.
    """
    with staged(folder.parent, folder.name) as stage:
        yield stage.folder
        stage.publish(folder, facts)


def believed(folder: Path) -> dict[str, Json] | None:
    """Return a published folder's manifest if every file is as it says, else None."""
    try:
        _recover(folder)
        manifest = cast("dict[str, Json]", json.loads((folder / MANIFEST).read_text("utf-8")))
        files = cast("dict[str, dict[str, Json]]", manifest["files"])
        whole = all(
            (folder / name).stat().st_size == entry["size_bytes"]
            and digest_file(folder / name) == entry["sha256"]
            for name, entry in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return manifest if whole else None


def scratch_files(path: Path) -> list[Path]:
    """Return what `replacing` left beside a file where a kill came before its end."""
    return list(path.parent.glob(f".{glob.escape(path.name)}.*"))


def is_scratch(path: Path) -> bool:
    """Tell whether a name is one that `staged`, `publish` or `replacing` writes under."""
    return _SCRATCH.fullmatch(path.name) is not None


def finish_replacing(old: Path) -> None:
    """Bring a folder back that a kill left aside, or remove it where its successor stands."""
    folder = old.with_name(old.name[1:].removesuffix(".old"))
    _recover(folder)
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path) -> Path:
    """Return a hidden name in the same folder that nobody else uses."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")


def _old(folder: Path) -> Path:
    """Return where a folder stands while its successor takes its place."""
    return folder.with_name(f".{folder.name}.old")


def _recover(folder: Path) -> None:
    """Bring back what a kill between the two renames of `_replace_folder` has left aside."""
    if not folder.exists() and _old(folder).exists():
        _old(folder).rename(folder)


def _replace_folder(scratch: Path, folder: Path) -> None:
    old = _old(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    scratch.rename(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
