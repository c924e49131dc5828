"""Digests: what has the same sha256 is the same."""

import functools
import hashlib
import json
from io import BufferedReader
from pathlib import Path

from pipeline_lib.storage.json_files import Json


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
    """Return one sha256 over `pipeline_lib`: what other code has made is made again."""
    return digest_tree(Path(__file__).resolve().parents[1], "*.py")
