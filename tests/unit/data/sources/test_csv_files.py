"""CSV files beyond their first block: what is right in row 2 is right in row 200,000."""

import csv
import io
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.columns import CategoryColumn
from pipeline_lib.config.data import DataSettings
from pipeline_lib.config.sources import CsvFile
from pipeline_lib.config.validation import ValidationSettings
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.errors import ContractError, SourceError
from tests.unit.data.in_memory import check_rows, read_source

_TODAY = date(2026, 5, 1)
_GOOD = b"x,y\n" * 1000


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make blocks of 64 bytes, so that a few kilobytes are what 500 MB are otherwise."""
    _set_blocks(monkeypatch, 64)


def _set_blocks(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr("pipeline_lib.data.sources.csv_rows._BLOCK_BYTES", size)
    monkeypatch.setattr("pipeline_lib.data.sources.csv_rows._MAX_ROW_BYTES", max(1024, 4 * size))


def _stream(folder: Path, content: bytes, **settings: Any) -> RowStream:
    (folder / "rows.csv").write_bytes(content)
    return open_source(CsvFile(path="rows.csv", **settings), root=folder, run_date=_TODAY)


def _refused(folder: Path, content: bytes, **settings: Any) -> str:
    with pytest.raises(SourceError) as raised:
        _stream(folder, content, **settings).read()
    return str(raised.value)


@pytest.mark.usefixtures("small_blocks")
def test_a_file_comes_in_many_batches_of_one_schema(tmp_path: Path) -> None:
    stream = _stream(tmp_path, b"a,b\n" + _GOOD)

    batches = list(stream.batches())

    assert len(batches) > 10
    assert {batch.schema for batch in batches} == {stream.schema}
    assert stream.read().to_pydict() == {"a": ["x"] * 1000, "b": ["y"] * 1000}


def test_a_part_can_be_read_as_often_as_one_likes(tmp_path: Path) -> None:
    (part,) = _stream(tmp_path, b"a,b\n1,2\n").parts

    assert list(part.batches()) == list(part.batches())


_WORDS = st.text(st.sampled_from('ab,;"\n\r é\ufeff0'), max_size=6)


@given(
    rows=st.lists(st.tuples(_WORDS, _WORDS), min_size=1, max_size=12),
    size=st.integers(4, 40),  # a byte order mark has up to four
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    delimiter=st.sampled_from([",", ";", "\t"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]),
)
def test_wherever_blocks_end_rows_are_those_of_the_standard_library(
    rows: Sequence[tuple[str, str]],
    size: int,
    ending: str,
    delimiter: str,
    encoding: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    text = io.StringIO(newline="")
    # the writer quotes only the line ends that it writes itself
    quoting = csv.QUOTE_MINIMAL if ending == "\r\n" else csv.QUOTE_ALL
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending, quoting=quoting)
    writer.writerows([("a", "b"), *rows])
    expected = list(csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=delimiter))[1:]

    with pytest.MonkeyPatch.context() as patch:
        _set_blocks(patch, size)
        stream = _stream(
            tmp_path_factory.mktemp("csv"),
            text.getvalue().encode(encoding),
            delimiter=delimiter,
            encoding=encoding,
            null_values=(),
        )
        table = stream.read()

    assert [list(row.values()) for row in table.to_pylist()] == expected


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("size", [4, 64])
@pytest.mark.parametrize("n_empty", [1, 2, 3])
def test_an_empty_last_field_is_null_where_a_file_just_ends(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    delimiter: str,
    size: int,
    n_empty: int,
) -> None:
    _set_blocks(monkeypatch, size)
    names = ["a", "b", "c", "d"][: n_empty + 1]
    row = delimiter.join(['"x"', *[""] * n_empty])
    text = ending.join([delimiter.join(names), row, row])

    table = _stream(tmp_path, text.encode(), delimiter=delimiter).read()

    assert table.to_pylist() == [{"a": "x", **dict.fromkeys(names[1:])}] * 2


def test_the_shortest_file_with_an_empty_last_field_has_no_value_there(tmp_path: Path) -> None:
    assert _stream(tmp_path, b'a,b\n"x",').read().to_pylist() == [{"a": "x", "b": None}]

    rows = _stream(tmp_path, b"a,b\n" + b"x,y\n" * 30 + b'"x",').read()

    with pytest.raises(ContractError, match="column 'b': 1 row has no value"):
        check_rows(
            rows,
            {"b": CategoryColumn()},
            DataSettings(source=CsvFile(path="rows.csv"), target="a", task="multiclass"),
            ValidationSettings(),
            source="rows.csv",
        )


@pytest.mark.parametrize("content", [b'a\n"x"\n""', b'a,b\n"x",""', b'a,b\n,""'])
def test_a_quoted_empty_last_field_is_a_word_of_no_letters(tmp_path: Path, content: bytes) -> None:
    last = _stream(tmp_path, content).read().to_pylist()[-1]

    assert list(last.values())[-1] == ""


_FIELDS = st.tuples(st.text(st.sampled_from('ab,"\n\r \ufeffé'), max_size=4), st.booleans())


@given(
    rows=st.lists(st.tuples(_FIELDS, _FIELDS, _FIELDS), min_size=1, max_size=5),
    size=st.integers(4, 40),
    ending=st.sampled_from(["\n", "\r\n", "\r"]),
    is_closed=st.booleans(),
)
def test_a_field_is_null_exactly_where_it_is_empty_without_quotes(
    rows: Sequence[Sequence[tuple[str, bool]]],
    size: int,
    ending: str,
    is_closed: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def written(word: str, is_quoted: bool) -> str:
        needs_quotes = is_quoted or any(letter in word for letter in ',"\n\r')
        return '"' + word.replace('"', '""') + '"' if needs_quotes else word

    lines = ["a,b,c", *(",".join(written(*field) for field in row) for row in rows)]
    text = ending.join(lines) + (ending if is_closed else "")
    parsed = list(csv.reader(io.StringIO(text, newline="")))[1:]

    with pytest.MonkeyPatch.context() as patch:
        _set_blocks(patch, size)
        table = _stream(tmp_path_factory.mktemp("csv"), text.encode()).read()

    is_null = [[not word and not is_quoted for word, is_quoted in row] for row in rows]
    got = [list(row.values()) for row in table.to_pylist()]
    assert [[value is None for value in row] for row in got] == is_null
    assert [[value or "" for value in row] for row in got] == parsed


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (b"x\n", ":1002: a short row: 2 fields expected, 1 found"),
        (b"x,y,z\n", ":1002: a long row: 2 fields expected, 3 found"),
        (b'x,"y\n', ":1002: a quote opens here and is"),
        (b'x,5" pipe\n', ":1002: a stray quote"),
        (b'x,"y" \n', ":1002: a stray quote"),
        (b"x,\0\n", ":1002: holds a NUL byte"),
        (b"x,\xe9\n", ":1002: is not utf-8 text"),
    ],
    ids=["short", "long", "unclosed", "stray", "blank after", "NUL", "encoding"],
)
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_a_fault_after_many_blocks_is_told_with_its_line(
    tmp_path: Path, fault: bytes, told: str, ending: bytes
) -> None:
    content = (b"a,b\n" + _GOOD + fault + _GOOD).replace(b"\n", ending)

    assert f"rows.csv{told}" in _refused(tmp_path, content)


@pytest.mark.usefixtures("small_blocks")
def test_rows_before_a_late_fault_come_and_then_the_message(tmp_path: Path) -> None:
    batches = _stream(tmp_path, b"a,b\n" + _GOOD + b"x\n").batches()

    assert next(batches).num_rows > 0
    with pytest.raises(SourceError, match=r"rows\.csv:1002: a short row"):
        list(batches)


@pytest.mark.usefixtures("small_blocks")
def test_lines_inside_quotes_and_blank_lines_count_when_a_late_line_is_named(
    tmp_path: Path,
) -> None:
    content = b'a,b\n"1\n2\n3",4\n\n\n' + b'"1\r\n2",3\n' * 100 + b"x\n"

    assert "rows.csv:207: a short row" in _refused(tmp_path, content)


@pytest.mark.usefixtures("small_blocks")
def test_a_quoted_field_longer_than_many_blocks_is_kept_word_for_word(tmp_path: Path) -> None:
    long = 'say ""hi"",\n\r\n' * 60

    table = _stream(tmp_path, f'a,b\n1,"{long}"\n2,y\n'.encode()).read()

    assert table["b"].to_pylist() == [long.replace('""', '"'), "y"]


def test_a_field_of_a_megabyte_is_kept_and_hides_no_later_fault(tmp_path: Path) -> None:
    long = b"x" * 1_000_000

    assert _stream(tmp_path, b"a,b\n1," + long + b"\n").read()["b"][0].as_py() == long.decode()
    assert "rows.csv:3: a short row" in _refused(tmp_path, b"a,b\n1," + long + b"\n2\n")


@pytest.mark.usefixtures("small_blocks")
def test_a_row_that_never_seems_to_end_is_told_before_it_fills_the_memory(tmp_path: Path) -> None:
    message = _refused(tmp_path, b"a,b\n1,2\n3," + b"x" * 5000 + b"\n")

    assert "rows.csv:3: a row of more than" in message


@pytest.mark.usefixtures("small_blocks")
def test_a_quote_that_stays_open_is_told_before_it_fills_the_memory(tmp_path: Path) -> None:
    message = _refused(tmp_path, b'a,b\n1,2\n3,"open\n' + _GOOD + b'1,"closed"\n')

    assert "rows.csv:3: a quote opens here and is not closed within" in message


def test_a_first_row_with_one_comma_more_shifts_no_column(tmp_path: Path) -> None:
    assert "rows.csv:2: a long row: 2 fields expected, 3 found" in _refused(
        tmp_path, b"a,b\n1,2,\n3,4,\n"
    )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    ("fault", "told"),
    [("x,y,z", "a long row"), ("x,\0", "holds a NUL"), ('x,5" pipe', "a stray quote")],
)
def test_text_of_two_or_four_bytes_a_character_is_guarded_as_any_other(
    tmp_path: Path, encoding: str, fault: str, told: str
) -> None:
    text = "a,b\n" + "x,é\n" * 300 + fault + "\n"

    assert f"rows.csv:302: {told}" in _refused(tmp_path, text.encode(encoding), encoding=encoding)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("encoding", "word"), [("shift_jis", "ポソ表"), ("iso2022_jp", "「あ」"), ("gb18030", "亊")]
)
def test_a_byte_inside_a_character_is_neither_delimiter_nor_quote(
    tmp_path: Path, encoding: str, word: str
) -> None:
    text = "a|b\n" + f'{word}|"{word}"\n' * 100

    table = _stream(tmp_path, text.encode(encoding), encoding=encoding, delimiter="|").read()

    assert set(table["a"].to_pylist()) == set(table["b"].to_pylist()) == {word}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("encoding", "bad"), [("ascii", b"\xe9"), ("cp1252", b"\x81")])
def test_a_byte_that_the_encoding_does_not_have_is_told_with_its_line_and_the_setting(
    tmp_path: Path, encoding: str, bad: bytes
) -> None:
    message = _refused(tmp_path, b"a,b\n" + _GOOD + b"x," + bad + b"\n", encoding=encoding)

    assert f"rows.csv:1002: is not {encoding} text" in message
    assert "`data.source.encoding`" in message


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("fault", ["é,2", "1,2,3", "1", '1,2"', "1,\0"])
@pytest.mark.parametrize("block_bytes", [4, 5, 64, 8 * 1024 * 1024])
def test_a_line_is_told_by_its_number_however_lines_end(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    encoding: str,
    fault: str,
    block_bytes: int,
) -> None:
    _set_blocks(monkeypatch, block_bytes)
    text = ending.join(["a,b", "", "1,2", '"x', 'y",2', "1,2", fault, "3,4", ""])

    message = _refused(tmp_path, text.encode("latin-1"), encoding=encoding)

    assert "rows.csv:7: " in message


def test_half_a_character_at_the_end_is_told(tmp_path: Path) -> None:
    content = "a,b\nx,y\n".encode("utf-16")[:-1]

    assert "is not utf-16 text" in _refused(tmp_path, content, encoding="utf-16")


def test_text_without_the_mark_that_its_encoding_begins_with_is_told(tmp_path: Path) -> None:
    content = "a,b\nx,y\n".encode("utf-16-be")

    assert "rows.csv:1: is not utf-16 text" in _refused(tmp_path, content, encoding="utf-16")


@pytest.mark.parametrize("delimiter", ['"', "\n", "é"])
def test_what_cannot_separate_fields_is_refused(tmp_path: Path, delimiter: str) -> None:
    message = _refused(tmp_path, b"a,b\n1,2\n", delimiter=delimiter)

    assert "cannot separate fields; set `data.source.delimiter`" in message


@pytest.mark.usefixtures("small_blocks")
def test_blanks_and_null_words_are_seen_in_every_batch(tmp_path: Path) -> None:
    content = b" a , b\n" + b" x , ? \n" * 500

    table = _stream(tmp_path, content, trim=True, null_values=("?",)).read()

    assert table.to_pydict() == {"a": ["x"] * 500, "b": [None] * 500}


@pytest.mark.usefixtures("small_blocks")
def test_a_mark_at_the_start_of_a_later_row_is_text(tmp_path: Path) -> None:
    content = "\ufeffa,b\n" + "\ufeffx,y\n" * 100

    table = _stream(tmp_path, content.encode()).read()

    assert table.column_names == ["a", "b"]
    assert set(table["a"].to_pylist()) == {"\ufeffx"}


@pytest.mark.usefixtures("small_blocks")
def test_blank_lines_by_the_block_are_no_rows(tmp_path: Path) -> None:
    blank = b"\r\n" * 500

    table = _stream(tmp_path, blank + b"a,b\r\n" + blank + b"1,2\r\n" + blank).read()

    assert table.to_pylist() == [{"a": "1", "b": "2"}]


@pytest.mark.usefixtures("small_blocks")
def test_a_header_and_blank_lines_by_the_block_have_no_rows(tmp_path: Path) -> None:
    assert "has columns but no rows" in _refused(tmp_path, b"a,b\n" + b"\n" * 5000)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    stream = _stream(tmp_path, b"a,b\n1,2\n")
    batches = stream.batches()
    next(batches)

    with (tmp_path / "rows.csv").open("ab") as file:
        file.write(b"3,4\n")

    with pytest.raises(SourceError, match="changed while it was read"):
        list(batches)
    with pytest.raises(SourceError, match="changed while it was read"):
        stream.read()


def test_a_file_that_goes_away_before_it_is_read_is_told(tmp_path: Path) -> None:
    stream = _stream(tmp_path, b"a,b\n1,2\n")

    (tmp_path / "rows.csv").unlink()

    with pytest.raises(SourceError, match="there is no such file"):
        stream.read()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "rows.csv").chmod(0)

    with pytest.raises(SourceError, match="cannot be read: Permission denied"):
        read_source(CsvFile(path="rows.csv"), root=tmp_path)


def test_a_reading_that_is_broken_off_leaves_no_open_file(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else None

    batches = _stream(tmp_path, b"a,b\n1,2\n").batches()
    next(batches)
    del batches

    if before is not None:
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_text_is_a_plain_string_for_arrow(tmp_path: Path) -> None:
    stream = _stream(tmp_path, b"a,b\n08123,2024-01-01\n")

    assert stream.schema == pa.schema([("a", pa.string()), ("b", pa.string())])
