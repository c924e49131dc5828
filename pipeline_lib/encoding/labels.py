"""The type of a classification's labels: what predictions come back as.

A typed column says it. Text from a query or a table in memory is text. Text of a CSV has no type
of its own: labels are what any reader of the file would make of it, whole numbers, decimal numbers
or booleans where every class is written as one, else text. Dates stay ISO text.
"""

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.data.arrow import value_type
from pipeline_lib.data.values.spelling import meaning

LabelType = Literal["text", "integer", "number", "boolean"]
Labels = npt.NDArray[np.object_ | np.int64 | np.float64 | np.bool_]

_INTEGER = re.compile(r"0|-?[1-9]\d*")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_BOOLEANS = {"true", "false", "True", "False", "TRUE", "FALSE"}


def label_type_of(
    names: Sequence[str], kind: pa.DataType, *, is_untyped: bool = False
) -> LabelType:
    """Return the type of labels.

    Args:
        names: the classes as text.
        kind: the Arrow type that the target came in.
        is_untyped: whether text of that column stands for values of unknown type.
    """
    found = _type_of_names(names) if is_untyped else _type_of(kind)
    return found if label_values(names, found) is not None else "text"


def label_values(names: Sequence[str], label_type: LabelType) -> Labels | None:
    """Return the label of each class, shape ``(n_classes,)``; None if some are no such values.

    They are of type int64, float64 or bool, text of type object; all are different.
    """
    if label_type == "text":
        return np.array(names, dtype=object)
    values: Labels
    try:
        if label_type == "number":
            values = np.array([float(name) for name in names], np.float64)
        else:
            meant = meaning(pa.array(names, pa.string())).to_pylist()
            if label_type == "integer":
                values = np.array([int(word or "") for word in meant], np.int64)
            else:
                values = np.array([{"true": True, "false": False}[word] for word in meant])
    except (ValueError, OverflowError, KeyError):
        return None
    return values if len(np.unique(values)) == len(names) else None


def _type_of(kind: pa.DataType) -> LabelType:
    if isinstance(kind, pa.Bool8Type):
        return "boolean"
    kind = value_type(kind)
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return "integer"
    return "number" if pa.types.is_floating(kind) else "text"


def _type_of_names(names: Sequence[str]) -> LabelType:
    if _BOOLEANS.issuperset(names):
        return "boolean"
    if all(_INTEGER.fullmatch(name) for name in names):
        return "integer"
    return "number" if all(_NUMBER.fullmatch(name) for name in names) else "text"
