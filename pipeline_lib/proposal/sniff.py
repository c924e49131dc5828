"""How a table without a config is probably to be read: format, encoding, delimiter.

Only looked at is the first file of those that a path means; whether the guess holds is proven by
reading with it.
"""

import codecs
import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pipeline_lib.addresses import shown_address
from pipeline_lib.config.sources import CsvFile, ParquetFile, Source, SqlQuery
from pipeline_lib.data.sources.formats import (
    NO_FIT,
    delimiter_fit,
    first_lines,
    is_parted_by_blanks,
    other_format,
    wide_encoding,
)
from pipeline_lib.data.sources.stores import FolderStore
from pipeline_lib.errors import SourceError, SourceNotFoundError, UsageError
from pipeline_lib.wording import did_you_mean

_HEAD_BYTES = 256 * 1024
_BLOCK_BYTES = 8 * 1024 * 1024
_DELIMITERS = (",", ";", "\t", "|")
_REMOTE = "s3://"


@dataclass(frozen=True)
class GuessedSource:
    """A source's settings, and what a person should know of how they were found."""

    source: Source
    notes: tuple[str, ...] = ()


def guess_source(
    table: str, *, root: Path, project: Path | None = None, query: str | None = None
) -> GuessedSource:
    """Guess the settings that read a table.

    Args:
        table: a path, relative to the working directory; a glob or with `{YYYY}`, `{MM}`, `{DD}`;
            or a database's url.
        root: the folder that paths in the config start from.
        project: the folder that may be moved as a whole: what lies in it gets a relative path.
            `root` without it.
        query: what to ask a database.

    Raises:
        SourceNotFoundError: there is no such file.
        SourceError: the file is empty, or neither CSV nor Parquet; the message names what it is.
        UsageError: `query` is missing or empty of meaning, or a setting would be refused.
    """
    try:
        return _guess(table, root, project or root, query)
    except ValidationError as error:
        rule = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UsageError(f"{shown_address(table)}: {rule}") from None


def _guess(table: str, root: Path, project: Path, query: str | None) -> GuessedSource:
    if "://" in table and not table.startswith(_REMOTE):
        if query is None:
            raise UsageError(
                f"{shown_address(table)} is a database: say with --query which rows to take from it"
            )
        return GuessedSource(SqlQuery(url=table, query=query))
    if query is not None:
        raise UsageError("--query asks a database; TABLE names a file")
    if table.startswith(_REMOTE):
        note = f"{table} was not looked into: delimiter and encoding are the usual ones"
        source = ParquetFile(path=table) if ".parquet" in table else CsvFile(path=table)
        return GuessedSource(source, (note,))
    file, path = _first_file(table), _written(table, root, project)
    try:
        with file.open("rb") as opened:
            head = opened.read(_HEAD_BYTES)
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from None
    if head.startswith(b"PAR1"):
        return GuessedSource(ParquetFile(path=path))
    if found := other_format(head):
        raise SourceError(f"{file} is {found[0]}, not CSV: {found[1]}")
    encoding, notes = _encoding(file, head)
    lines = first_lines(head, encoding, is_whole=len(head) < _HEAD_BYTES)
    delimiter = _delimiter(lines)
    notes += _of_header(lines, delimiter)
    given: dict[str, str] = {}
    if delimiter != ",":
        given["delimiter"] = delimiter
    if encoding != "utf-8":
        given["encoding"] = encoding
    return GuessedSource(CsvFile.model_validate({"path": path, **given}), notes)


def _first_file(table: str) -> Path:
    """Return the file itself, or the last one by name that a glob or a path with dates means."""
    path = Path(table)
    if path.is_dir():
        raise SourceError(f"{table} is a folder; name its files, as in '{table}/*.csv'")
    if not path.exists():
        pattern = table
        for field, digits in {"{YYYY}": 4, "{MM}": 2, "{DD}": 2}.items():
            pattern = pattern.replace(field, "[0-9]" * digits)
        found = FolderStore(Path.cwd()).matches(pattern)
        if not found:
            near = did_you_mean(path.name, (p.name for p in path.parent.glob("*")))
            raise SourceNotFoundError(f"{table}: there is no such file{near}")
        path = Path(max(found))
    if path.stat().st_size == 0:
        raise SourceError(f"{path} is empty")
    return path


def _written(table: str, root: Path, project: Path) -> str:
    whole = Path(os.path.abspath(table))  # noqa: PTH100 - `resolve` would follow links
    is_inside = whole.is_relative_to(root) or whole.is_relative_to(project)
    return Path(os.path.relpath(whole, root)).as_posix() if is_inside else str(whole)


def _encoding(file: Path, head: bytes) -> tuple[str, tuple[str, ...]]:
    if wide := wide_encoding(head):
        return wide, ()
    strict = codecs.getincrementaldecoder("utf-8")()
    undefined = False
    is_utf8 = True
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            undefined |= any(byte in block for byte in b"\x81\x8d\x8f\x90\x9d")
            if is_utf8:
                try:
                    strict.decode(block)
                except UnicodeDecodeError:
                    is_utf8 = False
    if is_utf8:
        return "utf-8", ()
    # Each of their bytes means something, so nothing can prove these two right or wrong.
    name = "latin-1" if undefined else "windows-1252"
    return name, (f"the text is not UTF-8; {name} is a guess: look at words with accents",)


def _delimiter(lines: list[str]) -> str:
    """Return the delimiter that fits most lines; of equals the one of the widest header."""
    fits = {delimiter: delimiter_fit(lines, delimiter) for delimiter in _DELIMITERS}
    best = max(fits, key=lambda delimiter: fits[delimiter])
    # Words have blanks between them anyway: only where nothing else could be a delimiter.
    return " " if fits[best] == NO_FIT and is_parted_by_blanks(lines) else best


def _of_header(lines: list[str], delimiter: str) -> tuple[str, ...]:
    header = next(csv.reader(io.StringIO("".join(lines)), delimiter=delimiter), [])
    values = [word for word in header if re.fullmatch(r"\s*[+-]?\d+(\.\d+)?\s*", word)]
    if len(values) > len(header) / 2:
        return (
            "the first line looks like values, not names: the table may lack a header "
            f"(first are {', '.join(header[:3])})",
        )
    return ()
