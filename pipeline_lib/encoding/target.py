"""The target as the loss wants it, and back: class numbers, or a standardized number."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.data import DataSettings
from pipeline_lib.data.values.spelling import KnownWords, meaning
from pipeline_lib.data.values.written import is_typed_text
from pipeline_lib.encoding.labels import Labels, LabelType, label_type_of, label_values
from pipeline_lib.encoding.log_scale import LogScale, LogScaleFitter
from pipeline_lib.encoding.numeric import Standardizer
from pipeline_lib.errors import ContractError, Violation
from pipeline_lib.storage.json_files import Json
from pipeline_lib.wording import examples, rows_that


@dataclass(frozen=True)
class ClassTarget:
    """A class per row; numbers are positions in `classes`, of two the last is the positive.

    `classes` are text whatever the target's type; `label_type` is what predictions come back as.
    """

    column: str
    classes: tuple[str, ...]
    label_type: LabelType = "text"

    def labels(self, numbers: npt.NDArray[np.integer]) -> Labels:
        """Return the label of each class number in the target's own type, same shape."""
        values = label_values(self.classes, self.label_type)
        assert values is not None, f"the classes are no {self.label_type}"
        return values[numbers]

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
            held = rows_that(len(odd), f"hold {examples(dict.fromkeys(odd.to_pylist()))}")
            message = f"{held}; the classes are {examples(self.classes)}"
            raise ContractError([Violation(self.column, "classes", len(odd), message)])
        return numbers.to_numpy().astype(np.int64)


@dataclass(frozen=True)
class NumberTarget:
    """A number per row, standardized for the loss; metrics are in the column's own unit.

    Attributes:
        column: its name.
        mean: of the training rows, in its own unit.
        deviation: likewise.
        log: where the loss is that of its logarithm, how this is standardized.
        choice: why it is on this scale, where that was chosen.
    """

    column: str
    mean: float
    deviation: float
    log: LogScale | None = None
    choice: str = ""

    @property
    def d_out(self) -> int:
        """The number of outputs: one."""
        return 1

    @property
    def linear(self) -> "NumberTarget":
        """The same target, never on the log scale."""
        return replace(self, log=None)

    @property
    def scale_said(self) -> str:
        """Which scale it is on and why, for the page; empty of a plain linear one."""
        return self.choice or ("on the log scale" if self.log is not None else "")

    def encode(self, values: pa.ChunkedArray) -> npt.NDArray[np.float32]:
        """Return standardized values, shape ``(n_rows,)``; beyond float32 they are infinite."""
        return self._standardized(values.to_numpy().astype(np.float64))

    def values(self, y: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return encoded values in the column's own unit again, shape ``(n_rows,)``."""
        if self.log is not None:
            return self.log.values(y)
        return y.astype(np.float64) * self.deviation + self.mean

    def encode_linear(self, y: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return what `linear` makes of values that this target has encoded, same shape."""
        if self.log is None:
            return y
        return self.linear._standardized(self.log.values(y))

    def _standardized(self, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        with np.errstate(over="ignore"):
            if self.log is not None:
                return self.log.encode(numbers).astype(np.float32)
            return ((numbers - self.mean) / self.deviation).astype(np.float32)

    def decode(self, outputs: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return values in the column's own unit, shape ``(n_rows,)``.

        From the log scale they are within those of the training rows, whatever the outputs.
        """
        if self.log is not None:
            return self.log.decode(outputs)
        return outputs.astype(np.float64) * self.deviation + self.mean

    def with_factor(
        self,
        outputs: npt.NDArray[np.floating],
        y: npt.NDArray[Any],
        weight: npt.NDArray[np.floating] | None = None,
    ) -> "NumberTarget":
        """Return the target with a factor of predictions; see `LogScale.with_factor`."""
        if self.log is None:
            return self
        return replace(self, log=self.log.with_factor(outputs, y, weight))


Target = ClassTarget | NumberTarget


def fit_target(
    data: DataSettings,
    train: pa.ChunkedArray,
    every: pa.ChunkedArray,
    *,
    raw: pa.Field | None = None,
    is_untyped: bool = False,
) -> Target:
    """Learn how the target is encoded.

    Args:
        data: task, target and, where declared, classes.
        train: the target's training rows.
        every: the target in all splits.
        raw: the column as it came; labels are text without it.
        is_untyped: whether it came as text without a type of its own, as from a CSV.

    Raises:
        ContractError: a class has rows, but none to train on.
    """
    if data.task == "regression":
        scale = Standardizer.fit(data.target, train, nullable=False)
        return NumberTarget(data.target, scale.mean, scale.deviation)
    return class_target(
        data, train.unique().to_pylist(), every.unique().to_pylist(), raw=raw, is_untyped=is_untyped
    )


def on_its_scale(
    data: DataSettings, target: NumberTarget, logs: LogScaleFitter, *, n_rows: int
) -> NumberTarget:
    """Return a target on the scale that `data.target_scale` asks for.

    With `auto` it is the log scale, for a choice that is still to be made, unless rows forbid it.

    Args:
        data: the target's settings.
        target: on the linear scale.
        logs: has seen the target of all training and validation rows.
        n_rows: how many these are.

    Raises:
        ContractError: it shall be on the log scale, and rows have no logarithm.
    """
    if data.target_scale == "linear":
        return target
    log, n_odd = logs.finish(), logs.n_not_positive
    if log is not None:
        return replace(target, log=log)
    held = f"{n_odd:,} of {n_rows:,} training and validation rows are not above 0"
    if data.target_scale == "log":
        message = f"{held}, and have no logarithm; set `data.target_scale` to linear or auto"
        raise ContractError([Violation(data.target, "target_scale", n_odd, message)])
    return replace(target, choice=f"on the linear scale: {held}")


def class_target(
    data: DataSettings,
    train: Iterable[str],
    every: Iterable[str],
    *,
    raw: pa.Field | None = None,
    is_untyped: bool = False,
) -> ClassTarget:
    """Return the target of a classification; arguments and errors as in `fit_target`."""
    present = set(every)
    if untrained := sorted(present - set(train)):
        message = (
            f"classes without a training row: {examples(untrained)}. "
            "Gather more rows of them, or choose another `split.seed`"
        )
        raise ContractError([Violation(data.target, "classes", 0, message)])
    classes = data.classes or tuple(sorted(present))
    if raw is None:
        return ClassTarget(data.target, classes)
    is_untyped = is_untyped or is_typed_text(raw)  # what a database has typed is read back as it
    return ClassTarget(
        data.target, classes, label_type_of(classes, raw.type, is_untyped=is_untyped)
    )


def spelled_for(target: ClassTarget, raw: pa.Field, declared: Iterable[str] | None) -> ClassTarget:
    """Return a target with its classes written as those of a typed column are.

    A champion trained from a CSV has the classes `True` and `False`; in this run's column of
    booleans they are `true` and `false`, or what `data.classes` has for them.

    Args:
        target: of the champion.
        raw: this run's target column as it came; text is itself, and changes nothing.
        declared: `data.classes` of this run.
    """
    label_type = label_type_of(target.classes, raw.type, is_untyped=is_typed_text(raw))
    if label_type == "text":
        return target
    names = [
        meant if meant is not None and meant not in target.classes else name
        for name, meant in zip(target.classes, _meanings(target.classes), strict=True)
    ]
    known = KnownWords(pa.array(declared or (), pa.string()))
    spelled = known.spelled(pa.chunked_array([pa.array(names, pa.string())]))
    return replace(target, classes=tuple(spelled.to_pylist()))


def classes_as(before: ClassTarget, after: ClassTarget) -> tuple[str, ...]:
    """Return the classes of one target, each in the spelling of another that means the same."""
    if before.label_type != after.label_type or before.label_type == "text":
        return before.classes
    names = dict(zip(_meanings(after.classes), after.classes, strict=True))
    return tuple(
        name if name in after.classes else names.get(meant, name)
        for name, meant in zip(before.classes, _meanings(before.classes), strict=True)
    )


def _meanings(names: Iterable[str]) -> list[str | None]:
    return meaning(pa.array(names, pa.string())).to_pylist()


def target_to_json(target: Target) -> dict[str, Json]:
    """Return what `target_from_json` reads."""
    if isinstance(target, ClassTarget):
        classes: list[Json] = [*target.classes]
        return {"column": target.column, "classes": classes, "label_type": target.label_type}
    spec: dict[str, Json] = {
        "column": target.column,
        "mean": target.mean,
        "deviation": target.deviation,
    }
    # As before there were scales, where there is none.
    spec |= {"log": target.log.to_json()} if target.log is not None else {}
    return spec | ({"choice": target.choice} if target.choice else {})


def target_from_json(spec: Mapping[str, Any]) -> Target:
    """Return the target that `target_to_json` described."""
    if "classes" in spec:
        classes = tuple(str(name) for name in spec["classes"])
        # Before there was a type of labels they were text.
        label_type = cast("LabelType", spec.get("label_type", "text"))
        if label_values(classes, label_type) is None:
            raise ValueError(f"the classes are not labels of type {label_type!r}")
        return ClassTarget(str(spec["column"]), classes, label_type)
    log = LogScale.from_json(spec["log"]) if "log" in spec else None
    column, choice = str(spec["column"]), str(spec.get("choice", ""))
    return NumberTarget(column, float(spec["mean"]), float(spec["deviation"]), log, choice)
