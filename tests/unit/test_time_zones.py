"""Half past eight in New York is hour 8, in January and in July, whatever the times come in."""

import json
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.columns import DatetimeColumn, DatetimePart
from pipeline_lib.data.contract.check_snapshot import check_snapshot, contract_checker
from pipeline_lib.data.contract.quarantine import ContractReport
from pipeline_lib.data.snapshots.snapshot import Snapshot, take_snapshot
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.data.splits.split_rows import split_checked
from pipeline_lib.encoding import Encoder, target_to_json
from pipeline_lib.encoding.datetimes import DatetimeFitter
from pipeline_lib.encoding.encoded_splits import encode_splits
from pipeline_lib.errors import ContractError
from pipeline_lib.evaluation.evaluate import score_champion
from pipeline_lib.home import find_home
from pipeline_lib.serving import FittedModel, TimeZoneWarning

MakeConfig = Callable[..., PipelineConfig]
NEW_YORK = ZoneInfo("America/New_York")
N_ROWS = 120
# A year of times, a few of them on the nights on which clocks change.
LOCAL = [datetime(2026, 1, 5, 8, 30) + timedelta(days=3, hours=5) * i for i in range(N_ROWS - 2)]  # noqa: DTZ001
TIMES = [
    *(time.replace(tzinfo=NEW_YORK) for time in LOCAL),
    datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK),
    datetime(2026, 11, 1, 1, 30, tzinfo=NEW_YORK, fold=1),
]
HOURS = [time.hour for time in TIMES]
IN_WINTER = [time for time in TIMES if time.utcoffset() == timedelta(hours=-5)]


def _config(make: MakeConfig, **column: Any) -> PipelineConfig:
    return make(
        validation={"duplicates": "warn"},  # the same times come in several forms
        data={"target": "label", "task": "binary"},
        columns={"at": {"kind": "datetime", "parts": ["hour"], **column}},
    )


def _table(at: pa.Array) -> pa.Table:
    return pa.table({"at": at, "label": ["early" if n % 2 else "late" for n in range(len(at))]})


def _report(config: PipelineConfig, table: pa.Table, n_rows: int = 25) -> ContractReport:
    checker = contract_checker(config, source="the table")
    batches = [table.slice(start, n_rows) for start in range(0, table.num_rows, n_rows)]
    for batch in batches:
        checker.check(batch)
    return checker.finish(lambda: batches)


def _hours(floats: np.ndarray) -> list[int]:
    """Return the hours of a clock from their sine and cosine."""
    angle = np.arctan2(floats[:, 0].astype(np.float64), floats[:, 1])
    return (np.rint(angle / (2 * np.pi) * 24).astype(int) % 24).tolist()


def _night(config: PipelineConfig, stream: RowStream) -> tuple[Snapshot, list[int], list[int]]:
    """Return a night's snapshot, the hours of its encoded rows, and the hours they should have."""
    snapshot = take_snapshot(find_home().dataset(config.name), stream)
    rows = split_checked(config, check_snapshot(config, snapshot))
    encoded = encode_splits(config, rows, today="2026-01-01")
    found: list[int] = []
    expected: list[int] = []
    for split in ("train", "val", "test"):
        found += _hours(encoded.read(split).x_num)
        at = np.flatnonzero(rows.assignment() == ["train", "val", "test"].index(split))
        expected += [HOURS[i] for i in at]
    return snapshot, found, expected


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_a_night_of_aware_parquet_has_the_hours_of_its_zone(
    tmp_path: Path, table_config: MakeConfig, unit: str
) -> None:
    at = pa.array([time.astimezone(UTC) for time in TIMES]).cast(pa.timestamp(unit, "UTC"))
    table = _table(at.cast(pa.timestamp(unit, "America/New_York")))
    pq.write_table(table, tmp_path / "rows.parquet")
    config = _config(table_config)
    source = table_config(data={"source": {"kind": "parquet", "path": "rows.parquet"}}).data.source

    _, found, expected = _night(
        config, open_source(source, root=tmp_path, run_date=date(2026, 1, 1))
    )

    assert found == expected


def test_files_of_two_zones_are_utcs_and_it_is_said(
    tmp_path: Path, table_config: MakeConfig
) -> None:
    at = pa.array([time.astimezone(UTC) for time in TIMES], pa.timestamp("us", "UTC"))
    for name, zone in (("a", "America/New_York"), ("b", "America/Chicago"), ("c", "Mars/Phobos")):
        table = _table(at.cast(pa.timestamp("us", zone)))
        pq.write_table(table, tmp_path / f"{name}.parquet")
    source = table_config(data={"source": {"kind": "parquet", "path": "*.parquet"}}).data.source
    stream = open_source(source, root=tmp_path, run_date=date(2026, 1, 1))
    config = _config(table_config)

    report = check_snapshot(config, take_snapshot(find_home().dataset("toy"), stream)).report

    assert report.zones == {"at": "UTC"}
    assert report.zone_notes == (
        "column 'at': its times have 3 different offsets or zones (America/Chicago to "
        "Mars/Phobos), so its hours and days are UTC's; set `columns.at.time_zone`, as "
        "America/New_York, if they are of one place",
    )
    assert report.zone_notes[0] in report.lines()


@pytest.mark.parametrize("n_rows", [7, N_ROWS])
def test_offsets_of_summer_and_winter_are_utcs_and_it_is_said(
    table_config: MakeConfig, n_rows: int
) -> None:
    table = _table(pa.array([time.isoformat() for time in TIMES]))

    report = _report(_config(table_config), table, n_rows)

    assert report.zones == {"at": "UTC"}
    (note,) = report.zone_notes
    assert "2 different offsets or zones (-04:00 and -05:00)" in note
    assert "set `columns.at.time_zone`" in note
    assert report.to_json()["notes"] == [note]


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M%z", "%Y-%m-%d %H:%M:%S%z", " %FT%T%z "])
def test_text_with_offsets_has_the_hours_of_the_zone_that_is_set(
    table_config: MakeConfig, form: str
) -> None:
    config = _config(table_config, time_zone="America/New_York")

    table = _table(pa.array([time.strftime(form) for time in TIMES]))
    snapshot, found, expected = _night(config, RowStream.of(table, source="toy.csv"))

    assert found == expected
    assert not _report(config, snapshot.read()).zone_notes


def test_text_with_one_offset_has_its_hours(table_config: MakeConfig) -> None:
    config = _config(table_config)
    table = _table(pa.array([time.isoformat() for time in IN_WINTER]))

    report = _report(config, table)
    model = fit(config, table)

    assert report.zones == {"at": "-05:00"}
    assert not report.zone_notes
    read = model.encoder.float_inputs["at"].encode(
        pa.array([time.astimezone(UTC).replace(tzinfo=None) for time in IN_WINTER])
    )
    assert _hours(read) == [time.hour for time in IN_WINTER]


def test_a_format_with_an_offset_has_its_hours(table_config: MakeConfig) -> None:
    config = _config(table_config, format="%d.%m.%Y %H:%M %z")
    words = pa.array([time.strftime("%d.%m.%Y %H:%M %z") for time in IN_WINTER])

    assert _report(config, _table(words)).zones == {"at": "-05:00"}


def test_a_zone_that_a_format_names_is_utc_or_refused(table_config: MakeConfig) -> None:
    config = _config(table_config, format="%Y-%m-%d %H:%M %Z")
    words = [time.strftime("%Y-%m-%d %H:%M UTC") for time in TIMES]

    assert _report(config, _table(pa.array(words))).zones == {"at": "UTC"}
    with pytest.raises(ContractError, match="such as '2026-01-05 08:30 EST'"):
        _report(config, _table(pa.array(["2026-01-05 08:30 EST", *words[1:]])))


def test_times_without_a_zone_are_of_the_one_that_is_set(table_config: MakeConfig) -> None:
    naive = [time.replace(tzinfo=None) for time in TIMES]
    config = _config(table_config, time_zone="America/New_York", parts=["hour", "elapsed"])
    tables = [
        _table(pa.array(naive)),
        _table(pa.array([time.isoformat() for time in naive])),
        _table(pa.array([time.isoformat() for time in naive[:60] + TIMES[60:]])),
    ]

    models = [fit(config, table) for table in tables]

    first = models[0].encoder.float_inputs["at"].to_json()
    assert [model.encoder.float_inputs["at"].to_json()["first_us"] for model in models] == [
        int(TIMES[0].timestamp() * 1e6)
    ] * 3
    assert models[1].encoder.float_inputs["at"].to_json() == first
    asked = pa.table({"at": pa.array(["2026-07-05T08:30", "2026-07-05T12:30Z"])})
    answers = models[0].predict(asked)
    assert len(set(answers["probability_early"].tolist())) == 1


def test_times_without_a_zone_throughout_are_as_before(table_config: MakeConfig) -> None:
    naive = [time.replace(tzinfo=None) for time in TIMES]

    snapshot, found, expected = _night(
        _config(table_config), RowStream.of(_table(pa.array(naive)), source="toy.csv")
    )

    assert found == expected
    assert _report(_config(table_config), snapshot.read()).zones == {}


@pytest.mark.parametrize("severity", ["stop", "quarantine", "warn"])
@pytest.mark.parametrize("n_rows", [1, 7, N_ROWS])
def test_times_with_and_without_a_zone_in_one_column_stop_the_night(
    table_config: MakeConfig, severity: str, n_rows: int
) -> None:
    words = [time.replace(tzinfo=None).isoformat() for time in TIMES[:3]]
    words += [time.isoformat() for time in TIMES[3:]]

    with pytest.raises(ContractError) as raised:
        _report(_config(table_config, severity=severity), _table(pa.array(words)), n_rows)

    (violation,) = raised.value.violations
    assert (violation.column, violation.rule, violation.n_rows) == ("at", "zone", 3)
    assert "3 rows hold times without a zone, such as '2026-01-05T08:30:00'" in violation.message
    assert "set `columns.at.time_zone`" in violation.message


@pytest.fixture(scope="module")
def model(table_config: MakeConfig) -> FittedModel:
    """Return a model of aware times of New York, in which the hour decides."""
    at = pd.Series(TIMES * 4).dt.tz_convert("America/New_York")
    labels = ["early" if time.hour < 12 else "late" for time in at]
    table = pa.table({"at": pa.Array.from_pandas(at), "label": labels})
    config = _config(table_config)
    training = config.training.model_copy(update={"epochs": 40})
    return fit(config.model_copy(update={"training": training}), table)


WINTER, SUMMER = (
    datetime(2026, 1, 5, 8, 30, tzinfo=NEW_YORK),
    datetime(2026, 7, 5, 8, 30, tzinfo=NEW_YORK),
)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "asked",
    [
        pd.Series([WINTER, SUMMER]),
        pd.Series([WINTER, SUMMER], dtype=object),
        pd.Series([WINTER, SUMMER]).dt.tz_convert("Europe/Berlin"),
        pd.Series([WINTER, SUMMER]).dt.tz_convert("UTC"),
        pd.Series([WINTER, SUMMER.astimezone(BERLIN)], dtype=object),
        pd.Series([WINTER.isoformat(), SUMMER.isoformat()]),
        pd.Series([WINTER.isoformat(), "2026-07-05T12:30:00Z"], dtype="category"),
    ],
    ids=["aware", "objects", "Berlin", "UTC", "two zones", "text", "categories"],
)
def test_half_past_eight_is_the_same_hour_all_year_in_whatever_zone_it_is_asked(
    model: FittedModel, asked: pd.Series
) -> None:
    answers = model.predict(pd.DataFrame({"at": asked}))

    assert answers["prediction"].tolist() == ["early", "early"]
    assert len(set(answers["probability_early"].tolist())) == 1


@pytest.mark.parametrize(
    "asked",
    [
        pd.Series([datetime(2026, 1, 5, 8, 30)]),  # noqa: DTZ001
        pd.Series(["2026-01-05T08:30"]),
        pd.Series([date(2026, 1, 5)]),
        pd.Series([datetime(2026, 1, 5, 8, 30), WINTER], dtype=object),  # noqa: DTZ001
        pd.Series([WINTER, datetime(2026, 1, 5, 8, 30)], dtype=object),  # noqa: DTZ001
    ],
    ids=["time", "text", "date", "first of two", "last of two"],
)
def test_a_model_of_aware_times_refuses_those_without_a_zone(
    model: FittedModel, asked: pd.Series
) -> None:
    with pytest.raises(ContractError, match="1 row holds times without a zone") as raised:
        model.predict(pd.DataFrame({"at": asked}))

    assert "those of the training were of America/New_York" in str(raised.value)
    assert "`columns.at.time_zone`" in str(raised.value)


@pytest.fixture(scope="module")
def naive_model(table_config: MakeConfig) -> FittedModel:
    """Return a model of times without a zone."""
    at = pd.Series([time.replace(tzinfo=None) for time in TIMES] * 4)
    labels = ["early" if time.hour < 12 else "late" for time in at]
    return fit(_config(table_config), pa.table({"at": pa.Array.from_pandas(at), "label": labels}))


@pytest.mark.parametrize(
    "asked",
    [
        pd.Series([WINTER, SUMMER]),
        pd.Series([WINTER, SUMMER], dtype=object),
        pd.Series([WINTER, SUMMER]).dt.as_unit("ns"),
        pd.Series([WINTER.isoformat(), "2026-07-05T08:30:00"]),
    ],
    ids=["aware", "objects", "nanoseconds", "one with an offset"],
)
def test_a_model_of_times_without_a_zone_says_that_it_reads_others_by_the_clock_of_utc(
    naive_model: FittedModel, asked: pd.Series
) -> None:
    with pytest.warns(TimeZoneWarning, match="column 'at' holds times of .*UTC's clock"):
        naive_model.predict(pd.DataFrame({"at": asked}))


@pytest.mark.parametrize(
    "asked",
    [
        pd.Series([WINTER.replace(tzinfo=None)]),
        pd.Series(["2026-01-05T08:30"]),
        pd.Series([WINTER]).dt.tz_convert("UTC"),
        pd.Series(["2026-01-05T08:30:00Z"]),
    ],
    ids=["naive", "text", "UTC", "Z"],
)
def test_a_model_of_times_without_a_zone_says_nothing_of_such_times_and_of_those_of_utc(
    naive_model: FittedModel, asked: pd.Series
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", TimeZoneWarning)
        naive_model.predict(pd.DataFrame({"at": asked}))


def test_the_comparison_notes_a_champion_that_knows_no_zone_of_the_times_of_this_run(
    tmp_path: Path, table_config: MakeConfig, naive_model: FittedModel, model: FittedModel
) -> None:
    at = pa.array([WINTER, SUMMER] * 10, pa.timestamp("us", "America/New_York"))
    rows = pa.table({"at": at, "label": ["early", "late"] * 10})
    kept = pa.Table.from_pandas(model.predict(rows))
    target = {b"evergreen.target": json.dumps(target_to_json(model.target))}
    pq.write_table(kept.replace_schema_metadata(target), tmp_path / "kept.parquet")

    def notes(champion: FittedModel) -> tuple[str, ...]:
        challenger, config = tmp_path / "kept.parquet", _config(table_config)
        return score_champion(config, champion, "4", [rows], challenger=challenger).notes

    (note,) = notes(naive_model)
    assert note.startswith("champion v4: column 'at' holds times of 'America/New_York'")
    assert notes(model) == ()


def test_a_saved_model_keeps_its_zone(tmp_path: Path, model: FittedModel) -> None:
    model.save(tmp_path / "model")

    again = load_model(tmp_path / "model")

    rows = pd.DataFrame({"at": [WINTER, SUMMER]})
    assert again.encoder.zones == {"at": "America/New_York"}
    assert again.predict(rows).equals(model.predict(rows))


def test_an_encoder_without_a_zone_is_known_by_what_it_was_before_there_were_zones() -> None:
    at = pa.array([datetime(2026, 1, 5, 8, 30), datetime(2026, 7, 5, 8, 30)], pa.timestamp("us"))  # noqa: DTZ001

    encoder = Encoder.fit(pa.table({"at": at}), {"at": DatetimeColumn()}, today="2026-01-01")

    # What the commit 49fd611 writes.
    assert (
        encoder.fingerprint() == "7c72b31bff432c611273117c9d7a24786ef7afa99a959da9f234a61481dd7a44"
    )


@pytest.mark.parametrize(
    ("column", "good", "bad"),
    [
        ({"time_zone": "America/New_York"}, "2026-01-01T00:00", "2025-12-31T23:59"),
        ({"time_zone": "America/New_York"}, "2026-12-31T23:59", "2027-01-01T00:00"),
        ({"time_zone": "America/New_York"}, "2026-01-01T05:00Z", "2026-01-01T04:59Z"),
        ({}, "2026-01-01T00:00", "2025-12-31T23:59"),
    ],
)
def test_bounds_are_of_the_zone_that_is_set(
    table_config: MakeConfig, column: dict[str, str], good: str, bad: str
) -> None:
    config = _config(table_config, earliest="2026-01-01", latest="2026-12-31", **column)

    report = _report(config, _table(pa.array([good] * 60)))

    assert not report.violations
    with pytest.raises(ContractError, match="60 rows hold"):
        _report(config, _table(pa.array([bad] * 60)))


def test_bounds_of_aware_times_are_of_their_zone(table_config: MakeConfig) -> None:
    config = _config(table_config, earliest="2026-01-01")
    first = datetime(2026, 1, 1, tzinfo=NEW_YORK)

    assert not _report(config, _table(pa.array([first] * 60))).violations
    with pytest.raises(ContractError, match="60 rows hold '2025-12-31 23:59:59"):
        _report(config, _table(pa.array([first - timedelta(seconds=1)] * 60)))


def test_the_days_of_a_time_split_begin_at_midnight_of_the_zone(table_config: MakeConfig) -> None:
    first = datetime(2026, 5, 1, tzinfo=NEW_YORK)
    at = [first + timedelta(hours=hour) for hour in range(96)]
    config = table_config(
        data={"target": "label", "task": "binary", "time": "at"},
        columns={"at": {"kind": "datetime"}},
        split={"kind": "time", "val_from": "2026-05-03", "test_from": "2026-05-04"},
    )
    snapshot = take_snapshot(
        find_home().dataset("toy"), RowStream.of(_table(pa.array(at)), source="toy.csv")
    )

    rows = split_checked(config, check_snapshot(config, snapshot))

    days = [time.day for time in at]
    assert rows.assignment().tolist() == [{1: 0, 2: 0, 3: 1, 4: 2}[day] for day in days]


def test_a_time_that_is_no_feature_has_a_zone_in_all_rows_or_in_none(
    table_config: MakeConfig,
) -> None:
    words = pa.array([time.isoformat()[: 19 if n % 2 else None] for n, time in enumerate(TIMES)])
    table = _table(words).append_column("size", pa.array([float(n) for n in range(N_ROWS)]))
    config = table_config(
        data={"target": "label", "task": "binary", "time": "at"},
        columns={"size": {"kind": "number"}},
    )

    with pytest.raises(ContractError, match="60 rows hold times without a zone") as raised:
        _report(config, table)

    assert "write an offset in all rows of the source, or in none" in str(raised.value)


@given(
    st.lists(
        st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001
            lambda time: time.replace(tzinfo=UTC)
        ),
        min_size=2,
        max_size=20,
    ),
    st.sampled_from(["America/New_York", "Asia/Kathmandu", "Pacific/Apia", "+13:45"]),
)
def test_every_part_is_the_one_that_pandas_reads_from_the_clock(
    times: list[datetime], zone: str
) -> None:
    parts: tuple[DatetimePart, ...] = ("month", "day", "day_of_year", "weekday", "hour", "minute")
    naive = pa.chunked_array(
        [pa.array([t.replace(tzinfo=None) for t in times], pa.timestamp("us"))]
    )

    fitter = DatetimeFitter("at", (*parts, "year", "elapsed"), nullable=False, zone=zone)
    fitter.add(naive)
    floats = fitter.finish().encode(naive).astype(np.float64)

    clock = pd.Series(times).dt.tz_convert(zone).dt
    first = {"month": 1, "day": 1, "day_of_year": 1}
    periods = {"month": 12, "day": 31, "day_of_year": 366, "weekday": 7, "hour": 24, "minute": 60}
    for number, part in enumerate(parts):
        k = getattr(clock, part).to_numpy() - first.get(part, 0)
        angle = 2 * np.pi * k / periods[part]
        expected = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        np.testing.assert_allclose(floats[:, 2 * number : 2 * number + 2], expected, atol=1e-6)
    years = clock.year.to_numpy().astype(np.float64)
    spread = years.std() or 1.0
    np.testing.assert_allclose(floats[:, 12], (years - years.mean()) / spread, atol=1e-4)
    days = np.array([(time - times[0]) / timedelta(days=1) for time in times])
    spread = days.std() or 1.0
    np.testing.assert_allclose(floats[:, 13], (days - days.mean()) / spread, atol=1e-3)
