"""The journal: decisions in order, and whether a run's rows were decided about."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline_lib.errors import StorageError
from pipeline_lib.evaluation.journal import (
    JournalEntry,
    append_entry,
    champion_after,
    last_decision,
    read_journal,
)
from pipeline_lib.home import find_home


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


def _last(data: str, config: str = "c1", *, experiment: bool = False) -> JournalEntry | None:
    entries = read_journal(find_home().dataset("toy"))
    return last_decision(entries, data_digest=data, config_digest=config, experiment=experiment)


def test_decisions_come_back_oldest_first() -> None:
    entries = tuple(_entry(data) for data in "abc")

    for entry in entries:
        append_entry(find_home().dataset("toy"), entry)

    assert read_journal(find_home().dataset("toy")) == entries
    assert read_journal(find_home().dataset("other")) == ()


def test_the_last_decision_counts_if_it_was_about_these_rows() -> None:
    append_entry(find_home().dataset("toy"), _entry("a"))
    append_entry(find_home().dataset("toy"), _entry("b"))

    assert _last("b", "c1") == _entry("b")


def test_rows_that_came_back_after_others_are_decided_about_again() -> None:
    append_entry(find_home().dataset("toy"), _entry("a"))
    append_entry(find_home().dataset("toy"), _entry("b"))

    assert _last("a", "c1") is None


def test_a_decision_of_another_config_does_not_count() -> None:
    append_entry(find_home().dataset("toy"), _entry("a", "c1"))
    append_entry(find_home().dataset("toy"), _entry("b", "c2"))

    assert _last("a", "c1") == _entry("a", "c1")
    assert _last("a", "c2") is None


@pytest.mark.parametrize("outcome", ["skipped", "stopped", "failed", "superseded"])
def test_a_run_without_a_decision_hides_none_and_is_none(outcome: str) -> None:
    append_entry(find_home().dataset("toy"), _entry("a"))
    append_entry(find_home().dataset("toy"), _entry("a", decision=outcome))
    append_entry(find_home().dataset("toy"), _entry("b", "c2", decision=outcome))

    assert _last("a") == _entry("a")
    assert _last("b", "c2") is None


def test_an_experiment_decides_nothing_about_the_datasets_own_runs() -> None:
    experiment = replace(_entry("a", decision="kept"), experiment="as asked")
    append_entry(find_home().dataset("toy"), experiment)

    assert _last("a") is None
    assert _last("a", experiment=True) == experiment


def test_the_champion_after_an_entry_of_an_earlier_release_is_the_last_that_was_promoted() -> None:
    entries = [
        _entry("a"),
        replace(_entry("b", decision="kept"), version="2"),
        replace(_entry("c"), version="3"),
        replace(_entry("d", decision="rejected"), version=""),
    ]

    assert [champion_after(entries, entry) for entry in entries] == ["1", "1", "3", "3"]
    assert champion_after(entries, replace(entries[1], champion="7")) == "7"
    assert champion_after(entries[1:2], entries[1]) == ""


def test_lines_of_an_earlier_and_of_a_later_release_are_read() -> None:
    path = find_home().dataset("toy").folder / "decisions.jsonl"
    line = asdict(_entry("a"))
    earlier = {k: v for k, v in line.items() if k in list(line)[:8]}
    path.parent.mkdir(parents=True)
    path.write_text(f"{json.dumps(earlier)}\n{json.dumps({**line, 'colour': 'blue'})}\n")

    assert read_journal(find_home().dataset("toy")) == (_entry("a"), _entry("a"))


def test_a_decision_after_a_kill_mid_line_is_read() -> None:
    append_entry(find_home().dataset("toy"), _entry("a"))
    path = find_home().dataset("toy").folder / "decisions.jsonl"
    path.write_bytes(path.read_bytes() + b'{"decided_at": "2026-01-02')

    append_entry(find_home().dataset("toy"), _entry("c"))

    assert read_journal(find_home().dataset("toy")) == (_entry("a"), _entry("c"))


def test_a_damaged_line_is_told_with_file_and_line(evergreen_home_of_the_test: Path) -> None:
    path = evergreen_home_of_the_test / "datasets" / "cars" / "decisions.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("{}\nno json\n{}\n")

    with pytest.raises(StorageError, match=r"decisions\.jsonl:2 is damaged"):
        read_journal(find_home().dataset("cars"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"decision": None}, "'decision' is None, no text"),
        ({"decision": "promotee"}, "'promotee' is not a decision; did you mean promoted?"),
        ({"version": 3}, "'version' is 3, no text"),
        ({"champion": ["1"]}, "'champion' is ['1'], no text"),
        ({"experiment": True}, "'experiment' is True, no text"),
        ({"version": "one"}, "'version' is 'one', no number of a version"),
        ({"champion": "../2"}, "'champion' is '../2', no number of a version"),
        ({"decided_at": "\u0000\u0000"}, r"'decided_at' is '\x00\x00', no time"),
        ({"run_date": "2026-13-01"}, "'run_date' is '2026-13-01', no date"),
        ({"reason": "\ud800"}, r"'reason' is '\ud800', no text"),
    ],
)
def test_a_line_that_says_what_no_line_can_say_is_told_with_file_and_line(
    evergreen_home_of_the_test: Path, change: dict[str, Any], why: str
) -> None:
    path = find_home().dataset("toy").folder / "decisions.jsonl"
    append_entry(find_home().dataset("toy"), _entry("a"))
    with path.open("a") as file:
        file.write(json.dumps({**asdict(_entry("b")), **change}) + "\n")

    with pytest.raises(StorageError) as refused:
        read_journal(find_home().dataset("toy"))

    assert str(refused.value).startswith(f"{path}:2 is damaged: {why}. Restore the file, or ")


def test_a_key_that_is_spelt_otherwise_is_told_beside_the_one_that_is_missing() -> None:
    path = find_home().dataset("toy").folder / "decisions.jsonl"
    append_entry(find_home().dataset("toy"), _entry("a"))
    path.write_text(path.read_text().replace('"decision"', '"decisoin"'))

    with pytest.raises(StorageError, match="'decision' is missing, and there is 'decisoin'"):
        read_journal(find_home().dataset("toy"))


def test_every_way_in_which_a_night_ends_is_a_decision_that_can_be_read() -> None:
    ends = ["promoted", "kept", "rejected", "skipped", "stopped", "failed", "superseded"]
    for end in ends:
        append_entry(find_home().dataset("toy"), replace(_entry("a"), decision=end))

    assert [entry.decision for entry in read_journal(find_home().dataset("toy"))] == ends
