"""CSV files: every field as text, exactly as it stands, or one message that says what is wrong.

`csv_rows` cuts a file into pieces of whole rows and refuses what no CSV holds; pyarrow parses one
piece at a time, so that memory does not grow with the file. A row of another width is told with
its line, found by a second, slow reading of its piece.
"""

import csv
import io
import re
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pipeline_lib.config import CsvFile
from pipeline_lib.data.csv_rows import (
    Piece,
    check_encoding,
    line_ends,
    whole_rows,
    wrong_encoding,
)
from pipeline_lib.data.files import DataFile
from pipeline_lib.data.names import check_names
from pipeline_lib.data.schemas import Head
from pipeline_lib.errors import SourceError, first_line

_MAGIC = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\x1f\x8b": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old Office file",
}
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = ",;\t|:"
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n|$)")
_BOM = "\ufeff".encode()


def csv_head(file: DataFile, settings: CsvFile) -> Head:
    """Return the columns of a CSV file, all of type string, and whether a row follows.

    Raises:
        SourceError: the file is something else, or its header is none.
    """
    with file.open() as handle:
        pieces = _pieces(handle, settings, name=file.name)
        header, rest = _split_header(pieces, settings, name=file.name)
        has_rows = bool(rest.data.strip(b"\r\n")) or any(p.data.strip(b"\r\n") for p in pieces)
    names = [name.strip() for name in header] if settings.trim else header
    check_names(names, file.name)
    return Head(file.name, pa.schema([(name, pa.string()) for name in names]), has_rows)


def csv_batches(file: DataFile, settings: CsvFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a CSV file, their columns in the order of the schema.

    Raises:
        SourceError: the file is not well-formed; the message names the line.
    """
    with file.on_disk() as path, path.open("rb") as handle:
        pieces = _pieces(handle, settings, name=file.name)
        header, rest = _split_header(pieces, settings, name=file.name)
        yield from _parsed(rest, header, settings, schema, name=file.name)
        for piece in pieces:
            yield from _parsed(piece, header, settings, schema, name=file.name)


def _pieces(handle: BinaryIO, settings: CsvFile, *, name: str) -> Iterator[Piece]:
    if not settings.delimiter.isascii() or settings.delimiter in '"\r\n\0':
        raise SourceError(
            f"{name}: {settings.delimiter!r} cannot separate fields; set `data.source.delimiter`"
        )
    check_encoding(settings.encoding, name=name)
    start = handle.read(8)
    handle.seek(0)
    known = dict(_MAGIC)
    if len("a".encode(settings.encoding.removesuffix("-sig"))) == 1:
        known |= dict.fromkeys(_UTF_16_MARKS, "UTF-16 text")
    for magic, what in known.items():
        if start.startswith(magic):
            raise SourceError(f"{name} is {what}, not CSV")
    return whole_rows(handle, name=name, delimiter=settings.delimiter, encoding=settings.encoding)


def _split_header(
    pieces: Iterator[Piece], settings: CsvFile, *, name: str
) -> tuple[list[str], Piece]:
    """Return the names, and what remains of the piece that they stand in."""
    for piece in pieces:
        end, line = 0, piece.line

        def lines(data: bytes = piece.data) -> Iterator[str]:
            nonlocal end
            for match in _LINE.finditer(data):
                end = match.end()
                yield match.group().decode()

        try:
            rows = csv.reader(lines(), delimiter=settings.delimiter, strict=True)
            header = next((row for row in rows if row), None)
        except UnicodeDecodeError as error:
            raise wrong_encoding(name, line, settings.encoding, error) from None
        except csv.Error as error:
            raise SourceError(f"{name}:{line}: the header cannot be read: {error}") from None
        if header is not None:
            _check_delimiter(header, settings, name=name)
            line += line_ends(piece.data[:end])
            return header, Piece(piece.data[end:], line)
    raise SourceError(f"{name} holds nothing but blank lines")


def _check_delimiter(header: list[str], settings: CsvFile, *, name: str) -> None:
    if len(header) > 1:
        return
    fitting = [d for d in _DELIMITERS if d != settings.delimiter and d in header[0]]
    if fitting:
        raise SourceError(
            f"{name}:1: one column only with the delimiter {settings.delimiter!r}; "
            f"{fitting[0]!r} fits the header. Set `data.source.delimiter`"
        )


def _parsed(
    piece: Piece, header: list[str], settings: CsvFile, schema: pa.Schema, *, name: str
) -> Iterator[pa.RecordBatch]:
    if not piece.data.strip(b"\r\n"):
        return
    # Only at its very start is a file's mark no text; pyarrow would drop one before any piece.
    data = b"\n" + piece.data if piece.data.startswith(_BOM) else piece.data
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(data),
            read_options=pa_csv.ReadOptions(
                column_names=header, block_size=len(data), use_threads=False
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=settings.delimiter, newlines_in_values=True
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()),
                null_values=list(settings.null_values),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise _explained(piece, len(header), settings, error, name=name) from None
    if settings.trim:
        table = _trimmed(table, settings.null_values)
    yield from table.select(schema.names).to_batches()


def _explained(
    piece: Piece, n_columns: int, settings: CsvFile, error: Exception, *, name: str
) -> SourceError:
    """Read a refused piece again, slowly, to name the line."""
    try:
        text = piece.data.decode()
    except UnicodeDecodeError as wrong:
        line = piece.line + line_ends(piece.data[: wrong.start])
        return wrong_encoding(name, line, settings.encoding, wrong)
    limit = csv.field_size_limit(len(text))
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=settings.delimiter)
        line = piece.line
        for row in reader:
            if row and len(row) != n_columns:
                kind = "short" if len(row) < n_columns else "long"
                return SourceError(
                    f"{name}:{line}: a {kind} row: {n_columns} fields expected, {len(row)} found"
                )
            line = piece.line + reader.line_num
    finally:
        csv.field_size_limit(limit)
    return SourceError(f"{name}:{piece.line}: from here on: {first_line(error)[:200]}")


def _trimmed(table: pa.Table, null_values: tuple[str, ...]) -> pa.Table:
    nulls = pa.array(null_values, pa.string())
    columns: list[pa.ChunkedArray] = []
    for column in table.columns:
        text = pc.utf8_trim_whitespace(column)
        is_null = pc.is_in(text, value_set=nulls)
        columns.append(pc.if_else(is_null, pa.scalar(None, pa.string()), text))
    return pa.table(columns, names=[name.strip() for name in table.column_names])
