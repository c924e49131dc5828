"""The result of a test, small enough to pass on. Imports nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_lib.evaluation.comparison import Difference, Scores
from pipeline_lib.evaluation.reliability import Reliability
from pipeline_lib.evaluation.worth import Worth


@dataclass(frozen=True)
class ClassRow:
    """Precision, recall and F1 of one class of the test rows."""

    name: str
    precision: float
    recall: float
    f1: float
    n_rows: int


@dataclass(frozen=True)
class HeldBaseline:
    """A baseline that the training has made: the new model itself, or a member of it.

    `folder` is that of the saved model, which may be the new one's; `fit_s` are the seconds of its
    training; `note` says which it is, for the page.
    """

    folder: Path
    fit_s: float
    note: str
    is_model: bool = False


@dataclass(frozen=True)
class EvaluationResult:
    """Scores of the model and the baselines on the test rows.

    `predictions` is a parquet file with one row per test row: the actual value, its weight if rows
    have weights, then what was predicted. `n_rows` counts test rows of a weight above 0. `classes`
    is empty for a regression. `scores` is empty if predictions are not finite. `notes` explain the
    scores; `warnings` are those of them that need attention. `constant` says that all predictions
    are equal. `against_constant` is how much better the model is than the constant baseline, by the
    primary metric or the one that replaces it where it is undefined; `against_chance`, by the same
    metric, how much better than its own answers at random rows, where guesses can beat a constant.
    `fit_s` are the seconds that the training of each baseline took, and of the model under an empty
    name, if that is known. `worth` is the model beside the best baseline that it is not itself;
    None if no metric compares them. `reliability` says whether the probabilities of a
    classification mean what they say; None if they are not finite.
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
    fit_s: Mapping[str, float] = field(default_factory=dict[str, float])
    worth: Worth | None = None
    reliability: Reliability | None = None

    def of_test(self) -> dict[str, float]:
        """Return the scores of the model, and its calibration error, for MLflow."""
        found = {f"test/{name}": value for name, value in self.scores.items()}
        if self.reliability is not None:
            found["test/calibration_error"] = self.reliability.error
        return found

    def of_baselines(self) -> dict[str, float]:
        """Return the scores of the baselines and the seconds of their training, for MLflow.

        Those of the constant one have the metric alone as name: `baseline/macro_f1`.
        """
        found = {
            f"baseline/{'' if baseline == 'constant' else f'{baseline}/'}{metric}": value
            for baseline, scores in self.baselines.items()
            for metric, value in scores.items()
        }
        seconds = {f"baseline/{name}/fit_s": self.fit_s[name] for name in self.baselines}
        return {**found, **seconds}
