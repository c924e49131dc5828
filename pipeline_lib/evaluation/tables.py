"""Tables of a test: the classification report and the confusion matrix, with class names.

Classes are rows of these tables, never their keys: a class called `accuracy` stays a class.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from sklearn import metrics as sk

from pipeline_lib.encoding import ClassTarget
from pipeline_lib.evaluation.answers import Floats
from pipeline_lib.serving import Predictions
from pipeline_lib.shown import printable


@dataclass(frozen=True)
class ClassTables:
    """What happened to each class of the test rows.

    Shape:
        report: one row per class with class, precision, recall, f1, n_rows;
        confusion: ``(n_classes, n_classes)``, rows actual, columns predicted. Both count rows,
        whatever their weights; precision, recall and f1 are by weight.
    """

    classes: tuple[str, ...]
    report: pd.DataFrame
    confusion: npt.NDArray[np.int64]
    text: str

    def confusion_frame(self) -> pd.DataFrame:
        """Return the confusion matrix as actual, predicted, n_rows: one row per cell."""
        n = len(self.classes)
        return pd.DataFrame(
            {
                "actual": [name for name in self.classes for _ in range(n)],
                "predicted": [*self.classes] * n,
                "n_rows": self.confusion.ravel(),
            }
        )


def class_tables(
    actual: pa.ChunkedArray, predictions: Predictions, weight: Floats | None = None
) -> ClassTables:
    """Compare predictions of a classification with the true classes, class by class.

    `weight` is that of each row, above 0; None where all count alike.
    """
    target = predictions.target
    assert isinstance(target, ClassTarget)
    y, predicted = target.encode(actual), predictions.values.argmax(axis=1)
    numbers = list(range(len(target.classes)))
    options: dict[str, Any] = {"labels": numbers, "zero_division": 0, "sample_weight": weight}
    precision, recall, f1, _ = sk.precision_recall_fscore_support(y, predicted, **options)
    report = pd.DataFrame(
        {
            "class": target.classes,
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "n_rows": np.bincount(y, minlength=len(numbers)),
        }
    )
    held = np.unique(y)  # so that its macro average is the macro_f1 of the scores
    names = [printable(target.classes[number]) for number in held]
    options["labels"] = held
    text = sk.classification_report(y, predicted, target_names=names, digits=3, **options)
    confusion = sk.confusion_matrix(y, predicted, labels=numbers)
    return ClassTables(target.classes, report, confusion, str(text))
