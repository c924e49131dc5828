"""The target as the loss wants it, and back: class numbers, or a standardized number."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config import DataSettings
from pipeline_lib.encoding.numeric import Standardizer
from pipeline_lib.errors import ContractError, Violation, examples
from pipeline_lib.storage import Json


@dataclass(frozen=True)
class ClassTarget:
    """A class per row; numbers are positions in `classes`, of two the last is the positive."""

    column: str
    classes: tuple[str, ...]

    @property
    def d_out(self) -> int:
        """The number of logits: one per class, a single one for two classes."""
        return 1 if len(self.classes) == 2 else len(self.classes)

    def encode(self, values: pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """Return class numbers, shape ``(n_rows,)``.

        Raises:
            ContractError: a label is null or not one of the classes.
        """
        numbers = pc.index_in(values, value_set=pa.array(self.classes, pa.string()))
        if numbers.null_count:
            odd = values.filter(pc.is_null(numbers))
            message = (
                f"{len(odd)} rows hold {examples(dict.fromkeys(odd.to_pylist()))}; "
                f"the classes are {examples(self.classes)}"
            )
            raise ContractError([Violation(self.column, "classes", len(odd), message)])
        return numbers.to_numpy().astype(np.int64)


@dataclass(frozen=True)
class NumberTarget:
    """A number per row, standardized for the loss; metrics are in the column's own unit."""

    column: str
    mean: float
    deviation: float

    @property
    def d_out(self) -> int:
        """The number of outputs: one."""
        return 1

    def encode(self, values: pa.ChunkedArray) -> npt.NDArray[np.float32]:
        """Return standardized values, shape ``(n_rows,)``; beyond float32 they are infinite."""
        numbers = values.to_numpy().astype(np.float64)
        with np.errstate(over="ignore"):
            return ((numbers - self.mean) / self.deviation).astype(np.float32)

    def decode(self, outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return values in the column's own unit, shape ``(n_rows,)``."""
        return outputs.astype(np.float64) * self.deviation + self.mean


Target = ClassTarget | NumberTarget


def fit_target(data: DataSettings, train: pa.ChunkedArray, every: pa.ChunkedArray) -> Target:
    """Learn how the target is encoded.

    Args:
        data: task, target and, where declared, classes.
        train: the target's training rows.
        every: the target in all splits.

    Raises:
        ContractError: a class has rows, but none to train on.
    """
    if data.task == "regression":
        scale = Standardizer.fit(data.target, train, nullable=False)
        return NumberTarget(data.target, scale.mean, scale.deviation)
    return class_target(data, train.unique().to_pylist(), every.unique().to_pylist())


def class_target(data: DataSettings, train: Iterable[str], every: Iterable[str]) -> ClassTarget:
    """Return the target of a classification; arguments and errors as in `fit_target`."""
    present = set(every)
    if untrained := sorted(present - set(train)):
        message = (
            f"classes without a training row: {examples(untrained)}. "
            "Gather more rows of them, or choose another `split.seed`"
        )
        raise ContractError([Violation(data.target, "classes", 0, message)])
    return ClassTarget(data.target, data.classes or tuple(sorted(present)))


def target_to_json(target: Target) -> dict[str, Json]:
    """Return what `target_from_json` reads."""
    if isinstance(target, ClassTarget):
        return {"column": target.column, "classes": list(target.classes)}
    return {"column": target.column, "mean": target.mean, "deviation": target.deviation}


def target_from_json(spec: Mapping[str, Any]) -> Target:
    """Return the target that `target_to_json` described."""
    if "classes" in spec:
        return ClassTarget(str(spec["column"]), tuple(str(name) for name in spec["classes"]))
    return NumberTarget(str(spec["column"]), float(spec["mean"]), float(spec["deviation"]))
