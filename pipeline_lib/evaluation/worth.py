"""Whether a model is better than the best of the baselines, in one line. Imports nothing heavy."""

import math
from dataclasses import dataclass

from pipeline_lib.config.metrics import METRIC_FACTS, Metric, fallback_metric
from pipeline_lib.evaluation.comparison import Difference, Scores, deciding_metric, is_tie


@dataclass(frozen=True)
class Worth:
    """A model beside the best baseline that it is not itself.

    `model` and `value` are the values of both by the metric of `difference`, which says how much
    better the model is; `fit_s` are the seconds that the baseline's training took. `same` is the
    metric that should decide, where both have the same value of it.
    """

    baseline: str
    model: float
    value: float
    fit_s: float
    difference: Difference
    same: Metric | None = None

    @property
    def is_better(self) -> bool:
        """Whether the model has the better value, be it by chance."""
        return self.difference.gain > 0 and not is_tie(self.model, self.value)

    def line(self) -> str:
        """Return the line of the page; where chance may be the reason, it says so.

        >>> Worth("boosting", 0.272, 0.284, 1.2, Difference("log_loss", 0.012, 0.003, 0.007)).line()
        'better than the best baseline: log_loss 0.2720, 4.2 % below boosting (0.2840, 1.2 s)'
        """
        said = self.difference
        by = f"{said.metric} {self.model:.4f}, {self._distance()} ({self.value:.4f}, "
        by += f"{self.fit_s:.1f} s)" + (f", at the same {self.same}" if self.same else "")
        if not self.is_better:
            return f"no better than the best baseline: {by}"
        if said.lower > 0:
            return f"better than the best baseline: {by}"
        error = said.standard_error
        spread = "" if math.isnan(error) else f" (standard error of the difference {error:.4f})"
        return f"perhaps better than the best baseline: {by}; this may be chance{spread}"

    def _distance(self) -> str:
        if is_tie(self.model, self.value):
            return f"as {self.baseline} has"
        side = "above" if self.model > self.value else "below"
        size = abs(self.model - self.value)
        if METRIC_FACTS[self.difference.metric].lower_is_better and self.value > 0:
            return f"{100 * size / self.value:.1f} % {side} {self.baseline}"
        return f"{size:.4f} {side} {self.baseline}"


def telling_metric(primary: Metric, *models: Scores) -> Metric | None:
    """Return the metric that tells models apart: the deciding one, or the next where that is a tie.

    >>> telling_metric("r2", {"r2": 0.9, "rmse": 1.0}, {"r2": 0.9, "rmse": 2.0})
    'rmse'
    """
    metric, other = deciding_metric(primary, *models), fallback_metric(primary)
    if metric is None or metric == other:
        return metric
    first, *rest = (scores[metric] for scores in models)
    is_same = all(is_tie(first, value) for value in rest)
    return deciding_metric(other, *models) or metric if is_same else metric
