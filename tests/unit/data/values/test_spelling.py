"""Other spellings of a typed value, as `meaning` reads them."""

import pyarrow as pa
import pytest

from pipeline_lib.data.values.spelling import meaning


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e30", "1" + 30 * "0"),
        ("50e-1", "5"),
        ("5e-1", None),
        ("1e38", None),  # more digits than a decimal column holds
        ("1e999999999", None),
        ("1e-999999999", None),
        ("0e999999999999", None),
        ("1e99999999999999999999", None),
    ],
)
def test_an_exponent_is_read_exactly_or_not_at_all(word: str, value: str | None) -> None:
    assert meaning(pa.array([word])).to_pylist() == [value]
