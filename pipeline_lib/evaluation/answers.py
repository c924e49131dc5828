"""True values, a model's answers to them, and what each row costs it. Imports nothing heavy."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline_lib.config.data import Task

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# No probability is closer to 0 or 1, so that no loss is infinite; scikit-learn's bound.
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Truth:
    """The true values of test rows.

    Shape:
        y: positions in `classes`, or the numbers of a regression, ``(n_rows,)``; classes: those
        that have a row, by name; none for a regression. `n_known` is the number of the target's
        classes, 0 if all of them have a row. weight: of the rows, above 0, ``(n_rows,)``; None
        where all count alike.
    """

    y: Ints | Floats
    classes: tuple[str, ...] = ()
    n_known: int = 0
    weight: Floats | None = None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.y)

    @property
    def task(self) -> Task:
        """The task, as the target's classes show it."""
        if not self.classes:
            return "regression"
        return "binary" if (self.n_known or len(self.classes)) == 2 else "multiclass"

    @property
    def positives(self) -> tuple[int, ...]:
        """The classes that are compared with the rest: the second of two, else all with a row."""
        is_binary = self.task == "binary" and len(self.classes) == 2
        return (1,) if is_binary else tuple(range(len(self.classes)))


def effective_rows(weight: Floats) -> float:
    """Return how many rows of one weight say as much as these: (Σw)² / Σw².

    >>> effective_rows(np.array([3.0, 3.0, 0.0]))
    2.0

    Source: Kish 1965, Survey Sampling, section 8.2.
    """
    parts = weight / weight.max()
    return float(parts.sum() ** 2 / (parts**2).sum())


@dataclass(frozen=True)
class Answers:
    """A model's answers to the rows of a `Truth`.

    Shape:
        predicted: positions in the truth's classes, −1 for a class without a row, or numbers,
        ``(n_rows,)``; probs: ``(n_rows, n_classes)`` of the truth's classes, 0 where the model does
        not know one; ranked: the classes whose ranking counts.
    """

    predicted: Ints | Floats
    probs: Floats
    ranked: tuple[int, ...] = ()


def row_losses(truth: Truth, answers: Answers) -> Floats:
    """Return the log loss of each row, natural logarithm."""
    probs = answers.probs[np.arange(truth.n_rows), truth.y.astype(np.int64)]
    return -np.log(np.clip(probs, _EPSILON, 1 - _EPSILON))


def row_briers(truth: Truth, answers: Answers) -> Floats:
    """Return the Brier score of each row, as scikit-learn scales it.

    Of two classes the squared error of the positive one's probability, 0 to 1; of more the sum of
    squared errors over the classes that have a row, 0 to 2.

    Source: Brier 1950, Monthly Weather Review 78.
    """
    own = answers.probs[np.arange(truth.n_rows), truth.y.astype(np.int64)]
    if truth.task == "binary":
        return (1 - own) ** 2
    squares = np.einsum("ij,ij->i", answers.probs, answers.probs)
    return squares - own**2 + (1 - own) ** 2
