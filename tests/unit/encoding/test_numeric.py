"""Standardized numbers as scikit-learn has them, and what holds for floats of every kind."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from pipeline_lib.config.columns import (
    BooleanColumn,
    DatetimeColumn,
    NumberColumn,
    QuantileScaling,
    RobustScaling,
)
from pipeline_lib.encoding import Standardizer
from pipeline_lib.encoding.numeric import (
    FloatColumn,
    FloatInput,
    float_input_fitter,
    float_input_from_json,
)
from pipeline_lib.errors import ModelError

numbers = st.lists(
    st.floats(-1e6, 1e6).map(lambda value: round(value, 3)) | st.none(), min_size=2, max_size=30
)


def _column(values: list[float | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.float64())])


@given(numbers.filter(lambda values: len({v for v in values if v is not None}) > 1))
def test_values_are_those_of_the_standard_scaler(values: list[float | None]) -> None:
    scale = Standardizer.fit("x", _column(values), nullable=True)

    encoded = scale.encode(_column(values))

    filled = np.array([[np.nan if v is None else v] for v in values])
    expected = StandardScaler().fit_transform(filled)[:, 0]
    known = ~np.isnan(expected)
    np.testing.assert_allclose(encoded[known, 0], expected[known], rtol=1e-4, atol=1e-4)
    assert (encoded[~known, 0] == 0).all()
    assert encoded[:, 1].tolist() == [float(value is None) for value in values]
    assert encoded.dtype == np.float32


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -7.7, 1e6 + 0.1, 1e-9, 123456.789])
@pytest.mark.parametrize("n_rows", [1, 3, 10, 1000])
def test_a_constant_gets_deviation_1(value: float, n_rows: int) -> None:
    scale = Standardizer.fit("x", _column([value] * n_rows), nullable=False)

    assert scale.deviation == 1.0
    assert scale.mean == pytest.approx(value)
    # The scaler agrees that a constant has scale 1.
    assert StandardScaler().fit(np.full((n_rows, 1), value)).scale_[0] == 1.0


def test_a_small_but_real_deviation_is_kept() -> None:
    values: list[float | None] = [1e-9, 2e-9, 3e-9]

    scale = Standardizer.fit("x", _column(values), nullable=False)

    assert scale.deviation == pytest.approx(np.std([1e-9, 2e-9, 3e-9]))


def test_a_column_without_values_becomes_zeros() -> None:
    scale = Standardizer.fit("x", _column([None, None]), nullable=True)

    assert scale.encode(_column([None, 3.0])).tolist() == [[0.0, 1.0], [3.0, 0.0]]


def test_later_rows_are_scaled_by_what_the_training_rows_have_set() -> None:
    scale = Standardizer.fit("x", _column([0.0, 2.0]), nullable=False)

    assert scale.encode(_column([5.0, None])).tolist() == [[4.0], [0.0]]
    assert scale.width == 1


def test_a_nullable_column_is_two_wide_though_it_has_no_nulls() -> None:
    scale = Standardizer.fit("x", _column([0.0, 2.0]), nullable=True)

    assert scale.width == 2
    assert scale.encode(_column([0.0])).tolist() == [[-1.0, 0.0]]


KINDS: dict[str, FloatColumn] = {
    "standard": NumberColumn(),
    "robust": NumberColumn(scaling=RobustScaling()),
    "normal": NumberColumn(scaling=QuantileScaling(n_quantiles=20)),
    "uniform": NumberColumn(scaling=QuantileScaling(n_quantiles=20, output="uniform")),
    "boolean": BooleanColumn(),
    "datetime": DatetimeColumn(),
    "every part": DatetimeColumn(
        parts=("minute", "hour", "weekday", "day_of_year", "day", "month", "year", "elapsed")
    ),
}
floats = st.floats(allow_nan=False, allow_infinity=False)


def _typed(column: FloatColumn, values: list[float | None]) -> pa.ChunkedArray:
    """Return numbers as the type that the contract gives a column."""
    match column:
        case BooleanColumn():
            array = pa.array([None if v is None else v > 0 for v in values], pa.bool_())
        case DatetimeColumn():
            limit = 2.0**62
            micros = [None if v is None else int(min(max(v, -limit), limit)) for v in values]
            array = pa.array(micros, pa.timestamp("us"))
        case _:
            array = pa.array(values, pa.float64())
    return pa.chunked_array([array])


def _fitted(column: FloatColumn, values: list[float | None]) -> FloatInput:
    fitter = float_input_fitter("x", column)
    fitter.add(_typed(column, values))
    return fitter.finish()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("nullable", [True, False])
@given(st.lists(st.none() | floats, max_size=20), st.lists(st.none() | floats, max_size=20))
def test_floats_are_finite_and_as_wide_as_said_whatever_comes(
    kind: str, nullable: bool, train: list[float | None], unseen: list[float | None]
) -> None:
    column = KINDS[kind].model_copy(update={"nullable": nullable})
    fitted = _fitted(column, train)

    encoded = fitted.encode(_typed(column, train + unseen))

    assert encoded.shape == (len(train + unseen), fitted.width)
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()
    if nullable:
        assert encoded[:, -1].tolist() == [float(value is None) for value in train + unseen]


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.none() | floats, max_size=20), st.booleans())
def test_what_was_learned_comes_back_from_json_to_the_bit(
    kind: str, train: list[float | None], nullable: bool
) -> None:
    column = KINDS[kind].model_copy(update={"nullable": nullable})
    fitted = _fitted(column, train)

    again = float_input_from_json("x", column, json.loads(json.dumps(fitted.to_json())))

    assert again == fitted


@pytest.mark.parametrize("kind", KINDS)
@given(st.lists(st.none() | floats, min_size=2, max_size=10))
def test_one_row_is_encoded_as_it_is_among_others(kind: str, values: list[float | None]) -> None:
    column = KINDS[kind].model_copy(update={"nullable": True})
    fitted, rows = _fitted(column, values), _typed(column, values)

    one_by_one = [fitted.encode(rows[n : n + 1])[0] for n in range(len(rows))]

    np.testing.assert_array_max_ulp(np.stack(one_by_one), fitted.encode(rows), maxulp=1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_array_is_encoded_as_its_chunks_are(kind: str) -> None:
    column = KINDS[kind].model_copy(update={"nullable": True})
    values: list[float | None] = [1e15, None, -3.0, 7.5, 1e14]
    fitted, rows = _fitted(column, values), _typed(column, values)
    array = rows.chunk(0)

    chunked = pa.chunked_array([array[:2], array[2:2], array[2:]])

    assert (fitted.encode(array) == fitted.encode(rows)).all()
    assert (fitted.encode(chunked) == fitted.encode(rows)).all()


def test_nan_counts_as_missing() -> None:
    column = NumberColumn(nullable=True)
    fitted = _fitted(column, [1.0, float("nan"), 3.0])

    assert fitted.encode(_typed(column, [float("nan"), 3.0])).tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("standard", {"mean": 1.0}),
        ("robust", {"median": "wide", "spread": 1.0}),
        ("normal", {"quantiles": 3}),
        ("datetime", {"first_us": 0, "elapsed": None}),
    ],
)
def test_damaged_parameters_are_told_with_the_name_of_their_column(
    kind: str, spec: dict[str, object]
) -> None:
    with pytest.raises(ModelError, match=r"parameters of column 'price' are damaged"):
        float_input_from_json("price", KINDS[kind], spec)
