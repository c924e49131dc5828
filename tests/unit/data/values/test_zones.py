"""Clocks of time zones, held against Python's zoneinfo."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.data.values.zones import (
    array_of_times,
    canonical_zone,
    common_zone,
    is_known_zone,
    to_local,
    to_utc,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
NEW_YORK = ZoneInfo("America/New_York")
# Half hours, quarters of an hour, a day left out, two hours of summer, DST in winter.
ZONES = [
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "Europe/Dublin",
    "UTC",
]

moments = st.datetimes(datetime(1850, 1, 1), datetime(2150, 1, 1))  # noqa: DTZ001
# Around the nights on which clocks change.
nights = st.tuples(
    st.sampled_from([datetime(2026, 3, 8), datetime(2026, 11, 1), datetime(2026, 3, 29)]),  # noqa: DTZ001
    st.integers(-600, 1800).map(lambda n: timedelta(minutes=n)),
).map(lambda pair: pair[0] + pair[1])


def _micros(times: list[datetime]) -> np.ndarray:
    return np.array([(time - EPOCH) // US for time in times], np.int64)


@pytest.mark.parametrize("zone", ZONES)
@given(times=st.lists(st.one_of(moments, nights), max_size=20))
def test_a_clock_shows_what_zoneinfo_says(zone: str, times: list[datetime]) -> None:
    instants = [time.replace(tzinfo=UTC) for time in times]

    shown = to_local(_micros(instants), zone)

    clocks = [time.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC) for time in instants]
    assert shown.tolist() == _micros(clocks).tolist()


@pytest.mark.parametrize("zone", ZONES)
@given(times=st.lists(st.one_of(moments, nights), max_size=20))
def test_a_clock_is_read_as_zoneinfo_reads_it(zone: str, times: list[datetime]) -> None:
    shown = _micros([time.replace(tzinfo=UTC) for time in times])

    instants = to_utc(shown, zone)

    expected = _micros([time.replace(tzinfo=ZoneInfo(zone)) for time in times])
    assert instants.tolist() == expected.tolist()


def test_fixed_offsets_are_zones_as_well() -> None:
    (local,) = to_local(np.array([0], np.int64), "-05:30")

    assert local == -19_800_000_000
    assert to_utc(np.array([local]), "-05:30").tolist() == [0]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_the_first_and_last_hours_of_the_calendar_have_a_clock(zone: str) -> None:
    edges = _micros([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])

    shifts = to_local(edges, zone) - edges

    assert (np.abs(shifts) < 86_400_000_000).all()


@pytest.mark.parametrize(
    ("zones", "zone", "note"),
    [
        ([], None, None),
        (["America/New_York"], "America/New_York", None),
        (["-0500", "-05:00", "-05"], "-05:00", None),
        (["Z", "+00:00", "Etc/UTC"], "UTC", None),
        (["-05:00", "-04:00"], "UTC", "set `columns.at.time_zone`"),
        (["Mars/Phobos"], "UTC", "does not know its time zone 'Mars/Phobos'"),
    ],
)
def test_the_zone_of_a_column_is_the_one_that_all_of_its_times_have(
    zones: list[str], zone: str | None, note: str | None
) -> None:
    found = common_zone(zones, "columns.at.time_zone")

    assert found.name == zone
    assert (found.note is None) == (note is None)
    assert note is None or note in (found.note or "")


def test_names_that_are_no_zones_are_not_known() -> None:
    assert not any(
        map(is_known_zone, ["America", "", "../UTC", "Mars/Phobos", "+5:30", "zone.tab"])
    )
    assert canonical_zone("+0530") == "+05:30"


def test_datetimes_of_one_zone_keep_it_and_those_of_several_are_utcs() -> None:
    winter, summer = datetime(2026, 1, 5, 8, 30), datetime(2026, 7, 5, 8, 30)  # noqa: DTZ001
    offsets = [timezone(timedelta(hours=h)) for h in (-5, -4)]

    one = array_of_times([winter.replace(tzinfo=NEW_YORK), None, pd.NaT, pd.NA, float("nan")])
    several = array_of_times([winter.replace(tzinfo=offsets[0]), summer.replace(tzinfo=offsets[1])])

    assert one is not None
    assert several is not None
    assert one.type == pa.timestamp("us", "America/New_York")
    assert one.null_count == 4
    assert several.type == pa.timestamp("us", "UTC")
    assert [time.isoformat() for time in several.to_pylist()] == [
        "2026-01-05T13:30:00+00:00",
        "2026-07-05T12:30:00+00:00",
    ]
    assert array_of_times([winter, summer]) is None
    assert array_of_times([winter, summer.replace(tzinfo=NEW_YORK)]) == pa.array(
        ["2026-01-05T08:30:00", "2026-07-05T08:30:00-04:00"]
    )
