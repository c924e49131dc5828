"""What happened to each class of the test rows, by name."""

import numpy as np
import pyarrow as pa
from sklearn import metrics as sk

from pipeline_lib.encoding import ClassTarget
from pipeline_lib.evaluation.tables import class_tables
from pipeline_lib.serving import Predictions


def test_classes_called_like_the_rows_of_a_report_stay_classes() -> None:
    classes = ("accuracy", "macro avg", "weighted avg")
    labels = ["accuracy", "accuracy", "macro avg", "weighted avg", "macro avg"]
    probs = np.eye(3)[[0, 1, 1, 2, 0]]

    tables = class_tables(
        pa.chunked_array([pa.array(labels)]),
        Predictions(ClassTarget("label", classes), probs, np.zeros(5, np.int32)),
    )

    assert tables.report["class"].tolist() == list(classes)
    assert tables.report["n_rows"].tolist() == [2, 2, 1]
    assert tables.report["recall"].tolist() == [0.5, 0.5, 1.0]
    assert tables.confusion.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_the_tables_of_a_test_are_scikit_learns() -> None:
    classes = ("b", "a", "unused")
    random = np.random.default_rng(0)
    labels = random.choice(["a", "b"], 40).tolist()
    probs = random.dirichlet(np.ones(3), 40)
    predicted = [classes[i] for i in probs.argmax(axis=1)]

    tables = class_tables(
        pa.chunked_array([pa.array(labels)]),
        Predictions(ClassTarget("label", classes), probs, np.zeros(40, np.int32)),
    )

    confusion = sk.confusion_matrix(labels, predicted, labels=classes)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0
    )
    assert (tables.confusion == confusion).all()
    np.testing.assert_allclose(tables.report["precision"], precision)
    np.testing.assert_allclose(tables.report["recall"], recall)
    np.testing.assert_allclose(tables.report["f1"], f1)
    assert tables.report["n_rows"].tolist() == support.tolist()
    frame = tables.confusion_frame()
    cell = frame[(frame["actual"] == "a") & (frame["predicted"] == "b")]
    assert cell["n_rows"].item() == confusion[1, 0]
    assert len(frame) == 9
