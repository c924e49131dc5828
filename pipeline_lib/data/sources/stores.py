"""Files where they lie: in a folder, or in a bucket. Listing, opening, and a copy on this disk.

What a path means is decided in `paths`, what a file holds where its format is read.
"""

import contextlib
import errno
import os
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from fsspec import AbstractFileSystem, filesystem

from pipeline_lib.data.sources.beneath import open_beneath, real_below
from pipeline_lib.data.sources.globs import Glob, fixed_part, is_glob, walk
from pipeline_lib.errors import (
    EvergreenError,
    SourceError,
    SourceNotFoundError,
    StorageError,
    UsageError,
)
from pipeline_lib.home import Home
from pipeline_lib.scratch import scratch_folder
from pipeline_lib.shown import printable
from pipeline_lib.storage.digests import digest_json, digest_opened
from pipeline_lib.wording import did_you_mean, first_line

_S3 = "s3://"
_COPY_BYTES = 8 * 1024 * 1024
# s3fs reads 50 MB ahead by default; a header and a footer take less than one.
_HEAD_BYTES = 1024 * 1024


class DataFile(Protocol):
    """A file that is there; `name` is what messages call it."""

    @property
    def name(self) -> str:
        """What a person calls the file."""
        ...

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        ...

    def fingerprint(self) -> str:
        """Return 64 hex digits that change when the content does."""
        ...

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Open it for a look; seekable. Every OSError inside becomes a SourceError."""
        ...

    def on_disk(self) -> AbstractContextManager[Path]:
        """Lend it as a local file; refused if it changes meanwhile."""
        ...


class Store(Protocol):
    """A place of files, asked with the paths that a config holds."""

    def place(self, path: str) -> str:
        """Return what a person calls the path."""
        ...

    def file(self, path: str) -> DataFile | None:
        """Return the file with exactly this path, if there is one."""
        ...

    def matches(self, pattern: str) -> "Mapping[str, DataFile]":
        """Return the files that a glob finds, by path; folders are left out."""
        ...

    def missing(self, path: str) -> SourceError:
        """Return what to say of a path that is no file."""
        ...


def store_of(
    path: str, *, root: Path, follow_symlinks: bool = False, home: Home | None = None
) -> Store:
    """Return the store that a config's path means.

    Args:
        path: of a file, a glob, or one with dates.
        root: the folder that a relative path starts from.
        follow_symlinks: whether what a glob finds may lie elsewhere; a bucket has no links.
        home: for whose runs files of a bucket are fetched.

    Raises:
        UsageError: the path names a kind of store that is not known, or `s3fs` is not installed.
    """
    if path.startswith(_S3):
        try:
            # A worker lives for weeks: without this it would see the listing of its first run.
            s3 = filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
        except ImportError:
            raise UsageError(
                f"{path}: S3 needs s3fs, which is not installed: pip install 'evergreen-tables[s3]'"
            ) from None
        return BucketStore(cast("AbstractFileSystem", s3), _S3, home)
    if "://" in path:
        raise UsageError(f"{path}: files are read from folders and from s3://, not from there")
    return FolderStore(root, follow_symlinks)


def is_remote(path: str) -> bool:
    """Return whether a config's path does not start from the project root."""
    return path.startswith(_S3)


@dataclass(frozen=True)
class FolderStore:
    """Files of this machine; relative paths start at `root`.

    What a glob finds lies below its fixed folder, unless links may be followed; a file that is
    named outright may be a link.
    """

    root: Path
    follow_symlinks: bool = False

    def place(self, path: str) -> str:
        """Return the whole path, printable."""
        return printable(str(self._whole(path)))

    def file(self, path: str) -> "LocalFile | None":
        """Return the file with exactly this path, if there is one."""
        folder, inner = _without_climbing(self.root, path)
        fixed = folder / fixed_part(inner) if is_glob(inner) else None
        return self._found(folder / inner, fixed)

    def matches(self, pattern: str) -> "dict[str, LocalFile]":
        """Return the files that a glob finds, by path, which begins as the pattern does."""
        folder, inner = _without_climbing(self.root, pattern)
        up, fixed = pattern.removesuffix(inner), folder / fixed_part(inner)
        enter = None if self.follow_symlinks else partial(real_below, fixed)
        found: dict[str, LocalFile] = {}
        for path in walk(folder, inner, enter=enter):
            if (file := self._found(folder / path, fixed)) is not None:
                found[f"{up}{path}"] = file
        return found

    def _found(self, whole: Path, fixed: Path | None = None) -> "LocalFile | None":
        with _named(printable(str(whole))):
            if not whole.is_file():
                return None
            if self.follow_symlinks or fixed is None:
                return LocalFile(whole, _state(whole.stat()))
            real = real_below(fixed, whole)
            return LocalFile(whole, _state(real.lstat()), Beneath(fixed.resolve(), real))

    def missing(self, path: str) -> SourceError:
        """Return what to say of a path that is no file."""
        whole, name = self._whole(path), self.place(path)
        if whole.exists():
            return SourceError(f"{name} is {'a folder' if whole.is_dir() else 'a device'}, no file")
        near = did_you_mean(whole.name, (p.name for p in whole.parent.glob("*")))
        return SourceNotFoundError(f"{name}: there is no such file{near}")

    def _whole(self, path: str) -> Path:
        folder, inner = _without_climbing(self.root, path)
        return folder / inner


def _without_climbing(root: Path, path: str) -> tuple[Path, str]:
    """Return where `../a` starts from, and the rest: the folder climbed out of need not be."""
    while path.startswith("../"):
        root, path = root.parent, path.removeprefix("../").lstrip("/")
    return root, path


@dataclass(frozen=True)
class Beneath:
    """Where a file lies that must not be reached by a link: below `folder`; both are resolved."""

    folder: Path
    file: Path


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine, as it was when it was found; `beneath` for one that a glob found."""

    path: Path
    state: tuple[int, int, int]
    beneath: Beneath | None = None

    @property
    def name(self) -> str:
        """The path, printable."""
        return printable(str(self.path))

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return self.state[0]

    def fingerprint(self) -> str:
        """Return the sha256 of its bytes."""
        with self.open() as file:
            return digest_opened(file)

    @contextlib.contextmanager
    def open(self) -> Generator[BufferedReader]:
        """Open it for a look."""
        with _named(self.name), self._as_it_was() as file:
            yield file

    @contextlib.contextmanager
    def on_disk(self) -> Generator[Path]:
        """Lend its path, or where the opened file is found.

        Raises:
            SourceError: it has changed since it was found.
        """
        with _named(self.name), self._as_it_was() as file:
            yield self.path if self.beneath is None else Path(f"/dev/fd/{file.fileno()}")

    @contextlib.contextmanager
    def _as_it_was(self) -> Generator[BufferedReader]:
        """Refuse a file that has changed; whatever else is said of its rows comes of that."""
        with self._opened() as file:
            try:
                yield file
            except Exception:
                self._check_unchanged()
                raise
            self._check_unchanged()

    def _check_unchanged(self) -> None:
        with self._opened():
            pass

    @contextlib.contextmanager
    def _opened(self) -> Generator[BufferedReader]:
        """Open the very file that was found; another one in its place is refused."""
        where = self.beneath
        try:
            number = (
                os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
                if where is None
                else open_beneath(where.folder, where.file)
            )
        except OSError as error:
            is_link = where is not None and error.errno in (errno.ELOOP, errno.ENOTDIR)
            if error.errno == errno.ENOENT:
                raise _changed(self.name, "; there is no such file any more") from error
            raise (_changed(self.name) if is_link else error) from error
        with os.fdopen(number, "rb") as file:
            if _state(os.fstat(number)) != self.state:
                raise _changed(self.name)
            yield file


@dataclass(frozen=True)
class BucketStore:
    """Files behind an fsspec file system; paths begin with `scheme`."""

    system: AbstractFileSystem
    scheme: str
    home: Home | None = None

    def place(self, path: str) -> str:
        """Return the path, which says all."""
        return path

    def file(self, path: str) -> "BucketFile | None":
        """Return the file with exactly this path, if there is one."""
        with _named_from_store(path):
            try:
                facts = cast("Mapping[str, object]", self.system.info(path))
            except FileNotFoundError:
                return None
        return BucketFile(self.system, path, facts, self.home) if facts["type"] == "file" else None

    def matches(self, pattern: str) -> "dict[str, BucketFile]":
        """Return the files that a glob finds, by path."""
        with _named_from_store(pattern):
            # Its own glob tries what every star could mean, one after the other.
            start = fixed_part(pattern.removeprefix(self.scheme))
            glob = Glob(pattern.removeprefix(f"{self.scheme}{start}").split("/"), hidden=True)
            depth = None if "**" in glob.names else len(glob.names)
            place = f"{self.scheme}{start}"
            listed = self.system.find(place, maxdepth=depth, withdirs=False, detail=True)
            found = cast("dict[str, dict[str, object]]", listed)
        names = {path.lstrip("/"): facts for path, facts in found.items()}
        paths = {
            f"{self.scheme}{name}": facts
            for name, facts in names.items()
            if facts["type"] == "file" and glob.matches(name.removeprefix(start))
        }
        return {
            path: BucketFile(self.system, path, facts, self.home) for path, facts in paths.items()
        }

    def missing(self, path: str) -> SourceError:
        """Return what to say of a path that is no file."""
        return SourceNotFoundError(f"{path}: there is no such file")


@dataclass(frozen=True)
class BucketFile:
    """A file behind an fsspec file system, as it was when it was found."""

    system: AbstractFileSystem
    name: str
    facts: Mapping[str, object]
    home: Home | None = None

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return int(cast("int", self.facts["size"]))

    def fingerprint(self) -> str:
        """Return a sha256 of the store's own tag, or of size and time where it has none."""
        return _fingerprint(self.facts)

    @contextlib.contextmanager
    def open(self) -> Generator[BinaryIO]:
        """Open it for a look; only what is looked at is fetched."""
        with (
            _named_from_store(self.name),
            self.system.open(self.name, "rb", block_size=_HEAD_BYTES) as file,
        ):
            yield cast("BinaryIO", file)

    @contextlib.contextmanager
    def on_disk(self) -> Generator[Path]:
        """Fetch it into a temporary file, which is removed afterwards.

        Raises:
            SourceError: it cannot be fetched whole, or has changed since it was found.
            StorageError: this disk is full.
        """
        with scratch_folder(self.home) as folder:
            self._fetch(folder / "fetched")
            yield folder / "fetched"

    def _fetch(self, path: Path) -> None:
        with _named_from_store(self.name):
            far = self.system.open(self.name, "rb", block_size=_COPY_BYTES)
            with far as file, path.open("wb") as copy:
                while block := cast("bytes", file.read(_COPY_BYTES)):
                    _write(copy, block, self.name, path.parent)
            facts = cast("Mapping[str, object]", self.system.info(self.name))
            if _fingerprint(facts) != self.fingerprint():
                raise _changed(self.name)
            if path.stat().st_size != self.size_bytes:
                raise SourceError(
                    f"{self.name}: {path.stat().st_size:,} bytes came of {self.size_bytes:,}; "
                    "run again"
                )


def _state(facts: os.stat_result) -> tuple[int, int, int]:
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


def _fingerprint(facts: Mapping[str, object]) -> str:
    size = int(cast("int", facts["size"]))
    if "ETag" in facts:
        return digest_json({"etag": str(facts["ETag"]), "size": size})
    times = [str(facts[key]) for key in ("LastModified", "mtime", "created") if key in facts]
    return digest_json({"times": times, "size": size})


def _changed(name: str, now: str = "") -> SourceError:
    return SourceError(f"{name} changed while it was read; run again when it is complete{now}")


def _write(file: BinaryIO, block: bytes, name: str, folder: Path) -> None:
    try:
        file.write(block)
    except OSError as error:
        raise StorageError(
            f"cannot fetch {name} into {folder}: {error.strerror}. "
            "Free some space, or set EVERGREEN_HOME to a folder that has it"
        ) from error


@contextlib.contextmanager
def _named(name: str) -> Generator[None]:
    """Turn the system's errors about a file into one message that names it."""
    try:
        yield
    except FileNotFoundError:
        raise SourceNotFoundError(f"{name}: there is no such file or bucket") from None
    except OSError as error:
        raise SourceError(
            f"{name}: cannot be read: {error.strerror or first_line(error)}"
        ) from error


@contextlib.contextmanager
def _named_from_store(name: str) -> Generator[None]:
    """Turn whatever a store's client raises into one message that names the file."""
    try:
        with _named(name):
            yield
    except EvergreenError:
        raise
    except Exception as error:  # clients share no base: botocore's errors are no OSError
        raise SourceError(f"{name}: cannot be read: {first_line(error)}") from error
