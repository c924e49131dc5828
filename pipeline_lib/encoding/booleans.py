"""Yes and no become +1 and −1."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.data.arrow import is_null
from pipeline_lib.storage.json_files import Json


@dataclass(frozen=True)
class BooleanInput:
    """True is +1, false −1; missing is 0, with an indicator if `nullable`. Nothing is learned."""

    column: str
    nullable: bool

    @property
    def width(self) -> int:
        """The number of floats per row: 1, or 2 with the indicator."""
        return 1 + self.nullable

    def encode(self, values: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float32]:
        """Return floats, shape ``(n_rows, width)``.

        Args:
            values: of type bool.
        """
        encoded = np.zeros((len(values), self.width), np.float32)
        if len(values) == 1:  # one row at prediction: what is quick for many is slow for one
            value: bool | None = values[0].as_py()
            if value is not None:
                encoded[0, 0] = 1.0 if value else -1.0
            elif self.nullable:
                encoded[0, 1] = 1.0
            return encoded
        signs = encoded[:, 0]
        signs[:] = values.fill_null(False).cast(pa.int8()).to_numpy(zero_copy_only=False)
        signs *= 2.0
        signs -= 1.0
        if values.null_count:
            is_missing = is_null(values)
            signs[is_missing] = 0.0
            if self.nullable:
                encoded[:, 1] = is_missing
        return encoded

    def to_json(self) -> dict[str, Json]:
        """Return nothing: there are no parameters."""
        return {}


class BooleanFitter:
    """Looks at no row: there is nothing to learn."""

    def __init__(self, column: str, *, nullable: bool) -> None:
        self._input = BooleanInput(column, nullable)

    def add(self, values: pa.ChunkedArray) -> None:
        """Pass training rows by."""

    def finish(self) -> BooleanInput:
        """Return the input."""
        return self._input
