"""Drift is reported when it is there, and chance is not."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pytest
from scipy.signal import lfilter

from pipeline_lib.config.validation import DriftSettings
from pipeline_lib.monitoring.drift import compare
from pipeline_lib.monitoring.drift_report import DriftReport, NightRecord, Verdict
from tests.unit.monitoring.drifts import (
    NIGHT,
    SETTINGS,
    compare_tables,
    past_night,
    profile_of,
    profiles_moved_by,
    row_of,
)

BIKES = Path(__file__).resolve().parents[4] / "shared" / "data" / "bike_hour.csv"
WORDS = ("season", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit", "day_type")
NUMBERS = ("temp", "atemp", "hum", "windspeed")


def _columns(report: DriftReport, verdict: Verdict) -> set[str]:
    return {row.column for row in report.rows if row.verdict == verdict}


def _zipf(random: np.random.Generator, cardinality: int, n_rows: int) -> np.ndarray:
    upto = np.cumsum(1 / np.arange(1, cardinality + 1) ** 1.1)
    return np.searchsorted(upto, random.random(n_rows) * upto[-1]).astype(str)


def _independent(random: np.random.Generator, n_rows: int) -> pa.Table:
    """Return 12 columns of independent rows: words of 2 to 100,000 kinds, numbers of all sorts."""
    numbers = {
        "normal": random.normal(size=n_rows),
        "skew": random.gamma(0.3, size=n_rows),
        "whole": np.round(10 * random.normal(size=n_rows)),
        "heavy": random.standard_cauchy(n_rows),
        "zeros": np.where(random.random(n_rows) < 0.7, 0, random.normal(size=n_rows)),
    }
    share = dict(zip(numbers, (0.0, 0.01, 0.05, 0.5, 0.9), strict=True))
    words = {
        f"words {n}": pa.array(_zipf(random, n, n_rows)) for n in (2, 5, 50, 500, 10_000, 100_000)
    }
    flat = {"flat": pa.array(random.integers(0, 1000, n_rows).astype(str))}
    held = {
        name: pa.array(values, mask=random.random(n_rows) < share[name])
        for name, values in numbers.items()
    }
    return pa.table({**words, **flat, **held})


@pytest.fixture(scope="module")
def bikes() -> pa.Table:
    """Return 17,379 hours in an order drawn once, so that any part is a sample of the whole."""
    if not BIKES.exists():
        pytest.skip(f"the bike rentals are not on this machine ({BIKES})")
    table = pv.read_csv(BIKES)
    columns = {name: table[name].cast(pa.string()) for name in WORDS}
    columns |= {name: table[name].cast(pa.float64()) for name in NUMBERS}
    ordered = pa.table({**columns, "y": table["cnt"].cast(pa.float64())})
    return ordered.take(np.random.default_rng(0).permutation(len(ordered)))


def _with(table: pa.Table, name: str, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


# No drift


def test_ten_nights_of_independent_rows_are_quiet(bikes: pa.Table) -> None:
    taught = bikes.slice(0, 7000)
    reference = profile_of(taught, known=taught)

    said: list[str] = []
    for new in (False, True):
        records: list[NightRecord] = []
        for night in range(10):
            start, end = (7000 + 1000 * night if new else 0), 8000 + 1000 * night
            report = compare(
                reference,
                profile_of(bikes.slice(start, end - start), known=taught),
                history=records,
                settings=SETTINGS,
                run_date=NIGHT + timedelta(days=night),
            )
            records.append(report.record)
            said += report.sentences

    assert said == []


@pytest.mark.parametrize(
    ("n_before", "n_now", "n_nights"),
    [(200, 200, 70), (1000, 200, 70), (2000, 2000, 35), (20_000, 1000, 15), (100_000, 3000, 4)],
)
def test_independent_nights_alarm_less_than_once_in_fifty(
    n_before: int, n_now: int, n_nights: int
) -> None:
    random = np.random.default_rng(n_before + n_now)

    reports = [
        compare_tables(_independent(random, n_before), _independent(random, n_now))
        for _ in range(n_nights)
    ]

    verdicts = Counter(row.verdict for report in reports for row in report.rows)
    # One such night among 70 has a chance of a half at one per hundred; three have 3 %.
    assert verdicts["noticed"] <= 2
    assert verdicts["matters"] == 0


def test_chances_of_independent_rows_are_as_rare_as_they_say() -> None:
    random = np.random.default_rng(1)
    chances = [
        row.p_value
        for _ in range(60)
        for row in compare_tables(_independent(random, 3000), _independent(random, 1000)).rows
        if row.p_value is not None and row.aspect == "distribution"
    ]

    # 720 tests: 36 are expected below 5 %, with a deviation of 6.
    assert np.sum(np.array(chances) < 0.05) < 36 + 4 * 6
    assert np.sum(np.array(chances) < 0.001) <= 4


@pytest.mark.parametrize("correlation", [0.5, 0.9, 0.97])
def test_neighboring_stretches_of_an_autocorrelated_series_do_not_alarm(
    correlation: float,
) -> None:
    random = np.random.default_rng(0)
    matters = 0
    for _ in range(40):
        series = lfilter([1.0], [1.0, -correlation], random.normal(size=8000))
        table = pa.table({"x": series, "word": (series > 1).astype(str)})
        matters += compare_tables(table.slice(1000, 5000), table.slice(6000, 2000)).matters

    assert matters == 0


def test_the_same_stretches_taken_for_independent_rows_would_alarm() -> None:
    # The proof that the test above is one: shuffled within, the stretches differ as before,
    # but nothing shows that their rows hung together.
    random = np.random.default_rng(0)
    matters = 0
    for _ in range(10):
        series = lfilter([1.0], [1.0, -0.97], random.normal(size=8000))
        before, now = random.permutation(series[1000:6000]), random.permutation(series[6000:])
        matters += compare_tables(pa.table({"x": before}), pa.table({"x": now})).matters

    assert matters >= 5


def test_a_day_of_an_hourly_table_is_no_news_though_it_is_of_one_weekday() -> None:
    if not BIKES.exists():
        pytest.skip(f"the bike rentals are not on this machine ({BIKES})")
    table = pv.read_csv(BIKES)
    names = ("weekday", "workingday", "weathersit", "hr", "season")
    columns = {name: table[name].cast(pa.string()) for name in names}
    columns |= {name: table[name].cast(pa.float64()) for name in (*NUMBERS, "cnt")}
    ordered = pa.table(columns)

    alarms = [
        column
        for start in range(9000, 17_000, 800)
        for column in _columns(
            compare_tables(ordered.slice(0, start), ordered.slice(start, 24)), "matters"
        )
    ]

    assert alarms == []


# Drift


@pytest.mark.parametrize("rows", ["new", "all"])
@pytest.mark.parametrize(
    ("shift", "moved"),
    [
        (lambda t: _with(t, "hum", pc.min_element_wise(pc.add(t["hum"], 0.15), 1.0)), {"hum"}),
        (lambda t: _with(t, "temp", pc.multiply(t["temp"], 1.4)), {"temp"}),
        (lambda t: _with(t, "y", pc.multiply(t["y"], 2.0)), {"y"}),
        (
            lambda t: t.filter(pc.equal(t["day_type"], "Weekend")),
            {"weekday", "workingday", "day_type"},
        ),
        (
            lambda t: _with(
                t, "season", pc.if_else(pc.equal(t["season"], "1"), "spring", t["season"])
            ),
            {"season"},
        ),
    ],
    ids=["moister", "warmer", "target doubled", "weekends only", "a season renamed"],
)
def test_a_shifted_night_names_the_columns_that_shifted_and_no_others(
    bikes: pa.Table, shift: Callable[[pa.Table], pa.Table], moved: set[str], rows: str
) -> None:
    night = bikes.slice(9000, 1500) if rows == "new" else bikes.slice(7000)

    report = compare_tables(bikes.slice(0, 7000), shift(night))

    assert _columns(report, "matters") == moved


@pytest.mark.parametrize("share", [0.15, 0.2])
def test_a_shift_of_15_percent_of_5000_rows_is_found_nearly_always(share: float) -> None:
    random = np.random.default_rng(0)
    found = 0
    for _ in range(60):
        before = pa.table({"x": random.normal(size=5000), "w": _zipf(random, 30, 5000)})
        moves = random.random(5000) < share
        x = np.where(moves, random.normal(3, 0.5, 5000), random.normal(size=5000))
        words = np.where(random.random(5000) < share, "other", _zipf(random, 30, 5000))
        report = compare_tables(before, pa.table({"x": x, "w": words}))
        found += _columns(report, "matters") == {"x", "w"}

    assert found >= 57


def test_a_shift_of_3_percent_is_noticed_and_does_not_matter() -> None:
    random = np.random.default_rng(0)
    now = np.where(random.random(20_000) < 0.03, 5.0, random.normal(size=20_000))

    report = compare_tables(pa.table({"x": random.normal(size=20_000)}), pa.table({"x": now}))

    assert row_of(report, "distribution").verdict == "noticed"
    assert not report.matters


def test_an_explanation_says_from_where_to_where() -> None:
    random = np.random.default_rng(0)
    now = np.where(random.random(9000) < 0.3, 0.9 + 0.1 * random.random(9000), random.random(9000))

    report = compare_tables(pa.table({"x": random.random(9000)}), pa.table({"x": now}))

    said = row_of(report, "distribution").explanation
    assert said.startswith("x: 27 % of rows moved, mostly from below 0.89")
    assert "to above 0.89" in said


def test_nulls_from_none_to_ninety_percent_matter_and_the_values_left_do_not() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=10_000)
    before, now = values[:5000], pa.array(values[5000:], mask=random.random(5000) < 0.9)

    report = compare_tables(pa.table({"x": before}), pa.table({"x": now}))

    assert row_of(report, "nulls").verdict == "matters"
    assert row_of(report, "distribution").verdict == "quiet"
    assert "90 % of rows have no value, 0 % before" in row_of(report, "nulls").explanation


def test_a_column_gone_empty_matters_though_there_is_nothing_to_compare() -> None:
    before = pa.table({"x": np.arange(300.0), "w": ["a", "b", "c"] * 100})
    now = pa.table({"x": pa.nulls(300, pa.float64()), "w": pa.nulls(300, pa.string())})

    assert _columns(compare_tables(before, now), "matters") == {"x", "w"}


@pytest.mark.parametrize(("share", "verdict"), [(0.06, "matters"), (0.03, "noticed")])
def test_six_percent_of_nulls_where_none_were_matter_and_three_do_not(
    share: float, verdict: str
) -> None:
    now = pa.array(np.arange(4000.0), mask=np.arange(4000) % 100 < 100 * share)

    report = compare_tables(pa.table({"x": np.arange(4000.0)}), pa.table({"x": now}))

    assert row_of(report, "nulls").verdict == verdict


def test_new_words_beyond_what_is_to_be_expected_matter() -> None:
    random = np.random.default_rng(0)
    before, now = _zipf(random, 100_000, 5000), _zipf(random, 100_000, 5000)
    strange = np.where(random.random(5000) < 0.3, random.integers(10**6, 10**9, 5000), now)

    usual = compare_tables(pa.table({"x": before}), pa.table({"x": now}))
    more = compare_tables(pa.table({"x": before}), pa.table({"x": strange.astype(str)}))

    assert row_of(usual, "unseen").statistic > 0.2
    assert row_of(usual, "unseen").verdict == "quiet"
    assert row_of(more, "unseen").verdict == "matters"


def test_a_new_word_is_found_without_knowing_the_vocabulary() -> None:
    before = pa.table({"x": ["a", "b", "c", "d"] * 500})
    now = pa.table({"x": ["a", "b", "c", "z"] * 500})

    report = compare(profile_of(before), profile_of(now), settings=SETTINGS, run_date=NIGHT)

    assert row_of(report, "unseen").verdict == "matters"
    assert "at least 25 %" in row_of(report, "unseen").explanation
    assert "new: 'z' (25 % of rows); gone: 'd' (25 % of rows)" in (
        row_of(report, "categories").explanation
    )


def test_two_words_that_swap_are_seen_even_if_they_share_a_bucket() -> None:
    from pipeline_lib.data.hashing import hash_text

    hashes = hash_text(pa.array([f"w{i}" for i in range(600)])) % 256
    twin = next(i for i in range(1, 600) if hashes[i] == hashes[0])
    before = pa.table({"x": ["w0"] * 900 + [f"w{twin}"] * 100})
    now = pa.table({"x": ["w0"] * 100 + [f"w{twin}"] * 900})

    assert row_of(compare_tables(before, now), "distribution").effect == pytest.approx(
        0.8, abs=0.01
    )


def test_a_column_that_changes_its_kind_or_goes_is_told() -> None:
    before = pa.table({"x": ["1", "2"] * 50, "old": ["a", "b"] * 50})
    now = pa.table({"x": [1.0, 2.0] * 50, "new": ["a", "b"] * 50})

    report = compare(profile_of(before), profile_of(now), settings=SETTINGS, run_date=NIGHT)

    assert "was a column of kind category" in row_of(report, "schema").explanation
    assert row_of(report, "schema", "old").explanation == "old: is not there any more"
    assert row_of(report, "schema", "new").explanation == "new: was not there before"


def test_a_shift_in_a_sorted_table_is_found() -> None:
    random = np.random.default_rng(0)
    before, now = np.sort(random.normal(size=5000)), np.sort(random.normal(0.5, 1, size=5000))

    assert compare_tables(pa.table({"x": before}), pa.table({"x": now})).matters


def test_the_target_is_told_first() -> None:
    before = pa.table({"a": np.arange(1000.0), "y": np.arange(1000.0)})
    now = pa.table({"a": np.arange(1000.0) + 900, "y": np.arange(1000.0) + 300})

    report = compare_tables(before, now)

    assert [row.column for row in report.rows if row.verdict == "matters"] == ["y", "a"]


# Time


def _dated(start: str, n_hours: int) -> pa.Table:
    hours = np.datetime64(start, "us") + np.arange(n_hours) * np.timedelta64(1, "h")
    return pa.table({"at": pa.array(hours), "x": np.arange(n_hours) % 7.0})


def _compare_dated(before: pa.Table, now: pa.Table, settings: DriftSettings) -> DriftReport:
    first, then = (profile_of(table, time="at") for table in (before, now))
    return compare(first, then, settings=settings, run_date=NIGHT)


def test_new_rows_are_later_than_old_ones_and_that_is_no_drift() -> None:
    report = _compare_dated(_dated("2024-01-01", 3000), _dated("2024-05-05", 500), SETTINGS)

    assert report.sentences == ()


@pytest.mark.parametrize(
    ("start", "said"), [("1970-01-01", "older than the oldest"), ("2199-01-01", "in the future")]
)
def test_times_before_all_others_or_in_the_future_matter(start: str, said: str) -> None:
    report = _compare_dated(_dated("2024-01-01", 3000), _dated(start, 500), SETTINGS)

    assert row_of(report, "distribution", "at").verdict == "matters"
    assert said in row_of(report, "distribution", "at").explanation


@pytest.mark.parametrize(("limit", "matters"), [(3.0, True), (10.0, False)])
def test_rows_that_are_too_old_matter(limit: float, matters: bool) -> None:
    # The last hour is 5 days before the night.
    settings = DriftSettings(max_age_days=limit)

    report = _compare_dated(_dated("2024-01-01", 3000), _dated("2024-05-20", 24 * 7 + 1), settings)

    row = row_of(report, "freshness", "")
    assert row.statistic == 5.0
    assert (row.verdict == "matters") == matters


def test_the_newest_time_may_be_after_the_night_began() -> None:
    table = pa.table({"at": pa.array([datetime.fromisoformat("2024-06-01T09:00")])})
    settings = DriftSettings(max_age_days=1)

    report = compare(None, profile_of(table, time="at"), settings=settings, run_date=NIGHT)

    assert row_of(report, "freshness", "").statistic == 0.0


# Past nights


@pytest.mark.parametrize(
    ("usual", "verdict"),
    [((0.0, 0.01, 0.0, 0.02, 0.01), "matters"), ((0.2, 0.25, 0.15, 0.22, 0.18), "quiet")],
)
def test_a_column_that_always_wobbles_must_wobble_more(
    usual: tuple[float, ...], verdict: str
) -> None:
    before, now = profiles_moved_by(0.2)
    history = [
        past_night(i + 1, effect=effect, reference=before.digest, matters=effect > 0.1)
        for i, effect in enumerate(usual)
    ]

    report = compare(before, now, history=history, settings=SETTINGS, run_date=NIGHT)

    assert row_of(report, "distribution").verdict == verdict


def test_what_mattered_against_an_older_champion_makes_no_drift_usual() -> None:
    before, now = profiles_moved_by(0.2)
    history = [past_night(i, effect=0.2, reference="older", matters=True) for i in range(1, 9)]

    report = compare(before, now, history=history, settings=SETTINGS, run_date=NIGHT)

    assert row_of(report, "distribution").verdict == "matters"


def test_the_night_itself_and_nights_beyond_the_window_tell_nothing() -> None:
    before, now = profiles_moved_by(0.2)
    history = [
        past_night(day, effect=0.3, reference=before.digest) for day in (0, -1, 5, 6, 7, 8)
    ] + [past_night(day, effect=0.0, reference=before.digest) for day in (1, 2, 3, 4)]

    report = compare(
        before, now, history=history, settings=DriftSettings(n_nights=4), run_date=NIGHT
    )

    assert row_of(report, "distribution").verdict == "matters"


@pytest.mark.parametrize(
    ("past", "n_rows", "verdict"),
    [
        ([1000, 1010, 990, 1005], 1002, "quiet"),
        ([1000, 1010, 990, 1005], 450, "matters"),
        ([1000, 1010, 990, 1005], 3200, "matters"),
        ([1000, 1010, 990, 1005], 1500, "noticed"),
        ([1000] * 6 + [100] + [1000] * 6 + [100], 100, "quiet"),
        ([10_000, 11_000, 12_000, 13_000], 14_000, "quiet"),
        ([10_000, 11_000, 12_000, 13_000], 30_000, "noticed"),
        ([10_000, 11_000, 12_000, 13_000], 6000, "matters"),
        ([1000, 1010, 990], 10, "quiet"),
    ],
    ids=[
        "as usual", "half is gone", "thrice as many", "half as many again", "a Sunday",
        "it grows as ever", "it doubles", "half of a growing table is gone", "too few nights",
    ],
)  # fmt: skip
def test_the_number_of_rows_is_held_against_past_nights(
    past: list[int], n_rows: int, verdict: str
) -> None:
    history = [past_night(len(past) - i, n_rows=n) for i, n in enumerate(past)]
    profile = profile_of(pa.table({"x": np.zeros(n_rows)}))

    report = compare(None, profile, history=history, settings=SETTINGS, run_date=NIGHT)

    found = [row.verdict for row in report.rows if row.aspect == "volume"]
    assert found == ([] if len(past) < 4 else [verdict])
