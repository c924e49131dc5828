"""Parts of times, held against pandas' calendar."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from pipeline_lib.config.columns import DatetimeColumn, DatetimePart
from pipeline_lib.encoding.datetimes import DatetimeFitter, DatetimeInput

ROUND: dict[DatetimePart, int] = {
    "month": 12,
    "day": 31,
    "day_of_year": 366,
    "weekday": 7,
    "hour": 24,
    "minute": 60,
}
EVERY: tuple[DatetimePart, ...] = ("elapsed", "year", *ROUND)
DEFAULT = DatetimeColumn().parts

moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999))  # noqa: DTZ001


def _times(values: "list[datetime | None]") -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.timestamp("us"))])


def _fitted(
    values: "list[datetime | None]",
    parts: tuple[DatetimePart, ...] = EVERY,
    *,
    nullable: bool = False,
) -> DatetimeInput:
    fitter = DatetimeFitter("x", parts, nullable=nullable)
    fitter.add(_times(values))
    return fitter.finish()


def _on_the_circle(part: DatetimePart, k: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    angle = 2 * np.pi * k / ROUND[part]
    return np.stack([np.sin(angle), np.cos(angle)], axis=1)


def _by_pandas(values: list[datetime], part: DatetimePart) -> npt.NDArray[np.float64]:
    """Return a part that counts from 0, by pandas."""
    calendar = pd.Series(np.array(values, "datetime64[us]")).dt
    counted_from = {"month": 1, "day": 1, "day_of_year": 1}
    name = "day_of_week" if part == "weekday" else part
    return getattr(calendar, name).to_numpy().astype(np.float64) - counted_from.get(part, 0)


@pytest.mark.parametrize("part", ROUND)
@given(st.lists(moments, min_size=2, max_size=20))
def test_parts_that_go_round_are_those_of_pandas(
    part: DatetimePart, values: list[datetime]
) -> None:
    encoded = _fitted([*values], (part,)).encode(_times([*values]))

    expected = _on_the_circle(part, _by_pandas(values, part))
    np.testing.assert_allclose(encoded, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("moment", "part", "k"),
    [
        (datetime(2024, 2, 29, 23, 59), "day_of_year", 59),  # noqa: DTZ001
        (datetime(2023, 12, 31), "day_of_year", 364),  # noqa: DTZ001
        (datetime(2024, 12, 31), "day_of_year", 365),  # noqa: DTZ001
        (datetime(1900, 3, 1), "day_of_year", 59),  # noqa: DTZ001
        (datetime(1969, 12, 31, 23, 59, 59), "hour", 23),  # noqa: DTZ001
        (datetime(1969, 12, 31, 23, 59, 59), "weekday", 2),  # noqa: DTZ001
        (datetime(1969, 12, 31, 23, 59, 59), "month", 11),  # noqa: DTZ001
        (datetime(9999, 12, 31, 23, 59), "day", 30),  # noqa: DTZ001
    ],
)
def test_leap_days_and_times_before_1970_have_their_place(
    moment: datetime, part: DatetimePart, k: int
) -> None:
    encoded = _fitted([moment], (part,)).encode(_times([moment, moment]))

    np.testing.assert_allclose(encoded[:1], _on_the_circle(part, np.array([float(k)])), atol=1e-6)


def test_december_is_as_near_to_january_as_january_to_february() -> None:
    months = [datetime(2023, month, 1) for month in (12, 1, 2)]  # noqa: DTZ001

    december, january, february = _fitted([*months], ("month",)).encode(_times([*months]))

    to_december, to_february = january - december, january - february
    assert np.hypot(*to_december) == pytest.approx(np.hypot(*to_february), rel=1e-5)


@given(st.lists(moments, min_size=2, max_size=30, unique=True))
def test_elapsed_and_year_are_standardized_as_scikit_learn_does(values: list[datetime]) -> None:
    encoded = _fitted([*values], ("elapsed", "year")).encode(_times([*values]))

    days = [(value - min(values)) / timedelta(days=1) for value in values]
    years = _by_pandas(values, "year")
    expected = StandardScaler().fit_transform(np.stack([days, years], axis=1))
    np.testing.assert_allclose(encoded, expected, rtol=1e-4, atol=1e-4)


def test_elapsed_counts_days_from_the_first_training_row() -> None:
    first = datetime(2024, 1, 10)  # noqa: DTZ001
    values = [first + timedelta(days=d) for d in (4, 0, 8)]

    fitted = _fitted([*values])

    assert fitted.first_us == 1_704_844_800_000_000
    assert fitted.scales["elapsed"].mean == pytest.approx(4.0)
    assert fitted.scales["elapsed"].deviation == pytest.approx(np.std([4, 0, 8]))


def test_times_of_one_second_keep_their_differences() -> None:
    start = datetime(2024, 5, 5, tzinfo=UTC).replace(tzinfo=None)
    values = [start + timedelta(microseconds=n) for n in range(1000)]

    encoded = _fitted([*values], ("elapsed",)).encode(_times([*values]))[:, 0]

    expected = (np.arange(1000) - 499.5) / np.arange(1000).std()
    np.testing.assert_allclose(encoded, expected, rtol=1e-4, atol=1e-4)


def test_where_batches_end_does_not_count() -> None:
    random = np.random.default_rng(0)
    micros = random.integers(-(10**15), 2 * 10**15, 5000)
    values = pa.chunked_array(
        [pa.array(micros, pa.timestamp("us"), mask=random.random(5000) < 0.1)]
    )
    found: list[DatetimeInput] = []

    for size in (5000, 777, 1):
        fitter = DatetimeFitter("x", EVERY, nullable=True)
        for first in range(0, 5000, size):
            fitter.add(values[first : first + size])
        found.append(fitter.finish())

    assert found[0] == found[1] == found[2]


def test_a_missing_time_is_all_zeros_with_an_indicator_at_the_end() -> None:
    moment = datetime(2024, 1, 1, 6)  # noqa: DTZ001

    fitted = _fitted([moment, None, moment + timedelta(days=1)], DEFAULT, nullable=True)

    encoded = fitted.encode(_times([None, moment]))
    assert fitted.width == 1 + 2 + 2 + 2 + 1
    assert encoded[0].tolist() == [0.0] * 7 + [1.0]
    assert encoded[1, 7] == 0.0
    np.testing.assert_allclose(encoded[1, :7], [-1, 0, 1, 0, 1, 1, 0], atol=1e-6)


def test_a_missing_time_is_all_zeros_where_there_is_no_indicator() -> None:
    fitted = _fitted([datetime(2024, 1, 1)])  # noqa: DTZ001

    assert fitted.encode(_times([None, None])).tolist() == [[0.0] * 14] * 2
    assert fitted.width == 14


@pytest.mark.parametrize("nullable", [True, False])
@given(st.none() | moments)
def test_one_row_is_encoded_as_it_is_among_others(nullable: bool, value: datetime | None) -> None:
    fitted = _fitted([datetime(1999, 1, 1), datetime(2024, 1, 1)], nullable=nullable)  # noqa: DTZ001
    among = _times([datetime(2000, 2, 3), value])  # noqa: DTZ001

    for alone in (among[1:], among.chunk(0)[1:]):
        assert fitted.encode(alone).tolist() == fitted.encode(among)[1:].tolist()


@pytest.mark.parametrize(
    "arrow_type",
    [pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("ns"), pa.timestamp("us", "UTC")],
    ids=str,
)
def test_the_unit_and_zone_of_a_time_do_not_count(arrow_type: pa.DataType) -> None:
    values = _times([datetime(2024, 2, 29, 13, 7), None, datetime(1969, 7, 20)])  # noqa: DTZ001
    fitted = _fitted(values.to_pylist(), nullable=True)

    for rows in (values, values[:1]):
        assert (fitted.encode(rows.cast(arrow_type)) == fitted.encode(rows)).all()


def test_a_date_is_its_midnight() -> None:
    fitted = _fitted([datetime(2024, 2, 29), datetime(2023, 1, 1)])  # noqa: DTZ001

    encoded = fitted.encode(pa.array([date(2024, 2, 29), date(2023, 1, 1)]))

    assert (encoded == fitted.encode(_times([datetime(2024, 2, 29), datetime(2023, 1, 1)]))).all()  # noqa: DTZ001


def test_the_ends_of_what_arrow_holds_are_finite() -> None:
    fitted = _fitted([datetime(2024, 1, 1), datetime(2024, 1, 1, 0, 1)])  # noqa: DTZ001
    ends = pa.array([-(2**63) + 1, 2**63 - 1], pa.timestamp("us"))

    assert np.isfinite(fitted.encode(ends)).all()
    assert np.abs(fitted.encode(ends)).max() <= 1e6


def test_a_column_without_a_training_time_gives_finite_floats() -> None:
    fitted = _fitted([None, None], nullable=True)

    assert np.isfinite(fitted.encode(_times([None, datetime(2024, 1, 1)]))).all()  # noqa: DTZ001
