"""Whether the target has classes worth learning: at least two, each with rows enough."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.data import DataSettings
from pipeline_lib.config.validation import ValidationSettings
from pipeline_lib.errors import Violation
from pipeline_lib.wording import examples

_MAX_NAMED = 20


class ClassCounts:
    """Rows of each class over a stream, counted from the labels that are used."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, labels: pa.ChunkedArray) -> None:
        """Count the labels of a batch; null is no class."""
        self._counts.update(_counted(labels))

    def remove(self, labels: pa.ChunkedArray) -> None:
        """Take labels that were counted out again."""
        self._counts.subtract(_counted(labels))

    def divide(self, copies: int) -> None:
        """Count one of so many copies of each row; each class has a multiple of them."""
        self._counts = Counter({label: n // copies for label, n in self._counts.items()})

    def violations(self, data: DataSettings, validation: ValidationSettings) -> list[Violation]:
        """Return what is wrong with the classes; the rarest are named, the rest counted."""
        counts = {label: n_rows for label, n_rows in self._counts.items() if n_rows}
        n_rows, target = sum(counts.values()), data.target
        found: list[Violation] = []
        if len(counts) < 2:
            message = f"holds one class only, {examples(counts)}; there is nothing to learn"
            found.append(Violation(target, "classes", n_rows, message))
        if data.task == "binary" and len(counts) > 2:
            message = (
                f"holds {len(counts)} classes ({examples(counts)}); a binary task has 2. "
                "Set `data.task: multiclass`"
            )
            found.append(Violation(target, "classes", n_rows, message))
        poor = {c: n for c, n in counts.items() if n < validation.min_rows_per_class}
        return found + _too_few(poor, target, validation.min_rows_per_class)


def _too_few(poor: dict[str, int], target: str, least: int) -> list[Violation]:
    needed = (
        f"at least {least} are needed (`validation.min_rows_per_class`). "
        "Drop the class, merge it with another, or gather more rows"
    )
    if len(poor) > _MAX_NAMED:  # a column of names rather than classes has one per row
        message = f"has {len(poor)} classes with fewer rows, {examples(poor)}; {needed}"
        return [Violation(target, "min_rows_per_class", sum(poor.values()), message)]
    found: list[Violation] = []
    for label, n_rows in poor.items():
        rows = f"{n_rows} {'row' if n_rows == 1 else 'rows'}"
        message = f"class {examples([label])} has {rows}; {needed}"
        found.append(Violation(target, "min_rows_per_class", n_rows, message))
    return found


def _counted(labels: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(labels.drop_null()).to_pylist()
    return {str(entry["values"]): int(entry["counts"]) for entry in counted}
