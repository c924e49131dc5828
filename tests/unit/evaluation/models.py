"""Models that know something of their rows, and their scores by scikit-learn."""

from typing import assert_never

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from pipeline_lib.config.metrics import Metric
from pipeline_lib.evaluation.answers import Answers, Truth


def classified(n_rows: int, n_classes: int, seed: int) -> tuple[Truth, Answers, Answers]:
    """Return rows, a model that knows something of them and one that knows less."""
    random = np.random.default_rng(seed)
    y = random.integers(0, n_classes, n_rows)
    y[:n_classes] = np.arange(n_classes)
    models: list[Answers] = []
    for skill in (1.0, 0.3):
        logits = random.normal(size=(n_rows, n_classes)) + skill * np.eye(n_classes)[y]
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        predicted = probs.argmax(axis=1)
        predicted[::17] = -1
        ranked = (1,) if n_classes == 2 else tuple(range(n_classes))
        models.append(Answers(predicted, probs, ranked))
    return Truth(y, tuple("abcdefgh"[:n_classes])), *models


def numbers(n_rows: int, seed: int) -> tuple[Truth, Answers, Answers]:
    """Return rows of a regression, a good model and a worse one."""
    random = np.random.default_rng(seed)
    truth, none = Truth(random.normal(1000, 3, n_rows)), np.empty((n_rows, 0))
    first, second = (Answers(truth.y + random.normal(0, s, n_rows), none) for s in (1.0, 1.5))
    return truth, first, second


def by_scikit_learn(metric: Metric, truth: Truth, answers: Answers) -> float:  # noqa: C901 - a case each
    """Return a metric as scikit-learn has it, of a target whose classes all have a row."""
    y, predicted, probs = truth.y, answers.predicted, answers.probs
    match metric:
        case "macro_f1":
            return float(sk.f1_score(y, predicted, labels=np.unique(y), average="macro"))
        case "accuracy":
            return float(sk.accuracy_score(y, predicted))
        case "balanced_accuracy":
            return float(sk.recall_score(y, predicted, labels=np.unique(y), average="macro"))
        case "log_loss":
            return float(sk.log_loss(y, probs, labels=range(len(truth.classes))))
        case "brier":
            labels = range(probs.shape[1])
            return float(sk.brier_score_loss(y, probs, labels=labels, scale_by_half="auto"))
        case "roc_auc":
            areas = [sk.roc_auc_score(y == number, probs[:, number]) for number in answers.ranked]
            return float(np.mean(areas))
        case "average_precision":
            scores = probs[:, 1] if probs.shape[1] == 2 else probs
            return float(sk.average_precision_score(y, scores, average="macro"))
        case "rmse":
            return float(sk.root_mean_squared_error(y, predicted))
        case "mae":
            return float(sk.mean_absolute_error(y, predicted))
        case "r2":
            return float(sk.r2_score(y, predicted))
        case _:
            assert_never(metric)


def taken(truth: Truth, answers: Answers, rows: npt.NDArray[np.int64]) -> tuple[Truth, Answers]:
    """Return some rows and what the model says of them."""
    some = Answers(answers.predicted[rows], answers.probs[rows], answers.ranked)
    return Truth(truth.y[rows], truth.classes, truth.n_known), some
