"""What a file is that should be a table of text: known by its first bytes, never by its name.

Text of two or four bytes a character is recognized here as well; its bytes do not show which other
encoding it has.
"""

import codecs
import csv
import io
import itertools
import json
import re
from collections.abc import Sequence

MAX_LINES = 500
NO_FIT = (0.0, 1)

# What begins with these bytes, and what a person does about it.
_MAGIC = {
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0": ("an old Office file", "save the sheet as CSV"),
    b"\x1f\x8b": ("a gzip archive", "unpack it"),
    b"\x1f\x9d": ("a compress archive", "unpack it"),
    b"BZh": ("a bzip2 archive", "unpack it"),
    b"\xfd7zXZ": ("an xz archive", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("a zstd archive", "unpack it"),
    b"\x04\x22\x4d\x18": ("an lz4 archive", "unpack it"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it"),
    b"Rar!\x1a\x07": ("a RAR archive", "unpack it"),
    b"PAR1": ("a Parquet file", "set `kind: parquet`"),
    b"SQLite format 3\x00": ("a SQLite database", "set `kind: sql`, as sqlite:///PATH and a query"),
    b"ARROW1": ("an Arrow file", "write it as Parquet"),
    b"FEA1": ("a Feather file", "write it as Parquet"),
    b"ORC": ("an ORC file", "write it as Parquet"),
    b"Obj\x01": ("an Avro file", "write it as Parquet"),
    b"\x89HDF": ("an HDF5 file", "write it as Parquet"),
    b"\x93NUMPY": ("a NumPy array", "write it as Parquet"),
    b"%PDF": ("a PDF", "get its table as CSV"),
    b"\x89PNG": ("a PNG picture", "get its table as CSV"),
    b"version https://git-lfs": ("a pointer of Git LFS", "run `git lfs pull`"),
}
_TAR = b"ustar"
_TAR_AT = 257
_BLANKS = b" \t\r\n"
_ARFF = re.compile(r"(?:\s*%[^\n]*\n)*\s*@relation\b", re.IGNORECASE)
_MARKUP = re.compile(r"<(!doctype|html|\?xml|table|svg)\b", re.IGNORECASE)
_JSON_BEGINS = re.compile(r"[\[{]\s*([\[{]|\"[^\"]*\"\s*:)")


def other_format(head: bytes) -> tuple[str, str] | None:
    r"""Return what a file is that holds no plain text of a table, and what to do about it.

    Args:
        head: its first bytes, a kilobyte or more where there are so many.

    >>> other_format(b"PK..."), other_format(b"PK\x03\x04...")
    (None, ('a zip archive or a spreadsheet', 'unpack it, or save the sheet as CSV'))
    """
    for magic, what in _MAGIC.items():
        # A column may be called ORC.
        if head.startswith(magic) and (_is_binary(head) or not magic.isalnum()):
            return what
    if head[_TAR_AT:].startswith(_TAR):
        return "a tar archive", "unpack it"
    text = head.removeprefix(codecs.BOM_UTF8).lstrip(_BLANKS).decode("latin-1")
    if _ARFF.match(text):
        return (
            "an ARFF file",
            "write the names of its @attribute lines as a header, and only the rows after @data "
            "below it",
        )
    if _MARKUP.match(text):
        return "HTML or XML", "perhaps an error page was saved"
    if text.startswith(("{", "[")) and _is_json(text):
        return "JSON", "write its records as CSV or Parquet"
    return None


def wide_encoding(head: bytes) -> str | None:
    r"""Return the name of an encoding of two or four bytes a character, if text begins so.

    >>> [wide_encoding("a,b\n".encode(name)) for name in ("utf-8", "utf-16", "utf-16-be")]
    [None, 'utf-16', 'utf-16-be']
    """
    for marks, name in (
        ((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-32"),
        ((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-16"),
    ):
        if head.startswith(marks):
            return name
    head = head[: len(head) // 4 * 4] or head[: len(head) // 2 * 2]
    nul = [head[place::4].count(0) / max(1, len(head) // 4) for place in range(4)]
    # Latin letters, digits and delimiters have a zero in front or behind; NUL itself is no text.
    if min(nul[2:]) > 0.9 and nul[0] < 0.1:
        return "utf-32-le"
    if min(nul[:2]) > 0.9 and nul[3] < 0.1:
        return "utf-32-be"
    front, behind = (nul[0] + nul[2]) / 2, (nul[1] + nul[3]) / 2
    if head.count(0) < 2 or max(front, behind) < 0.25:
        return None
    if front < behind / 10:
        return "utf-16-le"
    return "utf-16-be" if behind < front / 10 else None


def first_lines(head: bytes, encoding: str, *, is_whole: bool) -> list[str]:
    """Return the first lines of a text, at most `MAX_LINES`, with their ends.

    Args:
        head: the file's first bytes.
        encoding: of the text; what it does not have is replaced.
        is_whole: whether there are no more; otherwise the last line is cut, and left out.
    """
    try:
        text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    except UnicodeError:  # some codecs replace nothing; the reader reports what is wrong
        return []
    text = io.StringIO(text.removeprefix("\ufeff"), newline="")
    lines = list(itertools.islice(text, MAX_LINES + 1))
    return lines if is_whole and len(lines) <= MAX_LINES else lines[:-1] or lines


def delimiter_fit(lines: Sequence[str], delimiter: str) -> tuple[float, int]:
    r"""Return the share of rows that are as wide as the first, and its width; `NO_FIT` for 1.

    >>> delimiter_fit(["a;b\n", "1;2\n"], ";"), delimiter_fit(["a;b\n", "1;2\n"], ",")
    ((1.0, 2), (0.0, 1))
    """
    try:
        rows = [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return NO_FIT
    if not rows or len(rows[0]) < 2:
        return NO_FIT
    return round(sum(len(row) == len(rows[0]) for row in rows) / len(rows), 2), len(rows[0])


def is_parted_by_blanks(lines: Sequence[str]) -> bool:
    """Return whether every line has as many words as the first, three or more."""
    share, width = delimiter_fit(lines, " ")
    return share == 1 and width > 2


def _is_binary(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return True
    return 0 in head


def _is_json(text: str) -> bool:
    try:
        json.loads(text.splitlines()[0].rstrip())
    except ValueError:
        return _JSON_BEGINS.match(text) is not None
    return True
