"""Folders that are published whole, and used only if they are as their manifest says.

A folder is valid when its `manifest.json` is there and every file still has the size and sha256
that the manifest names.
"""

import contextlib
import json
import shutil
import stat
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import cast

from pipeline_lib.errors import StorageError
from pipeline_lib.permissions import close_tree, make_private, mode_of_chosen
from pipeline_lib.storage.digests import digest_file
from pipeline_lib.storage.folders import writable_folder
from pipeline_lib.storage.json_files import REFUSALS, Json, write_json
from pipeline_lib.storage.replacing import beside, sync_file, sync_folder
from pipeline_lib.wording import no_room, refusal

MANIFEST = "manifest.json"


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
    except REFUSALS:
        return None
    return manifest if whole else None


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def finish_replacing(old: Path) -> None:
    """Restore a folder that a kill left renamed, or remove it if its successor is in place."""
    folder = old.with_name(old.name[1:].removesuffix(".old"))
    _recover(folder)
    shutil.rmtree(old, ignore_errors=True)


def _old(folder: Path) -> Path:
    """Return where a folder stands while its successor takes its place."""
    return folder.with_name(f".{folder.name}.old")


def _recover(folder: Path) -> None:
    """Restore a folder that a kill between the two renames of `_replace_folder` left renamed."""
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
