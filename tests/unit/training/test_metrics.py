"""The metric of every epoch, compared with scikit-learn."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.special import expit, softmax
from sklearn import metrics as sk

from pipeline_lib.config.metrics import METRICS, Metric
from pipeline_lib.encoding import ClassTarget
from pipeline_lib.evaluation.metrics import score
from pipeline_lib.serving import Predictions
from pipeline_lib.training.metrics import EpochMetric, why_undefined
from pipeline_lib.training.rows import TensorSplit


def _in_batches(metric: EpochMetric, logits: torch.Tensor, y: torch.Tensor) -> float | None:
    for start in range(0, len(y), 7):
        metric.update(logits[start : start + 7], y[start : start + 7])
    return metric.compute(val_loss=0.25)


def _expected(metric: Metric, n_classes: int, logits: torch.Tensor, y: torch.Tensor) -> float:
    positive = expit(logits.numpy())
    probs = np.hstack([1 - positive, positive]) if n_classes == 2 else softmax(logits.numpy(), 1)
    predicted, labels = probs.argmax(axis=1), y.numpy()
    scores = probs[:, 1] if n_classes == 2 else probs
    match metric:
        case "accuracy":
            return float(sk.accuracy_score(labels, predicted))
        case "balanced_accuracy":
            return float(sk.balanced_accuracy_score(labels, predicted))
        case "macro_f1":
            return float(sk.f1_score(labels, predicted, average="macro", zero_division=0))
        case "brier":
            return float(sk.brier_score_loss(labels, scores))
        case "average_precision":
            return float(sk.average_precision_score(labels, scores, average="macro"))
        case _:
            return float(sk.roc_auc_score(labels, scores, multi_class="ovr", average="macro"))


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("metric", [m for m in METRICS["multiclass"] if m != "log_loss"])
@pytest.mark.parametrize("seed", range(3))
def test_a_classification_metric_over_batches_is_scikit_learns_over_all_rows(
    n_classes: int, metric: Metric, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, n_classes, (60,), generator=generator)
    logits = torch.randn(60, 1 if n_classes == 2 else n_classes, generator=generator)

    value = _in_batches(EpochMetric(metric, n_classes=n_classes), logits, y)

    assert value == pytest.approx(_expected(metric, n_classes, logits, y), abs=1e-6)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_one_answer_of_a_class_without_a_row_costs_that_row_alone(n_classes: int) -> None:
    y = torch.tensor([0, *range(n_classes - 1)] * 50)
    predicted = y.clone()
    predicted[-1] = n_classes - 1
    logits = torch.nn.functional.one_hot(predicted, n_classes).float()
    given = (logits[:, 1:] - 0.5) * 9 if n_classes == 2 else logits

    value = _in_batches(EpochMetric("macro_f1", n_classes=n_classes), given, y)

    held = list(range(n_classes - 1))
    expected = sk.f1_score(y.numpy(), predicted.numpy(), labels=held, average="macro")
    assert expected > 0.98
    assert value == pytest.approx(expected)


@pytest.mark.parametrize("metric", METRICS["multiclass"])
def test_the_metric_of_an_epoch_is_that_of_the_test_where_a_class_has_no_row(
    metric: Metric,
) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (60,), generator=generator)
    logits = torch.randn(60, 4, generator=generator)
    probs = softmax(logits.numpy().astype(np.float64), 1)

    metric_of_epoch = EpochMetric(metric, n_classes=4)
    metric_of_epoch.update(logits, y)
    value = metric_of_epoch.compute(val_loss=float(sk.log_loss(y, probs, labels=range(4))))

    predictions = Predictions(ClassTarget("y", tuple("abcd")), probs, np.zeros(60, np.int32))
    labels = pa.chunked_array([pa.array(["abcd"[number] for number in y.tolist()])])
    assert value == pytest.approx(score(labels, predictions)[metric], abs=1e-6)


def test_the_ranking_metrics_are_over_the_classes_that_have_a_row() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (60,), generator=generator)
    logits = torch.randn(60, 4, generator=generator)

    area = _in_batches(EpochMetric("roc_auc", n_classes=4), logits, y)
    precision = _in_batches(EpochMetric("average_precision", n_classes=4), logits, y)

    probs, ones = softmax(logits.numpy(), 1), np.eye(4)[y.numpy()]
    areas = [sk.roc_auc_score(ones[:, k], probs[:, k]) for k in range(3)]
    precisions = [sk.average_precision_score(ones[:, k], probs[:, k]) for k in range(3)]
    assert area == pytest.approx(np.mean(areas), abs=1e-6)
    assert precision == pytest.approx(np.mean(precisions), abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "n_classes", "y", "why"),
    [
        ("roc_auc", 2, [0] * 9, "they hold 1 of 2 classes"),
        ("roc_auc", 4, [2] * 9, "they hold 1 of 4 classes"),
        ("average_precision", 2, [1] * 9, "they hold 1 of 2 classes"),
        ("average_precision", 4, [2] * 9, "they hold 1 of 4 classes"),
        ("r2", 0, [0.5], "they are 1 row"),
        ("r2", 0, [0.5] * 9, "all have the same value"),
    ],
)
def test_a_metric_that_is_undefined_is_none_and_the_rows_tell_so_beforehand(
    metric: Metric, n_classes: int, y: list[float], why: str
) -> None:
    width = n_classes if n_classes > 2 else 1
    generator = torch.Generator().manual_seed(0)
    targets = torch.tensor(y) if n_classes == 0 else torch.tensor(y, dtype=torch.int64)
    rows = TensorSplit(torch.zeros(len(y), 0), torch.zeros(len(y), 0), targets)
    epoch = EpochMetric(metric, n_classes=n_classes)

    values = [
        _in_batches(epoch, torch.randn(len(y), width, generator=generator), targets)
        for _ in range(2)
    ]

    assert values == [None, None]
    assert why_undefined(metric, rows, n_classes=n_classes) == why


@pytest.mark.parametrize(
    ("metric", "n_classes", "y"),
    [
        ("roc_auc", 2, [0, 0, 1]),
        ("roc_auc", 4, [0, 0, 1]),
        ("r2", 0, [0.5, 0.5, 0.6]),
        ("macro_f1", 2, [0, 0]),
        ("accuracy", 2, [0]),
        ("balanced_accuracy", 4, [0]),
        ("brier", 4, [0]),
        ("average_precision", 2, [0, 0, 1]),
        ("average_precision", 4, [0, 0, 1]),
        ("log_loss", 2, [0]),
        ("rmse", 0, [0.5]),
        ("mae", 0, [0.5]),
    ],
)
def test_a_metric_that_is_defined_has_a_value_and_the_rows_tell_no_obstacle(
    metric: Metric, n_classes: int, y: list[float]
) -> None:
    width = n_classes if n_classes > 2 else 1
    targets = torch.tensor(y) if n_classes == 0 else torch.tensor(y, dtype=torch.int64)
    rows = TensorSplit(torch.zeros(len(y), 0), torch.zeros(len(y), 0), targets)
    logits = torch.arange(len(y) * width, dtype=torch.float32).reshape(len(y), width)

    value = _in_batches(EpochMetric(metric, n_classes=n_classes), logits, targets)

    assert value is not None
    assert why_undefined(metric, rows, n_classes=n_classes) == ""


def test_macro_f1_leaves_out_a_class_that_neither_labels_nor_predictions_hold() -> None:
    logits = torch.eye(4)[[0, 0, 1, 2]]
    y = torch.tensor([0, 1, 1, 2])

    value = _in_batches(EpochMetric("macro_f1", n_classes=4), logits, y)

    assert value == pytest.approx(sk.f1_score([0, 1, 1, 2], [0, 0, 1, 2], average="macro"))


@pytest.mark.parametrize("scale", [1.0, 250.0])
def test_regression_metrics_are_in_the_targets_own_unit(scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(60, 1, generator=generator)
    y = torch.randn(60, generator=generator)
    actual, predicted = y.numpy() * scale + 1000, outputs[:, 0].numpy() * scale + 1000
    expected = {
        "rmse": sk.root_mean_squared_error(actual, predicted),
        "mae": sk.mean_absolute_error(actual, predicted),
        "r2": sk.r2_score(actual, predicted),
    }

    values = {
        name: _in_batches(EpochMetric(name, scale=scale), outputs, y)
        for name in METRICS["regression"]
    }

    assert values == pytest.approx(expected, rel=1e-4)


def test_log_loss_is_the_validation_loss_itself() -> None:
    metric = EpochMetric("log_loss", n_classes=3)

    value = _in_batches(metric, torch.randn(10, 3), torch.zeros(10, dtype=torch.int64))

    assert value == 0.25


def test_the_rows_of_one_epoch_are_forgotten_in_the_next() -> None:
    metric = EpochMetric("accuracy", n_classes=2)
    wrong, right = torch.full((5, 1), -9.0), torch.full((5, 1), 9.0)
    y = torch.ones(5, dtype=torch.int64)

    values = [_in_batches(metric, wrong, y), _in_batches(metric, right, y)]

    assert values == [0.0, 1.0]
