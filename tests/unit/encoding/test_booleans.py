"""Yes is +1, no −1, and what is missing 0."""

import pyarrow as pa
import pytest

from pipeline_lib.encoding.booleans import BooleanInput


@pytest.mark.parametrize("as_chunks", [True, False])
def test_yes_is_plus_one_no_minus_one_and_missing_zero(as_chunks: bool) -> None:
    array = pa.array([True, False, None])
    values = pa.chunked_array([array[:1], array[1:]]) if as_chunks else array

    encoded = BooleanInput("x", nullable=True).encode(values)

    assert encoded.tolist() == [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]
    assert encoded.dtype == "float32"


def test_a_column_that_is_not_nullable_has_no_indicator() -> None:
    encoded = BooleanInput("x", nullable=False).encode(pa.array([None, True, False]))

    assert encoded.tolist() == [[0.0], [1.0], [-1.0]]


@pytest.mark.parametrize("nullable", [True, False])
@pytest.mark.parametrize("value", [True, False, None])
def test_one_row_is_encoded_as_it_is_among_others(value: bool | None, nullable: bool) -> None:
    encoder = BooleanInput("x", nullable=nullable)
    among = pa.array([True, value, False])

    assert encoder.encode(among[1:2]).tolist() == encoder.encode(among)[1:2].tolist()


def test_no_rows_are_no_rows() -> None:
    assert BooleanInput("x", nullable=True).encode(pa.array([], pa.bool_())).shape == (0, 2)
