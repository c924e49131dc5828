"""The metric of every epoch, held against scikit-learn."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from sklearn import metrics as sk

from pipeline_lib.config import Metric
from pipeline_lib.training.metrics import EpochMetric


def _in_batches(metric: EpochMetric, logits: torch.Tensor, y: torch.Tensor) -> float:
    for start in range(0, len(y), 7):
        metric.update(logits[start : start + 7], y[start : start + 7])
    return metric.compute(val_loss=0.25)


def _expected(metric: Metric, n_classes: int, logits: torch.Tensor, y: torch.Tensor) -> float:
    positive = expit(logits.numpy())
    probs = np.hstack([1 - positive, positive]) if n_classes == 2 else softmax(logits.numpy(), 1)
    predicted, labels = probs.argmax(axis=1), y.numpy()
    match metric:
        case "accuracy":
            return float(sk.accuracy_score(labels, predicted))
        case "macro_f1":
            return float(sk.f1_score(labels, predicted, average="macro", zero_division=0))
        case "roc_auc" if n_classes == 2:
            return float(sk.roc_auc_score(labels, probs[:, 1]))
        case _:
            return float(sk.roc_auc_score(labels, probs, multi_class="ovr", average="macro"))


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "roc_auc"])
@pytest.mark.parametrize("seed", range(3))
def test_a_classification_metric_over_batches_is_scikit_learns_over_all_rows(
    n_classes: int, metric: Metric, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, n_classes, (60,), generator=generator)
    logits = torch.randn(60, 1 if n_classes == 2 else n_classes, generator=generator)

    value = _in_batches(EpochMetric(metric, n_classes=n_classes), logits, y)

    assert value == pytest.approx(_expected(metric, n_classes, logits, y), abs=1e-6)


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

    names: list[Metric] = ["rmse", "mae", "r2"]
    values = {name: _in_batches(EpochMetric(name, scale=scale), outputs, y) for name in names}

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
