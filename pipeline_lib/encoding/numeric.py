"""From a column's settings to what turns its values into floats: learned, or read again.

Numbers are in `scaling`, yes and no in `booleans`, times in `datetimes`.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.config.columns import (
    BooleanColumn,
    DatetimeColumn,
    NumberColumn,
    QuantileScaling,
    RobustScaling,
    Scaling,
    StandardScaling,
)
from pipeline_lib.data.values.zones import is_known_zone
from pipeline_lib.encoding.booleans import BooleanFitter, BooleanInput
from pipeline_lib.encoding.datetimes import DatetimeFitter, DatetimeInput
from pipeline_lib.encoding.moments import Scale
from pipeline_lib.encoding.scaling import (
    QuantileFitter,
    QuantileScaler,
    RobustFitter,
    RobustScaler,
    StandardFitter,
    Standardizer,
)
from pipeline_lib.errors import ModelError
from pipeline_lib.storage.json_files import Json

__all__ = [
    "FloatColumn",
    "FloatFitter",
    "FloatInput",
    "Standardizer",
    "float_input_fitter",
    "float_input_from_json",
]

FloatColumn: TypeAlias = NumberColumn | BooleanColumn | DatetimeColumn


class FloatInput(Protocol):
    """A column as floats; where it is `nullable`, the last float says 1.0 for a missing value."""

    @property
    def column(self) -> str:
        """The column's name."""
        ...

    @property
    def nullable(self) -> bool:
        """Whether the last float says what is missing."""
        ...

    @property
    def width(self) -> int:
        """The number of floats per row."""
        ...

    def encode(self, values: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.float32]:
        """Return finite floats, shape ``(n_rows, width)``.

        Args:
            values: typed as the contract says (see `data.contract.conform`).
        """
        ...

    def to_json(self) -> dict[str, Json]:
        """Return the parameters that were learned, for `float_input_from_json`."""
        ...


class FloatFitter(Protocol):
    """Learns a `FloatInput` from training rows, however many batches they come in."""

    def add(self, values: pa.ChunkedArray) -> None:
        """Look at training rows."""
        ...

    def finish(self) -> FloatInput:
        """Return what was learned; once, after the last batch."""
        ...


def float_input_fitter(name: str, column: FloatColumn, zone: str | None = None) -> FloatFitter:
    """Return what learns how a column becomes floats; `zone` is that of its times."""
    nullable = column.nullable
    match column:
        case BooleanColumn():
            return BooleanFitter(name, nullable=nullable)
        case DatetimeColumn():
            return DatetimeFitter(
                name, column.parts, nullable=nullable, zone=column.time_zone or zone
            )
        case NumberColumn():
            return _number_fitter(name, column.scaling, nullable=nullable)
        case _:
            assert_never(column)


def _number_fitter(name: str, scaling: Scaling, *, nullable: bool) -> FloatFitter:
    match scaling:
        case StandardScaling():
            return StandardFitter(name, nullable=nullable)
        case RobustScaling():
            return RobustFitter(name, clip=scaling.clip, nullable=nullable)
        case QuantileScaling():
            return QuantileFitter(
                name, n_quantiles=scaling.n_quantiles, output=scaling.output, nullable=nullable
            )
        case _:
            assert_never(scaling)


def float_input_from_json(name: str, column: FloatColumn, spec: Mapping[str, Any]) -> FloatInput:
    """Return the input that `to_json` described.

    Args:
        name: the column's name.
        column: the settings it was learned with.
        spec: what `to_json` returned.

    Raises:
        ModelError: parameters are missing, or are no numbers.
    """
    try:
        return _from_json(name, column, spec)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"the encoder's parameters of column {name!r} are damaged: "
            f"{type(error).__name__}: {error}"
        ) from None


def _from_json(name: str, column: FloatColumn, spec: Mapping[str, Any]) -> FloatInput:
    nullable = column.nullable
    match column:
        case BooleanColumn():
            return BooleanInput(name, nullable)
        case DatetimeColumn():
            scales = {
                part: Scale(float(spec[part]["mean"]), float(spec[part]["deviation"]))
                for part in column.parts
                if part in {"elapsed", "year"}
            }
            first_us, zone = int(spec["first_us"]), spec.get("zone")
            if zone is not None and not is_known_zone(str(zone)):
                raise ModelError(
                    f"column {name!r} has the time zone {zone!r}, which this machine does not "
                    "know: install the Python package tzdata, or a newer one"
                )
            return DatetimeInput(name, nullable, column.parts, first_us, scales, zone)
        case NumberColumn():
            return _number_input(name, column.scaling, spec, nullable=nullable)
        case _:
            assert_never(column)


def _number_input(
    name: str, scaling: Scaling, spec: Mapping[str, Any], *, nullable: bool
) -> FloatInput:
    match scaling:
        case StandardScaling():
            return Standardizer(name, float(spec["mean"]), float(spec["deviation"]), nullable)
        case RobustScaling():
            median, spread = float(spec["median"]), float(spec["spread"])
            return RobustScaler(name, median, spread, scaling.clip, nullable)
        case QuantileScaling():
            quantiles = tuple(float(quantile) for quantile in spec["quantiles"])
            return QuantileScaler(name, quantiles, scaling.output, nullable)
        case _:
            assert_never(scaling)
