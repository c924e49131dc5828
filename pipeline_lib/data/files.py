"""Files where they lie: in a folder, or in a bucket. Listing, opening, and a copy on this disk.

What a path means is decided in `paths`, what a file holds where its format is read.
"""

import contextlib
import glob
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from fsspec import AbstractFileSystem, filesystem

from pipeline_lib.errors import (
    EvergreenError,
    SourceError,
    SourceNotFoundError,
    StorageError,
    UsageError,
    did_you_mean,
    first_line,
)
from pipeline_lib.scratch import scratch_folder
from pipeline_lib.storage import digest_file, digest_json

_S3 = "s3://"
_COPY_BYTES = 8 * 1024 * 1024
# s3fs reads 50 MB ahead unless told otherwise; a header and a footer take less than one.
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


def store_of(path: str, *, root: Path) -> Store:
    """Return the store that a config's path means.

    Raises:
        UsageError: the path names a kind of store that is not known, or `s3fs` is not installed.
    """
    if path.startswith(_S3):
        try:
            # A worker lives for weeks: without this it would see the listing of its first night.
            s3 = filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
        except ImportError:
            raise UsageError(
                f"{path}: S3 needs s3fs, which is not installed: pip install 'evergreen-tables[s3]'"
            ) from None
        return BucketStore(cast("AbstractFileSystem", s3), _S3)
    if "://" in path:
        raise UsageError(f"{path}: files are read from folders and from s3://, not from there")
    return FolderStore(root)


def is_remote(path: str) -> bool:
    """Return whether a config's path does not start from the project root."""
    return path.startswith(_S3)


@dataclass(frozen=True)
class FolderStore:
    """Files of this machine; relative paths start at `root`."""

    root: Path

    def place(self, path: str) -> str:
        """Return the whole path."""
        return str(self._whole(path))

    def file(self, path: str) -> "LocalFile | None":
        """Return the file with exactly this path, if there is one."""
        whole = self._whole(path)
        with _told(str(whole)):
            return LocalFile(whole, _state(whole)) if whole.is_file() else None

    def matches(self, pattern: str) -> "dict[str, LocalFile]":
        """Return the files that a glob finds, by path, which begins as the pattern does."""
        # Path.glob takes no absolute pattern, and its stars find hidden files.
        folder, inner = _without_climbing(self.root, pattern)
        found = glob.glob(inner, root_dir=folder, recursive=True)  # noqa: PTH207
        up = pattern.removesuffix(inner)
        files = {f"{up}{path}": self.file(f"{up}{path}") for path in found}
        return {path: file for path, file in files.items() if file is not None}

    def missing(self, path: str) -> SourceError:
        """Return what to say of a path that is no file."""
        whole = self._whole(path)
        if whole.exists():
            return SourceError(
                f"{whole} is {'a folder' if whole.is_dir() else 'a device'}, no file"
            )
        near = did_you_mean(whole.name, (p.name for p in whole.parent.glob("*")))
        return SourceNotFoundError(f"{whole}: there is no such file{near}")

    def _whole(self, path: str) -> Path:
        folder, inner = _without_climbing(self.root, path)
        return folder / inner


def _without_climbing(root: Path, path: str) -> tuple[Path, str]:
    """Return where `../a` starts from, and the rest: the folder climbed out of need not be."""
    while path.startswith("../"):
        root, path = root.parent, path.removeprefix("../").lstrip("/")
    return root, path


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine, as it was when it was found."""

    path: Path
    state: tuple[int, int, int]

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return self.state[0]

    def fingerprint(self) -> str:
        """Return the sha256 of its bytes."""
        with _told(self.name):
            return digest_file(self.path)

    @contextlib.contextmanager
    def open(self) -> Generator[BinaryIO]:
        """Open it for a look."""
        with _told(self.name), self.path.open("rb") as file:
            yield file

    @contextlib.contextmanager
    def on_disk(self) -> Generator[Path]:
        """Lend its path.

        Raises:
            SourceError: it has changed since it was found.
        """
        with _told(self.name):
            self._check_unchanged()
            yield self.path
            self._check_unchanged()

    def _check_unchanged(self) -> None:
        if _state(self.path) != self.state:
            raise _changed(self.name)


@dataclass(frozen=True)
class BucketStore:
    """Files behind an fsspec file system; paths begin with `scheme`."""

    system: AbstractFileSystem
    scheme: str

    def place(self, path: str) -> str:
        """Return the path, which says all."""
        return path

    def file(self, path: str) -> "BucketFile | None":
        """Return the file with exactly this path, if there is one."""
        with _told_from_afar(path):
            try:
                facts = cast("Mapping[str, object]", self.system.info(path))
            except FileNotFoundError:
                return None
        return BucketFile(self.system, path, facts) if facts["type"] == "file" else None

    def matches(self, pattern: str) -> "dict[str, BucketFile]":
        """Return the files that a glob finds, by path."""
        with _told_from_afar(pattern):
            found = cast("dict[str, dict[str, object]]", self.system.glob(pattern, detail=True))
        paths = {
            f"{self.scheme}{path.lstrip('/')}": facts
            for path, facts in found.items()
            if facts["type"] == "file"
        }
        return {path: BucketFile(self.system, path, facts) for path, facts in paths.items()}

    def missing(self, path: str) -> SourceError:
        """Return what to say of a path that is no file."""
        return SourceNotFoundError(f"{path}: there is no such file")


@dataclass(frozen=True)
class BucketFile:
    """A file behind an fsspec file system, as it was when it was found."""

    system: AbstractFileSystem
    name: str
    facts: Mapping[str, object]

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
            _told_from_afar(self.name),
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
        with scratch_folder() as folder:
            self._fetch(folder / "fetched")
            yield folder / "fetched"

    def _fetch(self, path: Path) -> None:
        with _told_from_afar(self.name):
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


def _state(path: Path) -> tuple[int, int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


def _fingerprint(facts: Mapping[str, object]) -> str:
    size = int(cast("int", facts["size"]))
    if "ETag" in facts:
        return digest_json({"etag": str(facts["ETag"]), "size": size})
    times = [str(facts[key]) for key in ("LastModified", "mtime", "created") if key in facts]
    return digest_json({"times": times, "size": size})


def _changed(name: str) -> SourceError:
    return SourceError(f"{name} changed while it was read; run again when it is complete")


def _write(file: BinaryIO, block: bytes, name: str, folder: Path) -> None:
    try:
        file.write(block)
    except OSError as error:
        raise StorageError(
            f"cannot fetch {name} into {folder}: {error.strerror}. "
            "Free some space, or set EVERGREEN_HOME to a folder that has it"
        ) from None


@contextlib.contextmanager
def _told(name: str) -> Generator[None]:
    """Turn what the machine says of a file into one message that names it."""
    try:
        yield
    except FileNotFoundError:
        raise SourceNotFoundError(f"{name}: there is no such file or bucket") from None
    except OSError as error:
        raise SourceError(
            f"{name}: cannot be read: {error.strerror or first_line(error)}"
        ) from None


@contextlib.contextmanager
def _told_from_afar(name: str) -> Generator[None]:
    """Turn whatever a store's client raises into one message that names the file."""
    try:
        with _told(name):
            yield
    except EvergreenError:
        raise
    except Exception as error:  # clients share no base: botocore's errors are no OSError
        raise SourceError(f"{name}: cannot be read: {first_line(error)}") from error
