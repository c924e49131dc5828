"""How a file nobody has described is read: format, delimiter, encoding, or what it is instead."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.config.sources import CsvFile
from pipeline_lib.data.sources.open import open_source, source_name
from pipeline_lib.errors import SourceError, SourceNotFoundError, UsageError
from pipeline_lib.proposal.sniff import GuessedSource, guess_source
from tests.unit.data.in_memory import read_source


def guessed(path: Path) -> tuple[CsvFile, GuessedSource]:
    found = guess_source(str(path), root=path.parent)
    assert isinstance(found.source, CsvFile)
    return found.source, found


def file(folder: Path, text: str, *, encoding: str = "utf-8") -> Path:
    path = folder / "toy.csv"
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_delimiter_is_found_though_others_stand_in_the_words(
    tmp_path: Path, delimiter: str
) -> None:
    other = {",": ";", ";": "|", "\t": ";", "|": ";"}[delimiter]
    rows = [["name", "size"], *([f"x{other}{other}{number}", "1.5"] for number in range(30))]
    path = file(tmp_path, "\n".join(delimiter.join(row) for row in rows))

    source, _ = guessed(path)

    assert source.delimiter == delimiter
    assert read_source(source, root=tmp_path).column_names == ["name", "size"]


def test_blanks_part_fields_only_where_nothing_else_could(tmp_path: Path) -> None:
    spaced = guessed(file(tmp_path, "a b c\n" + "1 2 3\n" * 30))[0]
    worded = guessed(file(tmp_path, "a b c,d\n" + "1 2 3,4\n" * 30))[0]

    assert (spaced.delimiter, worded.delimiter) == (" ", ",")


def test_decimal_commas_do_not_pass_for_delimiters(tmp_path: Path) -> None:
    assert guessed(file(tmp_path, "a;b;c\n" + "1,5;2,5;3,5\n" * 30))[0].delimiter == ";"


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("cp1252", "windows-1252"),
        ("utf-16", "utf-16"),
        ("utf-16-be", "utf-16-be"),
    ],
)
def test_an_encoding_is_found_that_reads_the_words(
    tmp_path: Path, encoding: str, name: str
) -> None:
    source, _ = guessed(file(tmp_path, "größe,y\nweiß,1\n", encoding=encoding))

    assert source.encoding == name
    assert read_source(source, root=tmp_path).to_pydict() == {"größe": ["weiß"], "y": ["1"]}


def test_a_letter_far_down_in_the_file_tells_the_encoding_too(tmp_path: Path) -> None:
    text = "a,b\n" + "x,1\n" * 200_000 + "weiß,2\n"

    source, found = guessed(file(tmp_path, text, encoding="cp1252"))

    assert source.encoding == "windows-1252"
    assert "is a guess" in found.notes[0]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b'{"a": 1, "y": 2}\n{"a": 2, "y": 1}\n', "is JSON"),
        (b'[\n  {"a": 1}\n]', "is JSON"),
        (b"<!DOCTYPE html><html></html>", "is HTML or XML"),
        (b"PK\x03\x04anything", "is a zip archive or a spreadsheet"),
        (b"SQLite format 3\x00", "is a SQLite database"),
        (b"% comment\n@RELATION cars\n@DATA\n1,2\n", "is an ARFF file"),
        (b"", "is empty"),
    ],
)
def test_another_format_is_called_by_its_name(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "toy.csv").write_bytes(content)

    with pytest.raises(SourceError, match=what):
        guess_source(str(tmp_path / "toy.csv"), root=tmp_path)


def test_a_header_in_brackets_is_no_json(tmp_path: Path) -> None:
    assert guessed(file(tmp_path, "[a],{b}\n1,2\n"))[0].delimiter == ","


def test_parquet_is_known_by_its_content(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "toy.csv")

    assert guess_source(str(tmp_path / "toy.csv"), root=tmp_path).source.kind == "parquet"


def test_a_path_is_relative_only_below_the_root(tmp_path: Path) -> None:
    path = file(tmp_path, "a,b\n1,2\n")

    inside = guess_source(str(path), root=tmp_path).source
    outside = guess_source(str(path), root=tmp_path / "elsewhere").source

    assert inside.model_dump()["path"] == "toy.csv"
    assert outside.model_dump()["path"] == str(path)


@pytest.mark.parametrize("name", ["toy.csv", "toy*.csv", "days/{YYYY}-{MM}-{DD}.csv"])
def test_a_table_beside_the_folder_of_configs_moves_with_the_project(
    tmp_path: Path, name: str
) -> None:
    project, moved = tmp_path / "before", tmp_path / "after"
    (project / "days").mkdir(parents=True)
    for day in ("toy.csv", "days/2026-05-01.csv"):
        (project / day).write_text("a,b\n1,2\n")

    source = guess_source(str(project / name), root=project / "configs", project=project).source
    project.rename(moved)

    assert source.model_dump()["path"] == f"../{name}"
    stream = open_source(source, root=moved / "configs", run_date=date(2026, 5, 2))
    assert stream.read().num_rows == 1
    assert source_name(source, root=moved / "configs") == str(moved / name)


@pytest.mark.parametrize("name", ["sales-*.csv", "sales-{YYYY}-{MM}-{DD}.csv"])
def test_a_glob_and_a_path_with_dates_are_kept_and_one_file_is_looked_at(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "sales-2024-01-31.csv").write_text("a;b\n1;2\n")

    source, _ = guessed(tmp_path / name)

    assert (source.path, source.delimiter) == (name, ";")


def test_a_file_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    file(tmp_path, "a,b\n1,2\n")

    with pytest.raises(SourceNotFoundError, match=r"did you mean toy\.csv\?"):
        guess_source(str(tmp_path / "tyo.csv"), root=tmp_path)


def test_a_date_in_a_path_is_written_in_full(tmp_path: Path) -> None:
    (tmp_path / "sales-2024.csv").write_text("a,b\n1,2\n")

    with pytest.raises(UsageError, match=r"needs \{MM\} and \{DD\} as well"):
        guess_source(str(tmp_path / "sales-{YYYY}.csv"), root=tmp_path)


def test_a_database_needs_a_query_and_a_file_has_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--query"):
        guess_source("sqlite:///cars.db", root=tmp_path)
    with pytest.raises(UsageError, match="--query"):
        guess_source(str(file(tmp_path, "a,b\n1,2\n")), root=tmp_path, query="SELECT 1")

    source = guess_source("sqlite:///cars.db", root=tmp_path, query="SELECT 1").source
    assert source.kind == "sql"


def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a password") as refused:
        guess_source("postgresql://me:secret@host/db", root=tmp_path, query="SELECT 1")

    assert "secret" not in str(refused.value)


def test_a_first_line_of_values_is_told(tmp_path: Path) -> None:
    _, found = guessed(file(tmp_path, "5.1,3.5,setosa\n" * 30))

    assert "may lack a header" in found.notes[0]
