"""Which of two scores is better. Imports nothing heavy."""

import math

from pipeline_lib.config import LOWER_IS_BETTER, Metric

Scores = dict[Metric, float]


def gain(metric: Metric, challenger: float, champion: float) -> float:
    """Return how much better the challenger is; negative when worse, whatever the direction.

    >>> gain("rmse", 2.0, 3.0), gain("macro_f1", 0.5, 0.75)
    (1.0, -0.25)
    """
    return champion - challenger if metric in LOWER_IS_BETTER else challenger - champion


def better_or_equal(metric: Metric, challenger: float, champion: float) -> bool:
    """Tell whether a challenger's metric is not worse; a NaN is never."""
    if math.isnan(challenger) or math.isnan(champion):
        return False
    return gain(metric, challenger, champion) >= 0
