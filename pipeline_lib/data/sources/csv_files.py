"""CSV files: every field as text, exactly as it stands, or one message that says what is wrong.

`csv_rows` cuts a file into pieces of whole rows and refuses what no CSV holds; pyarrow parses one
piece at a time, so that memory does not grow with the file. A row of another width is reported with
its line, found by a second, slow reading of its piece.
"""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from pipeline_lib.config.sources import CsvFile
from pipeline_lib.data.sources.amounts import Amount
from pipeline_lib.data.sources.column_names import check_names
from pipeline_lib.data.sources.csv_rows import (
    Piece,
    check_encoding,
    line_ends,
    whole_rows,
    wrong_encoding,
)
from pipeline_lib.data.sources.formats import (
    MAX_LINES,
    NO_FIT,
    delimiter_fit,
    first_lines,
    is_parted_by_blanks,
    other_format,
    wide_encoding,
)
from pipeline_lib.data.sources.schemas import Head
from pipeline_lib.data.sources.stores import DataFile
from pipeline_lib.errors import SourceError
from pipeline_lib.wording import first_line

_HEAD_BYTES = 64 * 1024
_DELIMITERS = ",;\t|:"
_MOST, _ALL = 0.5, 1.0
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
        yield from Amount(file.name).of(_batches(handle, settings, schema, name=file.name))


def _batches(
    handle: BinaryIO, settings: CsvFile, schema: pa.Schema, *, name: str
) -> Iterator[pa.RecordBatch]:
    pieces = _pieces(handle, settings, name=name)
    header, rest = _split_header(pieces, settings, name=name)
    for piece in itertools.chain([rest], pieces):
        yield from _parsed(piece, header, settings, schema, name=name)


def _pieces(handle: BinaryIO, settings: CsvFile, *, name: str) -> Iterator[Piece]:
    if not settings.delimiter.isascii() or settings.delimiter in '"\r\n\0':
        raise SourceError(
            f"{name}: {settings.delimiter!r} cannot separate fields; set `data.source.delimiter`"
        )
    check_encoding(settings.encoding, name=name)
    _check_format(handle, settings, name=name)
    return whole_rows(handle, name=name, delimiter=settings.delimiter, encoding=settings.encoding)


def _check_format(handle: BinaryIO, settings: CsvFile, *, name: str) -> None:
    """Refuse what its first bytes show to be no CSV, or one of another encoding or delimiter."""
    head = handle.read(_HEAD_BYTES)
    handle.seek(0)
    if found := other_format(head):
        raise SourceError(f"{name} is {found[0]}, not CSV: {found[1]}")
    is_narrow = len("a".encode(settings.encoding.removesuffix("-sig"))) == 1
    if is_narrow and (wide := wide_encoding(head)):
        raise SourceError(
            f"{name} is {wide[:6].upper()} text, not CSV in {settings.encoding}: save it so, or "
            f"set `data.source.encoding: {wide}`"
        )
    lines = first_lines(head, settings.encoding, is_whole=len(head) < _HEAD_BYTES)
    is_one_column = delimiter_fit(lines, settings.delimiter) == NO_FIT
    if is_one_column and (other := _fitting_delimiter(lines, settings, least=_MOST)):
        raise SourceError(
            f"{name}:1: one column only with the delimiter {settings.delimiter!r}; "
            f"{other!r} fits the header. Set `data.source.delimiter`"
        )


def _fitting_delimiter(lines: Sequence[str], settings: CsvFile, *, least: float) -> str | None:
    """Return another delimiter by which at least a share of the rows is as wide as the first."""
    others = _DELIMITERS.replace(settings.delimiter, "")
    fit, best = max((delimiter_fit(lines, other), other) for other in others)
    if fit == NO_FIT and is_parted_by_blanks(lines):
        return " "
    return best if fit[0] >= least and fit != NO_FIT else None


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
            rest = piece.data[end:]
            line += line_ends(piece.data[:end], rest[0] if rest else 0)
            return header, Piece(rest, line)
    raise SourceError(f"{name} holds nothing but blank lines")


def _parsed(
    piece: Piece, header: list[str], settings: CsvFile, schema: pa.Schema, *, name: str
) -> Iterator[pa.RecordBatch]:
    if not piece.data.strip(b"\r\n"):
        return
    # Only at its very start is a file's mark no text; pyarrow would drop one before any piece.
    data = b"\n" + piece.data if piece.data.startswith(_BOM) else piece.data
    if not data.endswith((b"\n", b"\r")):
        # An empty last field after a quoted one counts as quoted too where the data just ends
        # (pyarrow 25.0.0).
        data += b"\n"
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
        line = piece.line + line_ends(piece.data[: wrong.start], piece.data[wrong.start])
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
                    f"{_way_out(text, settings)}"
                )
            line = piece.line + reader.line_num
    finally:
        csv.field_size_limit(limit)
    return SourceError(f"{name}:{piece.line}: from here on: {first_line(error)[:200]}")


def _way_out(text: str, settings: CsvFile) -> str:
    lines = list(itertools.islice(io.StringIO(text, newline=""), MAX_LINES))
    if other := _fitting_delimiter(lines, settings, least=_ALL):
        return f"; {other!r} would fit. Set `data.source.delimiter`"
    return f". A field that holds {settings.delimiter!r} or a line end goes in quotes"


def _trimmed(table: pa.Table, null_values: tuple[str, ...]) -> pa.Table:
    nulls = pa.array(null_values, pa.string())
    columns: list[pa.ChunkedArray] = []
    for column in table.columns:
        text = pc.utf8_trim_whitespace(column)
        is_null = pc.is_in(text, value_set=nulls)
        columns.append(pc.if_else(is_null, pa.scalar(None, pa.string()), text))
    return pa.table(columns, names=[name.strip() for name in table.column_names])
