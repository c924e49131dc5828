"""Better, worse, equal: whatever the direction of the metric."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import METRICS, Metric
from pipeline_lib.evaluation.comparison import better_or_equal, gain

metrics = st.sampled_from(sorted({metric for known in METRICS.values() for metric in known}))
scores = st.floats(-1e6, 1e6)


@given(metrics, scores, scores)
def test_a_gain_is_positive_exactly_when_the_challenger_is_better(
    metric: Metric, challenger: float, champion: float
) -> None:
    lower_is_better = metric in {"log_loss", "rmse", "mae"}
    better = challenger < champion if lower_is_better else challenger > champion

    assert (gain(metric, challenger, champion) > 0) is better
    assert better_or_equal(metric, challenger, champion) is (better or challenger == champion)


@pytest.mark.parametrize("metric", ["rmse", "macro_f1"])
def test_nan_is_neither_better_nor_equal(metric: Metric) -> None:
    nan = float("nan")

    assert not better_or_equal(metric, nan, 0.5)
    assert not better_or_equal(metric, 0.5, nan)
    assert not better_or_equal(metric, nan, nan)
