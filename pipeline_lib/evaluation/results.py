"""What a test has shown, small enough to hand around. Imports nothing heavy."""

from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.evaluation.comparison import Difference, Scores


@dataclass(frozen=True)
class ClassRow:
    """How one class of the test rows fared."""

    name: str
    precision: float
    recall: float
    f1: float
    n_rows: int


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of the model and the baselines on the test rows.

    `predictions` is a parquet file with one row per test row: actual, then what the model said.
    `classes` is empty for a regression. `scores` is empty if predictions are not finite. `notes`
    are what a person should know of the scores; `warnings` are those of them that ask for
    attention. `against_constant` tells how sure it is that the model beats the constant baseline:
    by the primary metric, or by the one that takes its place where it is undefined;
    `against_chance`, where that is macro_f1 or roc_auc, that it beats its own answers at random
    rows.
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
