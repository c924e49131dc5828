"""The report on drift: what it says, how long it may be, and its records as JSON."""

import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline_lib.errors import StorageError
from pipeline_lib.monitoring.drift import compare
from pipeline_lib.monitoring.drift_report import NightRecord
from pipeline_lib.monitoring.profile import Profile
from tests.unit.monitoring.drifts import (
    NIGHT,
    SETTINGS,
    compare_tables,
    past_night,
    profile_of,
    profiles_moved_by,
)


def test_a_first_night_says_so_and_is_quiet() -> None:
    report = compare(None, profile_of(pa.table({"x": ["a"]})), settings=SETTINGS, run_date=NIGHT)

    assert not report.matters
    assert report.rows == ()
    assert report.sentences == ("no reference yet: nothing to compare the columns with",)
    assert "No reference yet" in report.to_markdown()


def test_no_rows_tonight_is_no_error() -> None:
    table = pa.table({"x": [1.0, 2.0] * 50, "w": ["a", "b"] * 50})

    report = compare_tables(table, table.slice(0, 0))

    assert report.sentences == ()
    assert compare_tables(table.slice(0, 0), table).sentences == ()


def test_names_and_words_draw_nothing_in_the_table() -> None:
    name, word = "a|b\n<img src=x>", "*[evil](http://x)|`"
    before = pa.table({name: ["a", "b"] * 500, "..": ["a", "b"] * 500})
    now = pa.table({name: [word, "b"] * 500, "..": ["c", "d"] * 500})

    text = compare_tables(before, now).to_markdown()

    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 6
    for line in rows:
        assert len(line.replace("\\|", "").split("|")) == 6
        assert "<img" not in line
        assert "[evil]" not in line


def test_a_report_on_many_columns_is_bounded() -> None:
    before = pa.table({"c" * 500 + str(i): np.arange(300.0) for i in range(60)})
    now = pa.table({"c" * 500 + str(i): np.arange(300.0) + 200 for i in range(60)})

    report = compare_tables(before, now)

    assert len(report.to_markdown()) < 10_000
    assert len(report.sentences) == 8
    assert report.sentences[-1] == "53 more columns have moved"


def test_a_report_is_plain_json() -> None:
    before, now = profiles_moved_by(0.2)

    tree = compare(before, now, settings=SETTINGS, run_date=NIGHT).to_json()

    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    assert tree["matters"] is True


def test_a_record_survives_its_line_of_json() -> None:
    before, now = profiles_moved_by(0.2)
    record = compare(before, now, settings=SETTINGS, run_date=NIGHT).record

    line = json.dumps(record.to_json(), allow_nan=False)

    assert NightRecord.from_json(json.loads(line)) == record
    assert record.mattered == (("x", "distribution"),)


@pytest.mark.parametrize("damage", [{"n_rows": -1}, {"night": "soon"}, {"more": 1}])
def test_a_damaged_record_is_refused(damage: dict[str, int | str]) -> None:
    tree = past_night(1).to_json() | damage

    with pytest.raises(StorageError, match="record of a run is damaged"):
        NightRecord.from_json(tree)


def test_a_profile_read_back_compares_like_the_one_written() -> None:
    before, now = profiles_moved_by(0.2)
    read = [Profile.from_json(json.loads(json.dumps(p.to_json()))) for p in (before, now)]

    made = compare(before, now, settings=SETTINGS, run_date=NIGHT)

    assert compare(read[0], read[1], settings=SETTINGS, run_date=NIGHT) == made
