"""How many rows a night may have, after the nights before."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.errors import DataError, VolumeError
from pipeline_lib.home import find_home
from pipeline_lib.monitoring.drift_report import NightRecord
from pipeline_lib.monitoring.history import Night, read_nights, remember_night
from pipeline_lib.monitoring.volume import Volume, source_settings
from pipeline_lib.storage.json_files import append_json_line

MakeConfig = Callable[..., PipelineConfig]
FIRST = date(2026, 11, 1)
WINDOW = {"kind": "csv", "path": "{YYYY}-{MM}-{DD}.csv", "window_days": 7}


def _night(config: PipelineConfig, number: int, n_rows: int, **more: str) -> Night:
    record = NightRecord(FIRST + timedelta(days=number), n_rows, "", {}, ())
    said = {"settings": source_settings(config.data.source), "source": "old.csv", **more}
    return Night(record, None, **said)


def _said(
    config: PipelineConfig,
    past: Sequence[int],
    n_rows: int,
    *,
    night: int | None = None,
    **more: Any,
) -> str | None:
    nights = [_night(config, number, n, digest=f"d{number}") for number, n in enumerate(past)]
    run_date = FIRST + timedelta(days=len(past) if night is None else night)
    return Volume(config, nights, run_date=run_date, **more).hold(n_rows, source="new.csv")


def _stops(config: PipelineConfig, past: Sequence[int], n_rows: int, **more: Any) -> bool:
    try:
        _said(config, past, n_rows, **more)
    except VolumeError:
        return True
    return False


def test_half_of_the_rows_may_be_gone_and_not_one_more(table_config: MakeConfig) -> None:
    assert _said(table_config(), [1000], 500) is None

    with pytest.raises(VolumeError) as raised:
        _said(table_config(), [1000], 499)

    assert isinstance(raised.value, DataError)
    assert raised.value.exit_code == 3
    assert (raised.value.n_rows, raised.value.n_before) == (499, 1000)
    for said in (
        *("new.csv has 499 rows", "50% fewer", "1,000 rows of 2026-11-01 (old.csv)"),
        "`validation.volume.max_drop: 0.5`",
    ):
        assert said in str(raised.value)


def test_thrice_the_rows_are_fine_and_more_are_said(table_config: MakeConfig) -> None:
    assert _said(table_config(), [1000], 3000) is None

    said = _said(table_config(), [1000], 3001)

    assert said is not None
    for part in (
        *("new.csv has 3,001 rows", "3.0 times", "1,000 rows of 2026-11-01 (old.csv)"),
        "`validation.volume.max_growth: 3`",
    ):
        assert part in said


def test_the_first_night_is_held_against_nothing(table_config: MakeConfig) -> None:
    assert _said(table_config(), [], 3) is None


@pytest.mark.parametrize(
    ("volume", "n_rows", "stops", "says"),
    [
        ({"max_drop": None}, 1, False, False),
        ({"max_drop": 0.1}, 899, True, False),
        ({"max_drop": 0.9}, 101, False, False),
        ({"max_growth": None}, 10**6, False, False),
        ({"max_growth": 1.5}, 1501, False, True),
    ],
)
def test_a_side_has_its_own_bound_or_none(
    table_config: MakeConfig, volume: dict[str, Any], n_rows: int, stops: bool, says: bool
) -> None:
    config = table_config(validation={"volume": volume})

    assert _stops(config, [1000], n_rows) is stops
    assert stops or (_said(config, [1000], n_rows) is not None) is says


@pytest.mark.parametrize(
    ("past", "n_rows", "stops"),
    [
        ([1000, 600], 360, True),  # slowly, never half of the night before
        ([1000, 900, 800, 700, 600, 520], 499, True),
        ([1000, 2000], 900, True),
        ([1000, 1400, 1900], 1000, False),  # 47 % fewer than the last, which is the largest
        ([100, 300, 1000], 400, True),  # as many as a small night that grew is no excuse
        ([1000, 300], 280, False),  # a drop that was let through is the new level
        ([1000, 300, 290], 149, True),
        ([1000, 1000, 100, 1000, 1000], 95, False),  # a Sunday, after one that was let through
        ([1000, *[600] * 14], 360, False),  # what is more than two weeks old does not count
    ],
)
def test_the_last_night_and_the_largest_are_what_counts(
    table_config: MakeConfig, past: list[int], n_rows: int, stops: bool
) -> None:
    assert _stops(table_config(), past, n_rows) is stops


def test_the_champions_rows_count_however_old_they_are(table_config: MakeConfig) -> None:
    past = [1000, *[600] * 20]

    assert not _stops(table_config(), past, 400)
    assert _stops(table_config(), past, 400, champion="d0")
    assert _stops(table_config(), [], 400, champion="another", champion_rows=1000)
    assert not _stops(table_config(), [], 400)


def test_a_night_of_a_later_date_is_no_night_before(table_config: MakeConfig) -> None:
    config = table_config(data={"source": WINDOW})

    assert not _stops(config, [1000, 5000], 900, night=0)
    assert _stops(config, [1000, 5000], 400, night=0)
    assert not _stops(config, [5000], 900, night=-1, champion="d0", champion_rows=5000)


def test_two_nights_of_one_date_are_held_against_each_other(table_config: MakeConfig) -> None:
    assert _stops(table_config(), [1000], 400, night=0)


def test_a_source_that_is_read_otherwise_is_another_one_and_that_is_said(
    table_config: MakeConfig,
) -> None:
    week = table_config(data={"source": WINDOW})
    day = table_config(data={"source": {**WINDOW, "window_days": 1}})
    nights = [_night(week, 0, 7000, digest="d0")]
    volume = Volume(day, nights, run_date=FIRST, champion="d0", champion_rows=7000)

    said = volume.hold(1000, source="new.csv")

    assert said is not None
    assert "with other settings of `data.source`" in said
    assert volume.hold(6000, source="new.csv") is None


def test_a_default_that_is_written_out_is_no_other_source(table_config: MakeConfig) -> None:
    plain = table_config(data={"source": {"kind": "csv", "path": "a.csv"}})
    written = table_config(data={"source": {"kind": "csv", "path": "a.csv", "trim": False}})

    assert source_settings(plain.data.source) == source_settings(written.data.source)


def test_nights_of_an_earlier_release_count(table_config: MakeConfig, tmp_path: Path) -> None:
    config = table_config()
    record = NightRecord(FIRST, 1000, "", {}, ())
    line = {"rows": record.to_json(), "arrivals": None}
    append_json_line(find_home().dataset(config.name).folder / "nights.jsonl", line)

    nights = read_nights(find_home().dataset(config.name))

    assert nights == [Night(record, None)]
    with pytest.raises(VolumeError, match=r"1,000 rows of 2026-11-01;"):
        Volume(config, nights, run_date=FIRST).hold(400, source="new.csv")


def test_a_night_is_remembered_with_its_source(table_config: MakeConfig, tmp_path: Path) -> None:
    config = table_config()
    snapshot = Snapshot(tmp_path, "abc", 7, "old.csv", dataset=find_home().dataset(config.name))

    remember_night(snapshot, _night(config, 0, 7, source="", digest=""))

    assert read_nights(find_home().dataset(config.name)) == [
        _night(config, 0, 7, source="old.csv", digest="abc")
    ]
