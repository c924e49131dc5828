"""The journal: decisions in order, and whether tonight's rows were decided about."""

from pathlib import Path

import pytest

from pipeline_lib.errors import StorageError
from pipeline_lib.evaluation.journal import (
    JournalEntry,
    append_entry,
    last_decision,
    read_journal,
)
from pipeline_lib.storage import dataset_folder


def _entry(data: str, config: str = "c1", decision: str = "promoted") -> JournalEntry:
    return JournalEntry(
        decided_at="2026-01-01T02:00:00Z",
        decision=decision,
        reason="because é",
        version="1",
        run_key=f"{data}-{config}",
        run_id="r",
        data_digest=data,
        config_digest=config,
    )


def test_decisions_come_back_oldest_first() -> None:
    entries = tuple(_entry(data) for data in "abc")

    for entry in entries:
        append_entry("toy", entry)

    assert read_journal("toy") == entries
    assert read_journal("other") == ()


def test_the_last_decision_counts_if_it_was_about_these_rows() -> None:
    append_entry("toy", _entry("a"))
    append_entry("toy", _entry("b"))

    assert last_decision("toy", data_digest="b", config_digest="c1") == _entry("b")


def test_rows_that_came_back_after_others_are_decided_about_again() -> None:
    append_entry("toy", _entry("a"))
    append_entry("toy", _entry("b"))

    assert last_decision("toy", data_digest="a", config_digest="c1") is None


def test_a_decision_of_another_config_does_not_count() -> None:
    append_entry("toy", _entry("a", "c1"))
    append_entry("toy", _entry("b", "c2"))

    assert last_decision("toy", data_digest="a", config_digest="c1") == _entry("a", "c1")
    assert last_decision("toy", data_digest="a", config_digest="c2") is None


def test_a_decision_after_a_kill_mid_line_is_read() -> None:
    append_entry("toy", _entry("a"))
    path = dataset_folder("toy") / "decisions.jsonl"
    path.write_bytes(path.read_bytes() + b'{"decided_at": "2026-01-02')

    append_entry("toy", _entry("c"))

    assert read_journal("toy") == (_entry("a"), _entry("c"))


def test_a_damaged_line_is_told_with_file_and_line(evergreen_home_of_the_test: Path) -> None:
    path = evergreen_home_of_the_test / "datasets" / "cars" / "decisions.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("{}\nno json\n{}\n")

    with pytest.raises(StorageError, match=r"decisions\.jsonl:2 is damaged"):
        read_journal("cars")
