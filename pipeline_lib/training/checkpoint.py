"""An interrupted training on disk: written aside, synced, renamed, and believed only when whole.

`checkpoint.pt` is plain tensors and numbers, loadable with `weights_only=True`; every record in
it has a checksum. The one before stays as `checkpoint.previous.pt` and is taken when the last one
is damaged. Each names what it belongs to: the run key and what the weights started from.
"""

import contextlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from pipeline_lib.storage.replacing import replacing, scratch_files
from pipeline_lib.wording import first_line

CHECKPOINT_VERSION = 1
_FILE, _PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
_ASIDE = "checkpoint.damaged.pt"

State = dict[str, Any]


@dataclass(frozen=True)
class LoadedCheckpoint:
    """What an interrupted training left: its state, if one can be used, and what to report.

    `file` is where the state was found.
    """

    state: State | None
    notes: tuple[str, ...] = ()
    file: str = ""


def save_checkpoint(folder: Path, key: str, state: Mapping[str, Any]) -> None:
    """Replace the checkpoint in a folder; the one before it stays beside it.

    Raises:
        OSError: the disk is full or refuses; the earlier checkpoints are still there.
    """
    with replacing(folder / _FILE) as scratch:
        try:
            with scratch.open("wb") as file:  # whose errors say what the disk said
                torch.save({"version": CHECKPOINT_VERSION, "key": key, "state": dict(state)}, file)
        except RuntimeError as error:  # torch's writer says only at which position it was
            why = error.__context__
            raise why if isinstance(why, OSError) else OSError(first_line(error)) from None
        if (folder / _FILE).exists():  # a kill before the new one has its name leaves this one
            (folder / _FILE).replace(folder / _PREVIOUS)


def load_checkpoint(folder: Path, key: str) -> LoadedCheckpoint:
    """Return the newest state in a folder that is whole and belongs to `key`.

    A damaged file is set aside, and found no more.
    """
    notes: list[str] = []
    for name in (_FILE, _PREVIOUS):
        if not (folder / name).exists():
            continue
        try:
            content = _read(folder / name)
        except (OSError, MemoryError) as error:  # the file may be whole all the same
            notes.append(f"{name} cannot be read ({first_line(error)})")
            continue
        if isinstance(content, str):
            notes.append(set_aside(folder, name, content))
        elif content.get("version") != CHECKPOINT_VERSION:
            notes.append(f"{name} has version {content.get('version')!r}, not {CHECKPOINT_VERSION}")
        elif content.get("key") != key:
            notes.append(f"{name} belongs to other rows, codes, config, code or starting weights")
        else:
            return LoadedCheckpoint(cast("State", content["state"]), tuple(notes), name)
    return LoadedCheckpoint(None, tuple(notes))


def set_aside(folder: Path, name: str, why: str) -> str:
    """Rename a checkpoint that cannot be used; return a line about it."""
    with contextlib.suppress(OSError):  # the next save replaces it anyway
        (folder / name).replace(folder / _ASIDE)
    return f"{name} is damaged ({why}); it is set aside as {_ASIDE}"


def discard_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a training whose result is safe."""
    for name in (_FILE, _PREVIOUS, _ASIDE):
        (folder / name).unlink(missing_ok=True)
    discard_scratch(folder)


def discard_scratch(folder: Path) -> None:
    """Remove what kills in the middle of a save have left; no other process may be saving there."""
    for scratch in scratch_files(folder / _FILE):
        scratch.unlink(missing_ok=True)


def _read(path: Path) -> State | str:
    """Return a checkpoint's content, or what is wrong with the file.

    Nothing that torch says is passed on: it advises to load without its safeguards.

    Raises:
        OSError: the disk refuses.
        MemoryError: there is too little for it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if broken := archive.testzip():
                return f"the checksum of {broken[:80]!r} is wrong"
            # A folder gives no bytes; what is packed may be any amount of them.
            if any(r.external_attr or r.compress_type for r in archive.infolist()):
                return "its directory is not one that torch writes"
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - zipfile, pickle and torch raise anything
        return f"it cannot be read, {type(error).__name__}"
    if not isinstance(content, dict):
        return "it holds no training"
    read = cast("State", content)
    whole = isinstance(read.get("version"), int) and isinstance(read.get("key"), str)
    return read if whole and isinstance(read.get("state"), dict) else "it holds no training"
