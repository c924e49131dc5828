"""Standardized numbers, held against scikit-learn's StandardScaler."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from pipeline_lib.encoding import Standardizer

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
