"""How values become what their column is declared to hold, and what is refused."""

# ruff: noqa: DTZ001 - naive times are what the columns hold

import decimal
import math
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.columns import (
    BooleanColumn,
    CategoryColumn,
    Column,
    DatetimeColumn,
    HashColumn,
    NumberColumn,
)
from pipeline_lib.data.contract.declared import conform
from pipeline_lib.errors import ContractError, Violation

WORDS, NUMBERS = CategoryColumn(nullable=True), NumberColumn(nullable=True)
BOOLEANS, TIMES = BooleanColumn(nullable=True), DatetimeColumn(nullable=True)
INSTANTS = st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31))


def _conform(values: pa.Array, column: Column) -> list[Any]:
    return conform(pa.table({"x": values}), {"x": column}, source="x.csv")["x"].to_pylist()


def _clash(values: pa.Array, column: Column) -> Violation:
    with pytest.raises(ContractError) as raised:
        _conform(values, column)
    assert len(raised.value.violations) == 1
    return raised.value.violations[0]


@pytest.mark.parametrize("column", [WORDS, HashColumn()])
@pytest.mark.parametrize(
    ("values", "word"),
    [
        (pa.array([1]), "1"),
        (pa.array(["1"]), "1"),
        (pa.array([1.0]), "1"),
        (pa.array([decimal.Decimal("1.00")]), "1"),
        (pa.array([True]), "true"),
        (pa.array([2**63 - 1], pa.int64()), "9223372036854775807"),
        (pa.array([2**64 - 1], pa.uint64()), "18446744073709551615"),
        (pa.array([decimal.Decimal(2**53 + 1)]), "9007199254740993"),
        (pa.array(["a"], pa.string_view()), "a"),
        (pa.array([date(2024, 2, 3)]), "2024-02-03"),
        (pa.array([date(2024, 2, 3)], pa.date64()), "2024-02-03"),
        (pc.run_end_encode(pa.array(["a"])), "a"),
        (pa.array([True]).cast(pa.int8()).view(pa.int8()), "1"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_one_category_is_one_word_whatever_type_it_comes_in(
    column: Column, values: pa.Array, word: str
) -> None:
    assert _conform(values, column) == [word]


@given(st.lists(INSTANTS | st.none(), min_size=1))
def test_a_time_in_a_category_column_is_its_isoformat(times: list[datetime | None]) -> None:
    expected = [None if time is None else time.isoformat() for time in times]

    assert _conform(pa.array(times, pa.timestamp("us")), WORDS) == expected


def test_a_time_with_a_zone_in_a_category_column_is_told_in_utc() -> None:
    values = pa.array([datetime(2024, 7, 1)], pa.timestamp("ns", "Europe/Berlin"))

    assert _conform(values, WORDS) == ["2024-07-01T00:00:00+00:00"]


def test_a_decimal_that_is_not_whole_is_no_category() -> None:
    violation = _clash(pa.array([decimal.Decimal("1.50"), decimal.Decimal("2.00")]), WORDS)

    assert violation.n_rows == 1
    assert "not whole, such as Decimal('1.50')" in violation.message


@pytest.mark.parametrize("column", [WORDS, NUMBERS, BOOLEANS, TIMES])
@pytest.mark.parametrize(
    "values",
    [
        pa.array([b"a"]),
        pa.array([[1]]),
        pa.array([{"a": 1}]),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.array([timedelta(days=1)]),
    ],
    ids=lambda value: str(value.type),
)
def test_a_type_that_holds_no_single_value_is_refused(values: pa.Array, column: Column) -> None:
    assert f"has the type {values.type}" in _clash(values, column).message


@pytest.mark.parametrize(
    "values",
    [
        pa.array([2**53 + 1], pa.int64()),
        pa.array([-(2**63)], pa.int64()),
        pa.array([2**64 - 1], pa.uint64()),
        pa.array([decimal.Decimal(2**53 + 1)]),
        pa.array([decimal.Decimal("9007199254740993.00")]),
        pa.array(["9007199254740993"]),
        pa.array([" -0009007199254740993 "]),
        pa.array(["9" * 400]),
    ],
    ids=lambda value: str(value.type),
)
def test_a_whole_number_that_no_float_holds_is_refused_with_a_way_out(values: pa.Array) -> None:
    violation = _clash(values, NUMBERS)

    assert (violation.rule, violation.n_rows) == ("exact", 1)
    assert "declare the column `kind: category` or `kind: hash`" in violation.message
    assert len(violation.message) < 300


@pytest.mark.parametrize(
    ("values", "number"),
    [
        (pa.array([-(2**53)]), -(2.0**53)),
        (pa.array(["9007199254740992"]), 2.0**53),
        (pa.array(["1e300"]), 1e300),
        (pa.array([1e300]), 1e300),
        (pa.array(["9007199254740994.0"]), 9007199254740994.0),
        (pa.array([decimal.Decimal("0.5")]), 0.5),
        (pa.array(["1"], pa.string_view()), 1.0),
        (pa.array([1.5], pa.float16()), 1.5),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_number_that_a_float_holds_is_kept(values: pa.Array, number: float) -> None:
    assert _conform(values, NUMBERS) == [number]


def test_numbers_beside_a_huge_one_are_not_taken_for_it() -> None:
    violation = _clash(pa.array([*range(99), 2**60]), NUMBERS)

    assert violation.n_rows == 1
    assert violation.examples == (str(2**60),)


@given(st.lists(st.text(alphabet="0123456789+-.eEnaif x_()", max_size=6), max_size=30))
def test_the_numbers_of_a_column_do_not_depend_on_the_others(words: list[str]) -> None:
    def alone(word: str) -> float | None:
        try:
            return pa.array([word.strip()]).cast(pa.float64())[0].as_py()
        except pa.ArrowInvalid:
            return None

    readable = [word for word in words if alone(word) is not None]
    finite = [word for word in readable if abs(alone(word) or 0.0) != float("inf")]

    numbers = _conform(pa.array(finite, pa.string()), NUMBERS)

    expected = [alone(word) for word in finite]
    assert numbers == [None if value is None or math.isnan(value) else value for value in expected]
    if len(readable) < len(words):
        with pytest.raises(ContractError) as raised:
            _conform(pa.array(words, pa.string()), NUMBERS)
        assert raised.value.violations[0].n_rows == len(words) - len(readable)


@pytest.mark.parametrize(
    ("values", "booleans"),
    [
        (pa.array([True, False, None]), [True, False, None]),
        (pa.array([" Yes", "NO ", "t", "F", "1", "0", None]), [True, False] * 3 + [None]),
        (pa.array([1, 0, None], pa.int8()), [True, False, None]),
        (pa.array([1.0, 0.0, -0.0, float("nan")]), [True, False, False, None]),
        (pa.array(["Y", "N", "Y"]).dictionary_encode(), [True, False, True]),
        (pa.array([None], pa.null()), [None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_yes_and_no_are_booleans_whatever_type_they_come_in(
    values: pa.Array, booleans: list[bool | None]
) -> None:
    assert _conform(values, BOOLEANS) == booleans


@pytest.mark.parametrize("values", [pa.array([1, 2]), pa.array(["1", "2"])], ids=["int", "text"])
def test_numbers_named_as_words_mean_what_the_column_says(values: pa.Array) -> None:
    column = BooleanColumn(true=("2",), false=("1",))

    assert _conform(values, column) == [False, True]


def test_words_that_are_no_boolean_are_told_with_count_and_the_words_there_are() -> None:
    violation = _clash(pa.array(["yes", "maybe", "", "maybe", None]), BOOLEANS)

    assert violation.n_rows == 3
    assert "hold 'maybe', ''; a boolean is one of 'true', 't', 'yes'" in violation.message


@given(st.lists(INSTANTS))
def test_times_written_as_iso_8601_are_read_as_python_reads_them(times: list[datetime]) -> None:
    words = [
        time.isoformat(sep=" " if number % 2 else "T") if number % 3 else time.date().isoformat()
        for number, time in enumerate(times)
    ]

    read = _conform(pa.array(words, pa.string()), TIMES)

    assert read == [datetime.fromisoformat(word) for word in words]


@given(st.lists(INSTANTS), st.integers(-23 * 60, 23 * 60), st.booleans())
def test_offsets_are_turned_into_utc_also_beside_times_without(
    times: list[datetime], minutes: int, mixed: bool
) -> None:
    zone = timezone(timedelta(minutes=minutes))
    aware = [time.replace(tzinfo=zone) for time in times]
    words = [time.isoformat() for time in aware]
    expected = [time.astimezone(UTC).replace(tzinfo=None) for time in aware]
    if mixed:
        words, expected = (
            [*words, "2024-01-02T03:04:05Z", "2024-01-02"],
            [
                *expected,
                datetime(2024, 1, 2, 3, 4, 5),
                datetime(2024, 1, 2),
            ],
        )

    assert _conform(pa.array(words, pa.string()), TIMES) == expected


def test_digits_below_the_microsecond_are_dropped() -> None:
    values = pa.array(["2024-01-02T03:04:05.123456789Z"])

    assert _conform(values, TIMES) == [datetime(2024, 1, 2, 3, 4, 5, 123456)]


@given(st.lists(st.text(alphabet="0123456789-: TZ+.", max_size=24), max_size=20))
def test_a_time_is_read_or_refused_whatever_stands_beside_it(words: list[str]) -> None:
    def alone(word: str) -> bool:
        try:
            _conform(pa.array([word]), TIMES)
        except ContractError:
            return False
        return True

    n_refused = sum(not alone(word) for word in words)

    if n_refused:
        mixed = ["2024-01-01", "2024-01-01T00:00Z", *words]
        assert _clash(pa.array(mixed), TIMES).n_rows == n_refused


@pytest.mark.parametrize(
    ("form", "times"),
    [
        ("%d.%m.%Y", [datetime(2024, 2, 29), datetime(1999, 12, 1)]),
        ("%Y%m%d", [datetime(2024, 2, 29)]),
        ("%m/%d/%Y %H:%M", [datetime(2024, 2, 29, 23, 59)]),
        ("%Y-%m-%d %H:%M:%S.%f", [datetime(2024, 2, 29, 23, 59, 58, 1500)]),
        ("%d %b %Y", [datetime(2024, 2, 29)]),
        ("%I:%M %p, %d.%m.%y", [datetime(2024, 2, 29, 23, 59)]),
        ("%Y-%j", [datetime(2024, 2, 29)]),
        ("100%% %Y-%m-%d", [datetime(2024, 2, 29)]),
        ("(%Y) [%m] %d?", [datetime(2024, 2, 29)]),
    ],
)
def test_a_format_means_what_python_makes_of_it(form: str, times: list[datetime]) -> None:
    words = [time.strftime(form) for time in times]

    read = _conform(pa.array(words), DatetimeColumn(format=form))

    assert read == [datetime.strptime(word, form) for word in words]  # noqa: DTZ007


@given(st.lists(st.from_regex(r"[0-9]{1,2}[./][0-9]{1,2}\.(20|00)[0-9]{1,2}", fullmatch=True)))
def test_a_format_reads_and_refuses_as_strptime_does(words: list[str]) -> None:
    def alone(word: str) -> datetime | None:
        try:
            return datetime.strptime(word, "%d.%m.%Y")  # noqa: DTZ007
        except ValueError:
            return None

    readable = [word for word in words if alone(word) is not None]
    column = DatetimeColumn(format="%d.%m.%Y")

    assert _conform(pa.array(readable, pa.string()), column) == [alone(w) for w in readable]
    if len(readable) < len(words):
        assert _clash(pa.array(words), column).n_rows == len(words) - len(readable)


def test_a_format_with_an_offset_gives_utc() -> None:
    column = DatetimeColumn(format="%d.%m.%Y %H:%M %z")

    assert _conform(pa.array(["01.01.2024 01:00 +0200"]), column) == [datetime(2023, 12, 31, 23)]


def test_dates_in_two_formats_are_told_by_those_that_do_not_fit() -> None:
    words = ["31.12.2023"] * 3 + ["2023-12-31", "12/31/2023"]

    violation = _clash(pa.array(words), DatetimeColumn(format="%d.%m.%Y"))

    assert violation.n_rows == 2
    assert "in the format '%d.%m.%Y', such as '2023-12-31', '12/31/2023'" in violation.message


def test_february_30_is_no_day() -> None:
    assert _clash(pa.array(["30.02.2024"]), DatetimeColumn(format="%d.%m.%Y")).n_rows == 1
    assert _clash(pa.array(["2024-02-30"]), TIMES).n_rows == 1


@pytest.mark.parametrize(
    "values",
    [
        pa.array([date(2024, 2, 3)]),
        pa.array([date(2024, 2, 3)], pa.date64()),
        pa.array([datetime(2024, 2, 3)], pa.timestamp("s")),
        pa.array([datetime(2024, 2, 3)], pa.timestamp("ns")),
        pa.array([datetime(2024, 2, 3)], pa.timestamp("ms", "America/New_York")),
        pa.array(["2024-02-03"]).dictionary_encode(),
        pa.array(["2024-02-03"], pa.large_string()),
    ],
    ids=lambda value: str(value.type),
)
def test_a_date_is_a_time_in_utc_whatever_type_it_comes_in(values: pa.Array) -> None:
    assert _conform(values, TIMES) == [datetime(2024, 2, 3)]


@pytest.mark.parametrize("values", [pa.array([1_700_000_000]), pa.array([1.7e9])])
def test_a_number_is_no_time(values: pa.Array) -> None:
    assert f"{values.type}, which is not a date or time" in _clash(values, TIMES).message


def test_a_column_of_times_without_a_single_one_may_come_as_floats() -> None:
    assert _conform(pa.array([float("nan"), None]), TIMES) == [None, None]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([2**40], pa.timestamp("s")),
        pa.array([2**30], pa.date32()),
        pa.array(["0000-01-01"]),
    ],
    ids=lambda value: str(value.type),
)
def test_a_time_outside_the_years_1_to_9999_is_refused(values: pa.Array) -> None:
    assert _clash(values, TIMES).n_rows == 1
