"""The result of a test, small enough to pass on. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.evaluation.comparison import Difference, Scores


@dataclass(frozen=True)
class ClassRow:
    """Precision, recall and F1 of one class of the test rows."""

    name: str
    precision: float
    recall: float
    f1: float
    n_rows: int


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of the model and the baselines on the test rows.

    `predictions` is a parquet file with one row per test row: the actual value, then what was
    predicted. `classes` is empty for a regression. `scores` is empty if predictions are not finite.
    `notes` explain the scores; `warnings` are those of them that need attention. `constant` says
    that all predictions are equal. `against_constant` is how much better the model is than the
    constant baseline, by the primary metric or the one that replaces it where it is undefined;
    `against_chance`, by the same metric, how much better than its own answers at random rows, where
    guesses can beat a constant.
    """

    scores: Scores
    baselines: dict[str, Scores]
    finite: bool
    constant: bool
    classes: tuple[ClassRow, ...]
    predictions: Path
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    n_rows: int = 0
    against_constant: Difference | None = None
    against_chance: Difference | None = None
