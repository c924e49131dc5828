"""A CSV file as pieces of whole rows: UTF-8, and with every quote where a quote may stand.

A parser would let pass silently what is looked for here, over the raw bytes: NUL, other encodings,
quotes that open or close nowhere. Counting quotes also shows where a row ends, so that a file of
any length is cut between rows and no fault needs more than its piece to be named with its line.
"""

import codecs
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pipeline_lib.data.sources.amounts import MAX_ROW_BYTES
from pipeline_lib.errors import SourceError
from pipeline_lib.wording import first_line

_FIRST_BYTES = 64 * 1024  # a look at the header of a file far away fetches no more than it has to
_BLOCK_BYTES = 8 * 1024 * 1024
_MAX_ROW_BYTES = MAX_ROW_BYTES
_NEWLINE, _RETURN, _QUOTE = b'\n\r"'


@dataclass(frozen=True)
class Piece:
    """Whole rows, in UTF-8; the first begins at `line` of the file, counted from 1."""

    data: bytes
    line: int


def whole_rows(file: BinaryIO, *, name: str, delimiter: str, encoding: str) -> Iterator[Piece]:
    """Yield a file in pieces that end where rows end; a byte order mark is dropped.

    Args:
        file: its bytes, from the first.
        name: what messages call it.
        delimiter: one ASCII character.
        encoding: as Python names it.

    Raises:
        SourceError: the file is not of this encoding, holds a NUL, a quote that opens or closes
            nowhere, or a row that never seems to end; each with its line.
    """
    scan = _Scan(name, np.frombuffer(f'{delimiter}\r\n"'.encode(), np.uint8))
    begun, line = b"", 1
    for block, following in _with_following(_as_utf8(file, name, encoding)):
        start = scan.line
        end = scan.check(block, following)
        if end:
            yield Piece(begun + block[:end], line)
            line = start + line_ends(block[:end], following if end == len(block) else block[end])
            begun = block[end:]
        else:
            begun += block
        if len(begun) > _MAX_ROW_BYTES:
            raise _endless(name, scan.opened_at_line if scan.in_quotes else line, scan.in_quotes)
    if scan.in_quotes:
        raise SourceError(f"{name}:{scan.opened_at_line}: a quote opens here and is never closed")
    if begun:
        yield Piece(begun, line)


def line_ends(data: bytes, following: int = 0) -> int:
    """Count line ends: LF, CRLF or CR; `following` is the byte after the data, 0 for none."""
    n_ends = data.count(b"\n")
    if b"\r" in data:
        n_ends += data.count(b"\r") - data.count(b"\r\n")
        n_ends -= data.endswith(b"\r") and following == _NEWLINE
    return n_ends


def check_encoding(encoding: str, *, name: str) -> None:
    """Refuse what is no text encoding.

    Raises:
        SourceError: naming the file and the setting.
    """
    try:
        b"a".decode(encoding, errors="replace")  # of no bytes at all Python asks no codec
    except (LookupError, ValueError):
        raise SourceError(
            f"{name}: there is no text encoding {encoding!r}; set `data.source.encoding`"
        ) from None


def wrong_encoding(name: str, line: int, encoding: str, why: UnicodeError) -> SourceError:
    """Return what to say of bytes that are no text of the encoding."""
    return SourceError(
        f"{name}:{line}: is not {encoding} text ({first_line(why)}); set `data.source.encoding`"
    )


@dataclass
class _Scan:
    """Where a scan over a file stands: in which line, and whether between quotes."""

    name: str
    borders: npt.NDArray[np.uint8]
    line: int = 1
    before: int = _NEWLINE
    in_quotes: bool = False
    opened_at_line: int = 1

    def check(self, block: bytes, following: int) -> int:
        """Check the next block, and return where its last whole row ends; 0 where none does."""
        if (nul := block.find(0)) >= 0:
            raise SourceError(
                f"{self.name}:{self._line_of(block, nul)}: holds a NUL byte, which no text does: "
                "the file is damaged or no CSV; write it anew"
            )
        values = np.frombuffer(block, np.uint8)
        at = np.flatnonzero(values == _QUOTE)
        if at.size:
            self._check_quotes(block, values, at, following)
        end = _last_row_end(block, values, at, in_quotes=self.in_quotes)
        self.in_quotes ^= bool(at.size % 2)
        self.line += line_ends(block, following)
        self.before = block[-1]
        return end

    def _check_quotes(
        self,
        block: bytes,
        values: npt.NDArray[np.uint8],
        at: npt.NDArray[np.intp],
        following: int,
    ) -> None:
        """Check that a quote that opens follows a border, and one that closes is followed by one.

        A doubled quote closes and opens again, so counting shows which quotes open.
        """
        before = np.where(at > 0, values[at - 1], self.before)
        after = np.append(values, np.uint8(following))[at + 1]
        opens = np.arange(at.size) % 2 == int(self.in_quotes)
        stray = np.where(opens, ~np.isin(before, self.borders), ~np.isin(after, self.borders))
        if stray.any():
            raise SourceError(
                f"{self.name}:{self._line_of(block, int(at[stray.argmax()]))}: a stray quote "
                "inside a field. Put the field in quotes and double the quotes in it"
            )
        if opens.any():
            self.opened_at_line = self._line_of(block, int(at[opens][-1]))

    def _line_of(self, block: bytes, position: int) -> int:
        return self.line + line_ends(block[:position], block[position])


def _last_row_end(
    block: bytes, values: npt.NDArray[np.uint8], at: npt.NDArray[np.intp], *, in_quotes: bool
) -> int:
    """Return the position after the last line end that an even number of quotes precedes."""
    last = max(block.rfind(b"\n"), block.rfind(b"\r"))
    if last < 0 or (np.searchsorted(at, last) + in_quotes) % 2 == 0:
        return last + 1
    ends = np.flatnonzero((values == _NEWLINE) | (values == _RETURN))
    outside = ends[(np.searchsorted(at, ends) + in_quotes) % 2 == 0]
    return int(outside[-1]) + 1 if outside.size else 0


def _with_following(blocks: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield each block with the byte that follows it: a newline at the end."""
    block = next(blocks, b"")
    while block:
        following = next(blocks, b"")
        yield block, following[0] if following else _NEWLINE
        block = following


def _as_utf8(file: BinaryIO, name: str, encoding: str) -> Iterator[bytes]:
    """Yield a file's text as UTF-8, in blocks that grow; what is UTF-8 is not checked yet."""
    if codecs.lookup(encoding).name in {"utf-8", "utf-8-sig"}:
        blocks = _blocks(file)
    else:
        blocks = _recoded(file, name, encoding)
    first = next(blocks, b"").removeprefix(codecs.BOM_UTF8)
    yield from itertools.chain([first] if first else [], blocks)


def _recoded(file: BinaryIO, name: str, encoding: str) -> Iterator[bytes]:
    """Yield text of another encoding as UTF-8."""
    decoder = codecs.getincrementaldecoder(encoding)()
    n_ends, is_returned = 0, False
    for block in itertools.chain(_blocks(file), [b""]):
        try:
            text = decoder.decode(block, final=not block).encode()
        except UnicodeError as wrong:
            if isinstance(wrong, UnicodeDecodeError):
                good = wrong.object[: wrong.start].decode(encoding, errors="replace")
                n_ends += line_ends(good.encode()) - (is_returned and good.startswith("\n"))
            raise wrong_encoding(name, 1 + n_ends, encoding, wrong) from None
        if text:
            # A CRLF that two blocks share ends one line.
            n_ends += line_ends(text) - (is_returned and text.startswith(b"\n"))
            is_returned = text.endswith(b"\r")
            yield text


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    size = min(_FIRST_BYTES, _BLOCK_BYTES)
    while block := file.read(size):
        yield block
        size = min(2 * size, _BLOCK_BYTES)


def _endless(name: str, line: int, in_quotes: bool) -> SourceError:
    limit = f"{_MAX_ROW_BYTES / 2**20:g} MiB"
    if in_quotes:
        return SourceError(f"{name}:{line}: a quote opens here and is not closed within {limit}")
    return SourceError(f"{name}:{line}: a row of more than {limit} begins here")
