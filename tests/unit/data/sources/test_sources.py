"""Files as people have them: with blanks, quotes, byte order marks, gaps and damage."""

import csv
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.sources import BuiltinTable, CsvFile, ParquetFile
from pipeline_lib.data.sources.open import source_name
from pipeline_lib.errors import SourceError, SourceNotFoundError
from tests.unit.data.in_memory import read_source


def _csv(folder: Path, content: str | bytes, **settings: Any) -> pa.Table:
    data = content.encode() if isinstance(content, str) else content
    (folder / "rows.csv").write_bytes(data)
    return read_source(CsvFile(path="rows.csv", **settings), root=folder)


def _refused(folder: Path, content: str | bytes, **settings: Any) -> str:
    with pytest.raises(SourceError) as raised:
        _csv(folder, content, **settings)
    assert str(folder / "rows.csv") in str(raised.value)
    assert raised.value.exit_code == 3
    return str(raised.value)


def _rows_or_message(folder: Path, content: str) -> list[dict[str, str]] | str:
    try:
        return _csv(folder, content).to_pylist()
    except SourceError as error:
        return str(error)


def test_every_column_of_a_csv_is_text_as_it_was_written(tmp_path: Path) -> None:
    table = _csv(tmp_path, "zip,n,day,flag\n08123,1.50,2024-01-01,true\n00001,,,\n")

    assert {str(kind) for kind in table.schema.types} == {"string"}
    assert table.to_pylist() == [
        {"zip": "08123", "n": "1.50", "day": "2024-01-01", "flag": "true"},
        {"zip": "00001", "n": None, "day": None, "flag": None},
    ]


def test_another_delimiter_separates_fields(tmp_path: Path) -> None:
    table = _csv(tmp_path, "a;b\n1,5;x\n", delimiter=";")

    assert table.to_pylist() == [{"a": "1,5", "b": "x"}]


def test_a_newline_inside_quotes_belongs_to_the_value(tmp_path: Path) -> None:
    table = _csv(tmp_path, 'a,b\n"two\nlines","say ""hi"""\nx,y\n')

    assert table["a"].to_pylist() == ["two\nlines", "x"]
    assert table["b"].to_pylist() == ['say "hi"', "y"]


def test_windows_line_ends_are_no_part_of_a_value(tmp_path: Path) -> None:
    table = _csv(tmp_path, "a,b\r\n1,2\r\n")

    assert table.to_pylist() == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("header", ["zip,b", '"zip","b"', '"zip",b'])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(
    tmp_path: Path, header: str, encoding: str
) -> None:
    table = _csv(tmp_path, f"\ufeff{header}\n08123,2\n", encoding=encoding)

    assert table.to_pylist() == [{"zip": "08123", "b": "2"}]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_a_file_is_read_in_the_encoding_that_is_set(tmp_path: Path, encoding: str) -> None:
    table = _csv(tmp_path, "né,b\nçà,08\n".encode(encoding), encoding=encoding)

    assert table.to_pylist() == [{"né": "çà", "b": "08"}]


@pytest.mark.parametrize("n_good_rows", [0, 10, 100_000], ids=lambda n: f"after-{n}-rows")
def test_a_wrong_encoding_is_told_with_the_setting_to_change(
    tmp_path: Path, n_good_rows: int
) -> None:
    content = b"name,n\n" + b"cafe,1\n" * n_good_rows + "café,2\n".encode("latin-1")

    message = _refused(tmp_path, content)

    assert "`data.source.encoding`" in message


def test_trim_drops_blanks_around_names_and_values_and_nowhere_else(tmp_path: Path) -> None:
    text = "age, income \n39 , <=50K\n 40,two words \n"

    table = _csv(tmp_path, text, trim=True)

    assert table.to_pylist() == [
        {"age": "39", "income": "<=50K"},
        {"age": "40", "income": "two words"},
    ]


def test_without_trim_blanks_stay(tmp_path: Path) -> None:
    table = _csv(tmp_path, "age, income\n39, <=50K\n")

    assert table.to_pylist() == [{"age": "39", " income": " <=50K"}]


def test_only_the_null_words_mean_that_nothing_is_there(tmp_path: Path) -> None:
    text = "a,b\nNA,nan\n?,\nNone,null\n"

    table = _csv(tmp_path, text, null_values=("?", "NA"))

    assert table["a"].to_pylist() == [None, None, "None"]
    assert table["b"].to_pylist() == ["nan", "", "null"]


@pytest.mark.parametrize(("trim", "quoted"), [(False, "?"), (True, None)])
def test_a_quoted_null_word_is_a_word_unless_values_are_trimmed(
    tmp_path: Path, trim: bool, quoted: str | None
) -> None:
    table = _csv(tmp_path, 'a,b\n"?",1\n?,2\n', null_values=("?",), trim=trim)

    assert table["a"].to_pylist() == [quoted, None]


def test_a_null_word_between_blanks_is_nothing_when_trimmed(tmp_path: Path) -> None:
    table = _csv(tmp_path, "a,b\n x, ?\n ,y\n", null_values=("", "?"), trim=True)

    assert table.to_pylist() == [{"a": "x", "b": None}, {"a": None, "b": "y"}]


def test_a_missing_file_is_told_with_the_nearest_name_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")

    with pytest.raises(SourceNotFoundError) as raised:
        read_source(CsvFile(path="row.csv"), root=tmp_path)

    assert raised.value.exit_code == 2
    assert str(raised.value) == (
        f"{tmp_path}/row.csv: there is no such file; did you mean rows.csv?"
    )


@pytest.mark.parametrize("kind", [CsvFile, ParquetFile])
def test_a_folder_is_no_file(tmp_path: Path, kind: type[CsvFile] | type[ParquetFile]) -> None:
    (tmp_path / "rows").mkdir()

    with pytest.raises(SourceError, match="is a folder"):
        read_source(kind(path="rows"), root=tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is empty"),
        ("a,b\n", "has columns but no rows"),
        ("a,b", "has columns but no rows"),
        ("a,,c\n1,2,3\n", "columns without a name at 2"),
        ("a,  ,c\n1,2,3\n", "columns without a name at 2"),
        ("a,b,a\n1,2,3\n", "column names that stand twice: 'a'"),
        ("\n", "rows.csv"),
        ("\n\n\n", "rows.csv"),
    ],
)
def test_a_table_without_proper_names_or_rows_is_refused(
    tmp_path: Path, content: str, told: str
) -> None:
    assert told in _refused(tmp_path, content)


def test_names_that_are_equal_once_trimmed_stand_twice(tmp_path: Path) -> None:
    assert "stand twice: 'a'" in _refused(tmp_path, "a, a\n1,2\n", trim=True)


@pytest.mark.parametrize("row", ["4", "4,5,6"], ids=["short", "long"])
def test_a_ragged_row_is_told_with_line_fields_expected_and_found(
    tmp_path: Path, row: str, request: pytest.FixtureRequest
) -> None:
    message = _refused(tmp_path, f'a,b\n1,"two\nlines"\n\n{row}\n5,6\n')

    kind = "short" if row == "4" else "long"
    assert f"rows.csv:5: a {kind} row: 2 fields expected, {row.count(',') + 1} found" in message


def test_a_ragged_row_after_many_is_told_with_its_line(tmp_path: Path) -> None:
    message = _refused(tmp_path, "a,b\n" + "1,2\n" * 500_000 + "1,2,3\n")

    assert "rows.csv:500002:" in message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a,b\n1,"open\n2,3\n', 2),
        ('a,b\n1,2\n3,5" pipe\n', 3),
        ('a,b\n1,"two"half\n', 2),
        ('a,b\n1,2\n"x" ,2\n', 3),
    ],
    ids=["unclosed", "in a field", "after a field", "before a blank"],
)
def test_a_quote_that_opens_or_closes_nowhere_is_told_with_its_line(
    tmp_path: Path, text: str, line: int
) -> None:
    assert f"rows.csv:{line}: a" in _refused(tmp_path, text)


@given(
    rows=st.lists(
        st.tuples(*[st.text(st.characters(exclude_characters="\0", codec="utf-8"))] * 2),
        min_size=1,
    )
)
def test_whatever_the_standard_library_writes_is_read_word_for_word(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *rows])

    table = read_source(CsvFile(path=str(path)), root=path.parent)

    assert [(row["a"], row["b"]) for row in table.to_pylist()] == rows


def test_quotes_at_the_borders_of_blocks_are_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'a,b\n"x","y ""z"" \n w"\n"1","2"\n'

    for size in range(1, 40):
        monkeypatch.setattr("pipeline_lib.data.sources.csv_rows._BLOCK_BYTES", size)
        assert _csv(tmp_path, text).num_rows == 2
        assert "stray quote" in _refused(tmp_path, text + '3"4,5\n')


def test_a_nul_byte_is_told_with_its_line(tmp_path: Path) -> None:
    assert "rows.csv:3: holds a NUL byte" in _refused(tmp_path, "a,b\n1,2\n3,\0\n")


def test_a_delimiter_that_does_not_fit_is_told_with_the_one_that_does(tmp_path: Path) -> None:
    message = _refused(tmp_path, "a;b\n1;2\n")

    assert "';' fits the header. Set `data.source.delimiter`" in message


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
@pytest.mark.parametrize(
    "text", ['"a"D"b"\n"1"D"2"\n', "aDb, in mDc\n1D2D3\n4D5D6\n", "aDb\n1,5D2\n3,5D4\n"]
)
def test_the_delimiter_that_fits_is_told_whatever_breaks_first(
    tmp_path: Path, text: str, delimiter: str
) -> None:
    message = _refused(tmp_path, text.replace("D", delimiter))

    assert f"{delimiter!r}" in message
    assert "Set `data.source.delimiter`" in message


def test_blanks_are_told_where_nothing_else_could_be_a_delimiter(tmp_path: Path) -> None:
    text = "Chins Situps Jumps\n5 162 60\n2 110 60\n"

    assert "' ' fits the header. Set `data.source.delimiter`" in _refused(tmp_path, text)
    assert _csv(tmp_path, text, delimiter=" ").num_columns == 3


@pytest.mark.parametrize(
    "lines",
    [
        ["time (hh:mm)", "early", "late"],
        ["price; in EUR", "1.50", "2.00"],
        ['"city; state"', '"Boston; MA"', '"Austin; TX"'],
        ["notes | remarks", "a", "b"],
        ["full name", "Ada Lovelace", "Kurt Gödel"],
    ],
)
def test_another_delimiter_in_the_header_of_one_column_is_a_part_of_its_name(
    tmp_path: Path, lines: list[str]
) -> None:
    name, *values = [line.strip('"') for line in lines]

    assert _csv(tmp_path, "\n".join(lines)).to_pydict() == {name: values}


def test_names_that_differ_by_case_or_blanks_alone_are_refused(tmp_path: Path) -> None:
    assert "differ by blanks or case alone: 'a', ' A'" in _refused(tmp_path, "a, A\n1,2\n")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress(b"a,b\n1,2\n"), "a gzip archive"),
        (b"PK\x03\x04rest", "a zip archive or a spreadsheet"),
        ("a,b\n1,2\n".encode("utf-16"), "UTF-16 text"),
        ("a,b\n1,2\n".encode("utf-16-le"), "UTF-16 text"),
        ("a,b\n日本,大阪\n".encode("utf-16-be"), "UTF-16 text"),
        ("a,b\n1,2\n".encode("utf-32"), "UTF-32 text"),
        (b"PAR1\x15\x04rest\0", "a Parquet file"),
        (b"a.csv".ljust(257, b"\0") + b"ustar\x0000", "a tar archive"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "a 7z archive"),
        (b"SQLite format 3\0", "a SQLite database"),
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>\n", "HTML or XML"),
        (b'[{"a": 1, "b": 2},\n {"a": 3, "b": 4}]\n', "JSON"),
        (b"@relation cars\n@attribute a numeric\n@data\n1\n", "an ARFF file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_another_format_is_told_by_its_name(tmp_path: Path, content: bytes, what: str) -> None:
    assert f"rows.csv is {what}, not CSV" in _refused(tmp_path, content)


@pytest.mark.parametrize("name", ["ORC", "PAR1", "BZh", "[a]", "<b>", "@relation_id"])
def test_a_column_may_be_called_as_another_format_begins(tmp_path: Path, name: str) -> None:
    assert _csv(tmp_path, f"{name},b\n1,2\n").to_pylist() == [{name: "1", "b": "2"}]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_lines_may_end_in_any_of_three_ways(tmp_path: Path, ending: str) -> None:
    table = _csv(tmp_path, ending.join(["a,b", "1,x y", "", "2,z"]) + ending)

    assert table.to_pylist() == [{"a": "1", "b": "x y"}, {"a": "2", "b": "z"}]


def test_the_message_about_a_huge_ragged_row_stays_short(tmp_path: Path) -> None:
    message = _refused(tmp_path, "a,b\n1,2\n" + "x" * 100_000 + "\n")

    assert len(message) < 1000


def test_a_file_that_begins_with_an_empty_line_is_read_or_refused(tmp_path: Path) -> None:
    answer = _rows_or_message(tmp_path, "\na,b\n08,2\n")

    assert answer == [{"a": "08", "b": "2"}] or "rows.csv" in answer


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    _refused(tmp_path, gzip.compress(b"a,b\n1,2\n"))


def test_parquet_keeps_its_types_and_rows(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array([1, None], pa.int32()), "b": ["x", "y"]})
    pq.write_table(table, tmp_path / "rows.parquet")

    read = read_source(ParquetFile(path="rows.parquet"), root=tmp_path)

    assert read.equals(table)


@pytest.mark.parametrize("damage", ["cut", "flipped", "no parquet"])
def test_damaged_parquet_is_refused_with_its_path(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.table({"a": list(range(10_000))})
    pq.write_table(table, path, write_page_checksum=True, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    told = "row group 0: "

    match damage:
        case "cut":
            told = "its footer cannot be read"
            path.write_bytes(data[: len(data) // 2])
        case "flipped":
            data[len(data) // 2] ^= 0xFF
            path.write_bytes(data)
        case _:
            told = "is not a Parquet file"
            path.write_text("a,b\n1,2\n")

    with pytest.raises(SourceError, match=rf"rows\.parquet:? {told}"):
        read_source(ParquetFile(path="rows.parquet"), root=tmp_path)


def test_parquet_without_rows_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.string())}), tmp_path / "rows.parquet")

    with pytest.raises(SourceError, match="has columns but no rows"):
        read_source(ParquetFile(path="rows.parquet"), root=tmp_path)


def test_parquet_with_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "rows.parquet")

    with pytest.raises(SourceError, match="stand twice: 'a'"):
        read_source(ParquetFile(path="rows.parquet"), root=tmp_path)


def test_a_source_has_a_name_that_a_person_knows(tmp_path: Path) -> None:
    builtin = BuiltinTable(table="car_evaluation")

    assert source_name(builtin, root=tmp_path) == "built-in table car_evaluation"
    assert source_name(CsvFile(path="a.csv"), root=tmp_path) == f"{tmp_path}/a.csv"
    assert source_name(CsvFile(path="/b/a.csv"), root=tmp_path) == "/b/a.csv"


def test_the_built_in_table_needs_no_file(tmp_path: Path) -> None:
    table = read_source(BuiltinTable(table="car_evaluation"), root=tmp_path)

    assert table.num_rows == 1728
