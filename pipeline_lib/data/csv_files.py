"""CSV files: every field as text, exactly as it stands, or one message that says what is wrong.

pyarrow parses; what it lets pass silently is looked for first, over the raw bytes: archives and
other encodings, NUL, quotes that open or close nowhere. A row of another width is told with its
line, found by a second, slow reading that only a refused file pays for.
"""

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pipeline_lib.config import CsvFile
from pipeline_lib.data.names import check_names
from pipeline_lib.errors import SourceError, first_line

_BLOCK_BYTES = 32 * 1024 * 1024
_MAGIC = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"PAR1": "a Parquet file",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old Office file",
}
_DELIMITERS = ",;\t|:"


def read_csv(path: Path, source: CsvFile) -> pa.Table:
    """Read all rows of a CSV file; every column is of type string.

    Raises:
        SourceError: the file is something else, or not well-formed; the message names the line.
    """
    encoding = _known_encoding(path, source.encoding)
    if (
        len("a".encode(encoding.removesuffix("-sig"))) == 1
    ):  # of UTF-16 and its like the bytes say nothing
        _refuse_other_formats(path)
        _check_bytes(path, source.delimiter)
    header = _read_header(path, source, encoding)
    check_names([name.strip() for name in header] if source.trim else header, path)
    try:
        table = pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(encoding=source.encoding, use_threads=False),
            parse_options=pa_csv.ParseOptions(delimiter=source.delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                null_values=list(source.null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        raise SourceError(_explain(path, source, encoding, header, error)) from None
    return _trimmed(table, source.null_values) if source.trim else table


def _known_encoding(path: Path, name: str) -> str:
    """Return the encoding that also reads over a byte order mark."""
    try:
        return "utf-8-sig" if codecs.lookup(name).name.startswith("utf-8") else name
    except LookupError:
        raise SourceError(
            f"{path}: there is no text encoding {name!r}; set `data.source.encoding`"
        ) from None


def _refuse_other_formats(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(8)
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            raise SourceError(f"{path} is {what}, not CSV")


@dataclass
class _Scan:
    """Where a scan over the bytes of a file stands."""

    n_quotes: int = 0
    n_lines: int = 1
    before: int = ord("\n")
    opened_at_line: int = 1


def _check_bytes(path: Path, delimiter: str) -> None:
    """Refuse NUL, and quotes that do not stand at the borders of a field."""
    scan = _Scan()
    borders = np.frombuffer(f'{delimiter}\r\n"'.encode(), np.uint8)
    for block, following in _blocks(path):
        if (zeros := np.flatnonzero(block == 0)).size:
            raise SourceError(
                f"{path}:{scan.n_lines + _lines(block[: zeros[0]])}: holds a NUL byte"
            )
        at = np.flatnonzero(block == ord('"'))
        if at.size:
            _check_quotes(path, block, at, following, borders, scan)
        scan.n_lines += _lines(block)
        scan.before = int(block[-1])
    if scan.n_quotes % 2:
        raise SourceError(f"{path}:{scan.opened_at_line}: a quote opens here and is never closed")


def _check_quotes(
    path: Path,
    block: npt.NDArray[np.uint8],
    at: npt.NDArray[np.intp],
    following: int,
    borders: npt.NDArray[np.uint8],
    scan: _Scan,
) -> None:
    """Check that each quote that opens follows a border and each that closes is followed by one.

    A doubled quote closes and opens again, so counting tells which quotes open.
    """
    before = np.where(at > 0, block[at - 1], scan.before)
    after = np.append(block, np.uint8(following))[at + 1]
    opens = (np.arange(at.size) + scan.n_quotes) % 2 == 0
    stray = np.where(opens, ~np.isin(before, borders), ~np.isin(after, borders))
    if stray.any():
        line = scan.n_lines + _lines(block[: at[stray.argmax()]])
        raise SourceError(
            f"{path}:{line}: a stray quote inside a field. Put the field in quotes and double the "
            "quotes in it"
        )
    scan.n_quotes += at.size
    last_open = at[opens][-1] if opens.any() else None
    if last_open is not None:
        scan.opened_at_line = scan.n_lines + _lines(block[:last_open])


def _blocks(path: Path) -> Iterator[tuple[npt.NDArray[np.uint8], int]]:
    """Yield a file's bytes in blocks, each with the byte that follows it (a newline at the end)."""
    skip = len(codecs.BOM_UTF8)
    with path.open("rb") as file:
        if file.read(skip) != codecs.BOM_UTF8:
            file.seek(0)
        data = file.read(_BLOCK_BYTES)
        while data:
            more = file.read(_BLOCK_BYTES)
            yield np.frombuffer(data, np.uint8), more[0] if more else ord("\n")
            data = more


def _lines(block: npt.NDArray[np.uint8]) -> int:
    return int((block == ord("\n")).sum())


def _read_header(path: Path, source: CsvFile, encoding: str) -> list[str]:
    try:
        with path.open(encoding=encoding, newline="") as file:
            rows = (row for row in csv.reader(file, delimiter=source.delimiter, strict=True) if row)
            header = next(rows)
            has_rows = next(rows, None) is not None
    except UnicodeDecodeError as error:
        raise SourceError(_wrong_encoding(path, source, first_line(error))) from None
    except StopIteration:
        raise SourceError(f"{path} holds nothing but blank lines") from None
    except (csv.Error, OSError) as error:
        raise SourceError(f"{path}:1: the header cannot be read: {error}") from None
    if len(header) == 1:
        fitting = [d for d in _DELIMITERS if d != source.delimiter and d in header[0]]
        if fitting:
            raise SourceError(
                f"{path}:1: one column only with the delimiter {source.delimiter!r}; "
                f"{fitting[0]!r} fits the header. Set `data.source.delimiter`"
            )
    if not has_rows:
        raise SourceError(f"{path} has columns but no rows")
    return header


def _wrong_encoding(path: Path, source: CsvFile, why: str) -> str:
    return f"{path} is not {source.encoding} text ({why}); set `data.source.encoding`"


def _explain(
    path: Path, source: CsvFile, encoding: str, header: list[str], error: Exception
) -> str:
    """Read a refused file again, slowly, to name the line."""
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, delimiter=source.delimiter)
            last_line = 0
            for row in reader:
                if row and len(row) != len(header):
                    kind = "short" if len(row) < len(header) else "long"
                    return (
                        f"{path}:{last_line + 1}: a {kind} row: {len(header)} fields expected, "
                        f"{len(row)} found"
                    )
                last_line = reader.line_num
    except UnicodeDecodeError as wrong:
        return _wrong_encoding(path, source, first_line(wrong))
    except csv.Error as wrong:
        return f"{path}: {wrong}"
    return f"{path}: {first_line(error)}"


def _trimmed(table: pa.Table, null_values: tuple[str, ...]) -> pa.Table:
    nulls = pa.array(null_values, pa.string())
    columns: list[pa.ChunkedArray] = []
    for column in table.columns:
        text = pc.utf8_trim_whitespace(column)
        is_null = pc.is_in(text, value_set=nulls)
        columns.append(pc.if_else(is_null, pa.scalar(None, pa.string()), text))
    return pa.table(columns, names=[name.strip() for name in table.column_names])
