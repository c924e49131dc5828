"""Arrow, as this library uses it: types of one sort, columns in one piece, rows in batches."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

BATCH_ROWS = 131_072
"""Rows that are read, written and held together; of a wide table fewer, see `amounts`."""

_Values = TypeVar("_Values", pa.Array, pa.ChunkedArray)
_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_WIDE_TEXT = _TEXT[1:]
_BINARY = (
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_fixed_size_binary,
    pa.types.is_binary_view,
)


def value_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values of a column that may be dictionary- or run-end-encoded."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return value_type(kind.value_type)
    return kind


def is_text(kind: pa.DataType) -> bool:
    """Report whether values of this type are text, however it is stored."""
    return any(test(value_type(kind)) for test in _TEXT)


def is_wide_text(kind: pa.DataType) -> bool:
    """Report whether this is a type of text for which Arrow has fewer kernels than for string."""
    return any(test(kind) for test in _WIDE_TEXT)


def is_binary(kind: pa.DataType) -> bool:
    """Report whether values of this type are bytes."""
    return any(test(kind) for test in _BINARY)


def is_number(kind: pa.DataType) -> bool:
    """Report whether this is a type of whole numbers, floats or decimals."""
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def is_date_or_time(kind: pa.DataType) -> bool:
    """Report whether this is a type of dates or timestamps; times of a day are neither."""
    return pa.types.is_date(kind) or pa.types.is_timestamp(kind)


def has_zone(kind: pa.DataType) -> bool:
    """Report whether this is a type of timestamps with a time zone."""
    return pa.types.is_timestamp(kind) and kind.tz is not None


def one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column of a batch in one piece, without a dictionary."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if isinstance(column, pa.Array):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def null_where(mask: _Values, values: _Values) -> _Values:
    """Return the values with null where `mask` is true; a null in `mask` counts as false."""
    return pc.if_else(pc.fill_null(mask, False), pa.scalar(None, values.type), values)


def nan_as_null(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return floats with null for NaN."""
    return null_where(pc.is_nan(numbers), numbers)


def is_null(values: pa.Array) -> npt.NDArray[np.bool_]:
    """Return where a value is null, shape ``(n_rows,)``."""
    return pc.is_null(values).to_numpy(zero_copy_only=False)


def different(values: pa.Array) -> tuple[pa.Array, npt.NDArray[np.int32]]:
    """Return the different values, and where each row's value stands among them.

    Returns:
        Values without a null, in the order in which they first come; and positions, that of a null
        being the number of different values, shape ``(n_rows,)``.
    """
    encoded = values.dictionary_encode()
    words: pa.Array = encoded.dictionary
    return words, encoded.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)


def microseconds(times: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return microseconds since 1970 of timestamps or dates, null as 0; shape ``(n_rows,)``."""
    unit = pa.timestamp("us", getattr(times.type, "tz", None))
    whole = times.cast(unit, safe=False).cast(pa.int64()).fill_null(0)
    return whole.to_numpy(zero_copy_only=False)


def float_bits(values: pa.Array) -> npt.NDArray[np.uint64]:
    """Return the 64 bits of floats, −0.0 as 0.0, null as one NaN; shape ``(n_rows,)``."""
    numbers = values.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
    return (numbers + 0.0).view(np.uint64)


def text_offsets(words: pa.Array) -> npt.NDArray[np.int32]:
    """Return where the UTF-8 of each word begins in the data, and where the last ends.

    Args:
        words: of type string or binary; length ``n``.

    Returns:
        Bytes, shape ``(n + 1,)``.
    """
    if not len(words):  # the buffer may be empty, too
        return np.zeros(1, np.int32)
    return np.frombuffer(words.buffers()[1], np.int32, len(words) + 1, 4 * words.offset)


def text_bytes(words: pa.Array) -> memoryview:
    """Return the bytes of all words, of type string or binary, one after the other."""
    data, bounds = words.buffers()[2], text_offsets(words)
    if data is None:
        return memoryview(b"")
    return memoryview(data)[int(bounds[0]) : int(bounds[-1])]
