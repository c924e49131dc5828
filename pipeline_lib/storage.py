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
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import TypeAlias, TypeVar, cast

from pipeline_lib.errors import (
    EvergreenError,
    StorageError,
    UsageError,
    first_line,
    no_room,
    owned_by_another,
    refusal,
)
from pipeline_lib.interruption import raise_if_heard
from pipeline_lib.permissions import (
    close_to_others,
    close_tree,
    make_file,
    make_folders,
    make_private,
    mode_of_chosen,
    open_lock,
    open_to_append,
    umask_of,
)

MANIFEST = "manifest.json"
NAME_PATTERN = r"[a-z][a-z0-9_\-]{0,62}"
Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

Line = TypeVar("Line")
Text = TypeVar("Text")
_MAX_REASON = 200
# What reading a text of ours may raise that is not ours any more.
_REFUSALS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

_logger = logging.getLogger(__name__)
_MARKER = "prefect.yaml"
# SQLAlchemy ends a database's path at '?'; MLflow 3.17 decodes plain paths, so that it reads the
# files of `a%20b` from `a b`.
_NO_ADDRESS = re.compile(r"\?|%[0-9A-Fa-f]{2}")
_SCRATCH = re.compile(r"\..+\.(?:[0-9a-f]{12}|[0-9a-f]{16})")
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
    """Create a folder and prove that it can be written.

    A home that is made for it is reported; one that is open to other users is closed, and that is
    said.

    Raises:
        StorageError: it cannot be created or written, or others may put files into the home; the
            message names what to change.
    """
    home = evergreen_home()
    is_inside = folder.is_relative_to(home)
    if is_inside and (found := _NO_ADDRESS.search(str(home))):
        raise StorageError(
            f"{home}: {found[0]!r} means something else in an address, so databases and MLflow "
            "would look in another folder. Rename it, or set EVERGREEN_HOME to another folder."
        )
    try:
        if is_inside:
            _enter(home)
        make_folders(folder, mode=0o770 if is_inside else 0o775)
        with tempfile.TemporaryFile(dir=folder):
            pass
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
    return folder


def enter_home() -> Path:
    """Return the home, made and closed to others, as is all that this process makes from here on.

    The umask is the process's: a command or a flow calls this, never a library.

    Raises:
        StorageError: it cannot be made or written, or others may put files into it.
    """
    home = writable_folder(evergreen_home())
    os.umask(umask_of(home))
    return home


def _enter(home: Path) -> None:
    if home.is_dir():
        if said := close_to_others(home):
            _warn_once(said)
        return
    with contextlib.suppress(FileExistsError):  # somebody else was faster
        make_private(home)
        _logger.warning("home made: %s%s", home, _another_home(home))


@functools.cache
def _warn_once(text: str) -> None:
    _logger.warning("%s", text)


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
        return digest_opened(file)


def digest_opened(file: BufferedReader) -> str:
    """Return the sha256 of an opened file's content from here on, read in blocks."""
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
def replacing(path: Path, *, mode: int = 0o660) -> Generator[Path]:
    """Give a file to write that takes the place of `path` when it is whole, and not before.

    It is there, and empty; its permissions are `mode` without the umask's.
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


def append_json_line(path: Path, value: Json) -> None:
    """Append one line of JSON and sync it; a last line that a kill has cut is dropped first."""
    append_json_lines(path, [value])


def append_json_lines(path: Path, values: Iterable[Json]) -> None:
    """Append lines of JSON and sync them; a last line that a kill has cut is dropped first.

    Raises:
        OSError: the disk refuses; none of the lines is there.
    """
    raise_if_heard()
    text = "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    make_folders(path.parent)
    with os.fdopen(open_to_append(path), "a+b", buffering=0) as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.seek(0)
                last = file.read().rpartition(b"\n")[2]
                if _is_whole(last):  # an editor has left out the line's end
                    text = f"\n{text}"
                else:
                    _say_cut(path, last)
                    file.truncate(file.tell() - len(last))
        size, rest = file.seek(0, os.SEEK_END), text.encode()
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def read_json_lines(
    path: Path,
    read: "Callable[[dict[str, Json]], Line]" = dict,
    *,
    on_damage: Callable[[str], None] | None = None,
) -> "list[Line]":
    """Read a file of JSON lines; a missing file is empty, a last line cut by a kill is left out.

    Args:
        path: the file.
        read: makes of a line what is returned; whatever it refuses counts as damaged.
        on_damage: told of each damaged line, which then is left out.

    Raises:
        StorageError: a line is damaged and nobody is told of it, or the file cannot be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(refusal(error, path)) from error
    if lines[-1].strip() and not _is_whole(lines[-1]):
        _say_cut(path, lines.pop())
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    objects = _each(path, numbered, _json_object, on_damage)
    return [record for _, record in _each(path, objects, read, on_damage)]


def _each(
    path: Path,
    numbered: "list[tuple[int, Text]]",
    read: "Callable[[Text], Line]",
    on_damage: Callable[[str], None] | None,
) -> "list[tuple[int, Line]]":
    """Read numbered lines; see `read_json_lines`."""
    records: list[tuple[int, Line]] = []
    for number, line in numbered:
        try:
            records.append((number, read(line)))
        except (*_REFUSALS, EvergreenError) as error:
            reason = " ".join(first_line(error).split())[:_MAX_REASON]
            message = f"{path}:{number} is damaged: {reason}. Restore the file, or remove the line"
            if on_damage is None:
                raise StorageError(message) from None
            on_damage(message)
    return records


def _json_object(line: bytes) -> dict[str, Json]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError(f"{line[:40].decode(errors='replace')!r} is no object of JSON")  # noqa: TRY004
    return cast("dict[str, Json]", value)


def _is_whole(line: bytes) -> bool:
    """Tell whether a line without an end is all there; no part of an object is one."""
    try:
        _json_object(line)
    except (ValueError, RecursionError):
        return False
    return True


@functools.lru_cache(maxsize=64)
def _say_cut(path: Path, line: bytes) -> None:
    """Say once that a kill or a full disk has cut a line."""
    shown = line[:_MAX_REASON].decode(errors="replace")
    _logger.warning("%s: its last line was cut short and is left out: %r", path, shown)


@contextlib.contextmanager
def lock(path: Path, *, on_wait: Callable[[], None]) -> Generator[None]:
    """Hold a lock that ends with the process, however it ends; wait for whoever has it.

    Args:
        path: the lock's file; it stays, and whatever it holds. A link in its place is refused.
        on_wait: called once if somebody else has it.

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


@dataclass(frozen=True)
class Staged:
    """A temporary folder to fill, which becomes a published one under a name found on the way."""

    folder: Path

    def publish(self, folder: Path, facts: Mapping[str, Json]) -> None:
        """Write the manifest and rename to `folder`, beside the temporary one.

        A `folder` that is already there is replaced. The new one is its owner's alone, whatever
        the umask; open to a group if the old one is, or the folder around it if there is none.

        Args:
            folder: where the result shall stand.
            facts: what the manifest says besides `files` (sizes in bytes, sha256).
        """
        files: dict[str, Json] = {}
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file()):
            sync_file(path)
            name = path.relative_to(self.folder).as_posix()
            files[name] = {"size_bytes": path.stat().st_size, "sha256": digest_file(path)}
        write_json(self.folder / MANIFEST, {**facts, "files": files})
        _recover(folder)
        mode = mode_of_chosen((folder if folder.is_dir() else folder.parent).stat())
        close_tree(self.folder, mode, is_new=True)
        self.folder.chmod(mode | (self.folder.stat().st_mode & stat.S_ISGID))
        _replace_folder(self.folder, folder)


@contextlib.contextmanager
def staged(parent: Path, label: str) -> Generator[Staged]:
    """Give a temporary folder below `parent`; what is not published when it ends is gone.

    Raises:
        StorageError: the disk is full, read-only, or otherwise refuses.
    """
    writable_folder(parent)
    scratch = beside(parent / label)
    make_private(scratch)
    try:
        yield Staged(scratch)
    except OSError as error:
        full = no_room(error, parent)
        more = f": {full}" if full else ""
        raise StorageError(
            f"cannot write {parent / label}: {error.strerror or error}{more}"
        ) from error
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


def believed(folder: Path, *, holding: Iterable[str] = ()) -> dict[str, Json] | None:
    """Return a published folder's manifest if every file is as it says, else None.

    Args:
        folder: the published one.
        holding: names that the manifest has to speak for; it speaks for one file at least.

    Raises:
        StorageError: the system refuses to show it: what cannot be read may well be whole.
    """
    try:
        _recover(folder)
        manifest = cast("dict[str, Json]", json.loads((folder / MANIFEST).read_text("utf-8")))
        files = cast("dict[str, dict[str, Json]]", manifest["files"])
        whole = (
            bool(files)
            and files.keys() >= {*holding}
            and all(
                _is_inside(name)
                and (folder / name).stat().st_size == entry["size_bytes"]
                and digest_file(folder / name) == entry["sha256"]
                for name, entry in files.items()
            )
        )
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        named = None if error.filename else folder
        raise StorageError(f"{refusal(error, named)}. Make it readable") from error
    except _REFUSALS:
        return None
    return manifest if whole else None


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


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


def beside(path: Path) -> Path:
    """Return a hidden name in the same folder that nobody else uses or can tell."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


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
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


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
