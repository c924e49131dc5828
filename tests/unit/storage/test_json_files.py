"""JSON files that are whole or absent, and lines that a kill has cut."""

import json
from pathlib import Path

import pytest

from pipeline_lib.errors import StorageError
from pipeline_lib.storage.json_files import Json, append_json_line, read_json_lines, write_json


def test_a_last_line_cut_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": 1, "word": "naïve"})
    append_json_line(path, {"n": 2})
    path.write_bytes(path.read_bytes()[:-3])

    lines = read_json_lines(path)

    assert lines == [{"n": 1, "word": "naïve"}]


def test_a_last_line_cut_inside_a_letter_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + '{"word": "naï'.encode()[:-1])

    lines = read_json_lines(path)

    assert lines == [{"n": 1}]


def test_a_line_appended_after_one_cut_by_a_kill_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": 1})
    path.write_bytes(path.read_bytes() + b'{"n": 2, "rea')

    append_json_line(path, {"n": 3})

    assert read_json_lines(path) == [{"n": 1}, {"n": 3}]


def test_a_file_of_lines_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_json_lines(tmp_path / "none.jsonl") == []


def test_a_value_that_is_no_json_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, "é"]})
    no_json: Json = {"a": "fine", "b": object()}  # type: ignore[dict-item]

    with pytest.raises(TypeError):
        write_json(path, no_json)

    assert json.loads(path.read_text("utf-8")) == {"a": [1, "é"]}


def test_a_last_line_cut_by_a_kill_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": 1})
    path.write_bytes(path.read_bytes() + b'{"n": 2, "rea')

    for _ in range(3):
        assert read_json_lines(path) == [{"n": 1}]
    append_json_line(path, {"n": 3})

    (told,) = [record.getMessage() for record in caplog.records]
    assert told == f"""{path}: its last line was cut short and is left out: '{{"n": 2, "rea'"""


def test_a_last_line_whose_end_an_editor_has_left_out_counts(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": 1})
    path.write_bytes(path.read_bytes() + b'{"n": 2}')

    assert read_json_lines(path) == [{"n": 1}, {"n": 2}]
    append_json_line(path, {"n": 3})

    assert read_json_lines(path) == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_blank_lines_between_lines_are_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"n": 1}\n\n{"n": 2}\n\n')

    assert read_json_lines(path) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b"3",
        b"null",
        b'"word"',
        b'{"n": 2',
        b"\0\0\0\0",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}{}",
    ],
)
def test_a_line_that_is_no_object_is_damage_with_its_number(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b'\n{"n": 3}\n')
    told: list[str] = []

    with pytest.raises(StorageError) as refused:
        read_json_lines(path)

    assert str(refused.value).startswith(f"{path}:2 is damaged: ")
    assert str(refused.value).endswith(". Restore the file, or remove the line")
    assert len(str(refused.value)) < 400 + len(str(path))
    assert read_json_lines(path, on_damage=told.append) == [{"n": 1}, {"n": 3}]
    assert told == [str(refused.value)]


def test_a_line_that_its_reader_refuses_is_damaged_too(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    append_json_line(path, {"n": "1"})
    append_json_line(path, {"m": "2"})

    with pytest.raises(StorageError, match=r"journal\.jsonl:2 is damaged: 'n'\."):
        read_json_lines(path, lambda line: line["n"])
