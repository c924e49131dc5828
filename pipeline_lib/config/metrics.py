"""The metrics: one table of what each is. How it is computed stands in two places, each a `match`.

`training/metrics.py` computes the validation metric of an epoch, `evaluation/` the test metrics
and their resamples. Everything that lists metrics, or asks for a direction, asks this table.
"""

import math
from dataclasses import dataclass
from typing import Literal

from pipeline_lib.config.data import Task

Metric = Literal[
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "log_loss",
    "brier",
    "roc_auc",
    "average_precision",
    "rmse",
    "mae",
    "r2",
]

_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
_NUMBERS: tuple[Task, ...] = ("regression",)


@dataclass(frozen=True)
class MetricFacts:
    """What a metric is.

    Attributes:
        tasks: those that it fits.
        inputs: what it is computed from: predicted labels, probabilities of the classes, or
            predicted numbers.
        unit: `score` has none, `nats` is a natural logarithm, `target` is the target's unit.
        least: its lowest value.
        most: its highest value.
        lower_is_better: its direction.
        definition: what it is, in one line.
        primary_of: tasks whose decisions go by it unless a config names another.
        fallback_of: tasks in which it decides where the primary metric is undefined; every row
            has a part in it, so it is always defined.
        guesses_beat_constant: whether random answers can beat a constant prediction by it, so
            that a model must also beat its own answers at random rows.
    """

    tasks: tuple[Task, ...]
    inputs: Literal["labels", "probabilities", "numbers"]
    unit: Literal["score", "nats", "target"]
    least: float
    most: float
    lower_is_better: bool
    definition: str
    primary_of: tuple[Task, ...] = ()
    fallback_of: tuple[Task, ...] = ()
    guesses_beat_constant: bool = False


# In the order of tables: the primary metric of a task is its first.
METRIC_FACTS: dict[Metric, MetricFacts] = {
    "macro_f1": MetricFacts(
        _CLASSES,
        "labels",
        "score",
        0.0,
        1.0,
        lower_is_better=False,
        definition="mean F1 score of the classes",
        primary_of=_CLASSES,
        guesses_beat_constant=True,
    ),
    "accuracy": MetricFacts(
        _CLASSES,
        "labels",
        "score",
        0.0,
        1.0,
        lower_is_better=False,
        definition="share of rows whose class is predicted",
    ),
    "log_loss": MetricFacts(
        _CLASSES,
        "probabilities",
        "nats",
        0.0,
        math.inf,
        lower_is_better=True,
        definition="mean negative logarithm of the true class's probability",
        fallback_of=_CLASSES,
    ),
    "roc_auc": MetricFacts(
        _CLASSES,
        "probabilities",
        "score",
        0.0,
        1.0,
        lower_is_better=False,
        definition="area under the ROC curve; each class against the rest, mean of the classes",
        guesses_beat_constant=True,
    ),
    "balanced_accuracy": MetricFacts(
        _CLASSES,
        "labels",
        "score",
        0.0,
        1.0,
        lower_is_better=False,
        definition="mean recall of the classes",
        guesses_beat_constant=True,
    ),
    "average_precision": MetricFacts(
        _CLASSES,
        "probabilities",
        "score",
        0.0,
        1.0,
        lower_is_better=False,
        definition="precision, averaged over the recall of the positive class; of more than two "
        "classes each against the rest, mean of the classes",
        guesses_beat_constant=True,
    ),
    "brier": MetricFacts(
        _CLASSES,
        "probabilities",
        "score",
        0.0,
        2.0,
        lower_is_better=True,
        definition="mean squared error of the positive class's probability (0 to 1); of more than "
        "two classes the sum over the classes (0 to 2)",
    ),
    "rmse": MetricFacts(
        _NUMBERS,
        "numbers",
        "target",
        0.0,
        math.inf,
        lower_is_better=True,
        definition="root mean squared error",
        primary_of=_NUMBERS,
        fallback_of=_NUMBERS,
    ),
    "mae": MetricFacts(
        _NUMBERS,
        "numbers",
        "target",
        0.0,
        math.inf,
        lower_is_better=True,
        definition="mean absolute error",
    ),
    "r2": MetricFacts(
        _NUMBERS,
        "numbers",
        "score",
        -math.inf,
        1.0,
        lower_is_better=False,
        definition="share of the variance that is explained",
    ),
}

_TASKS: tuple[Task, ...] = (*_CLASSES, *_NUMBERS)
# The metrics of each task, its primary one first.
METRICS: dict[Task, tuple[Metric, ...]] = {
    task: tuple(metric for metric, facts in METRIC_FACTS.items() if task in facts.tasks)
    for task in _TASKS
}
# Metrics that are errors: promotion.max_standard_error is a share of the champion's value.
ERROR_METRICS: tuple[Metric, ...] = tuple(
    metric for metric, facts in METRIC_FACTS.items() if facts.lower_is_better
)


def primary_metric(task: Task) -> Metric:
    """Return the metric that decides in a task unless the config names another.

    >>> primary_metric("regression")
    'rmse'
    """
    return next(metric for metric, facts in METRIC_FACTS.items() if task in facts.primary_of)


def fallback_metric(metric: Metric) -> Metric:
    """Return the metric that decides where another of the same task is undefined.

    >>> fallback_metric("roc_auc"), fallback_metric("rmse")
    ('log_loss', 'rmse')
    """
    task = METRIC_FACTS[metric].tasks[0]
    return next(other for other, facts in METRIC_FACTS.items() if task in facts.fallback_of)
