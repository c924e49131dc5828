"""JSON files and files of JSON lines: whole or absent, whatever ends the process."""

import functools
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

from pipeline_lib.errors import EvergreenError, StorageError
from pipeline_lib.interruption import raise_if_heard
from pipeline_lib.permissions import make_folders, open_to_append
from pipeline_lib.storage.replacing import replacing
from pipeline_lib.wording import first_line, refusal

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

Line = TypeVar("Line")
Text = TypeVar("Text")
_MAX_REASON = 200
# What reading a text of ours may raise once something else has changed it.
REFUSALS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

_logger = logging.getLogger(__name__)


def write_json(path: Path, value: Json, *, indent: int | None = 2) -> None:
    """Replace a JSON file atomically: a reader sees the old text or the new one, whole.

    Args:
        path: the file.
        value: what it shall hold.
        indent: blanks per level; None for files that only programs read.
    """
    with replacing(path) as scratch, scratch.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=indent, ensure_ascii=False, sort_keys=True)
        file.write("\n")


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
        read: converts a line; a line for which it raises counts as damaged.
        on_damage: called with a message for each damaged line, which is left out.

    Raises:
        StorageError: a line is damaged and there is no `on_damage`, or the file cannot be read.
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
        except (*REFUSALS, EvergreenError) as error:
            reason = " ".join(first_line(error).split())[:_MAX_REASON]
            message = f"{path}:{number} is damaged: {reason}. Restore the file, or remove the line"
            if on_damage is None:
                raise StorageError(message) from None
            on_damage(message)
    return records


def _json_object(line: bytes) -> dict[str, Json]:
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError(f"{line[:40].decode(errors='replace')!r} is not a JSON object")  # noqa: TRY004
    return cast("dict[str, Json]", value)


def _is_whole(line: bytes) -> bool:
    """Return whether a line without its newline is complete; no part of an object is one."""
    try:
        _json_object(line)
    except (ValueError, RecursionError):
        return False
    return True


@functools.lru_cache(maxsize=64)
def _say_cut(path: Path, line: bytes) -> None:
    """Log once that a kill or a full disk has cut a line."""
    shown = line[:_MAX_REASON].decode(errors="replace")
    _logger.warning("%s: its last line was cut short and is left out: %r", path, shown)
