"""One line says whether a model is better than the best baseline, in the metric's direction."""

import math

import pytest

from pipeline_lib.config.metrics import Metric
from pipeline_lib.evaluation.comparison import Difference, gain
from pipeline_lib.evaluation.worth import Worth, telling_metric


def _worth(
    metric: Metric, model: float, value: float, *, lower: float | None = None, error: float = 0.01
) -> Worth:
    ahead = gain(metric, model, value)
    bound = ahead / 2 if lower is None else lower
    return Worth("boosting", model, value, 1.24, Difference(metric, ahead, error, bound))


@pytest.mark.parametrize(
    ("metric", "model", "value", "line"),
    [
        (
            "rmse",
            3.0,
            4.0,
            "better than the best baseline: rmse 3.0000, 25.0 % below boosting (4.0000, 1.2 s)",
        ),
        (
            "rmse",
            4.0,
            3.0,
            "no better than the best baseline: rmse 4.0000, 33.3 % above boosting (3.0000, 1.2 s)",
        ),
        (
            "macro_f1",
            0.9,
            0.8,
            "better than the best baseline: macro_f1 0.9000, 0.1000 above boosting (0.8000, 1.2 s)",
        ),
        (
            "r2",
            -0.5,
            0.5,
            "no better than the best baseline: r2 -0.5000, 1.0000 below boosting (0.5000, 1.",
        ),
        (
            "brier",
            0.1,
            0.0,
            "no better than the best baseline: brier 0.1000, 0.1000 above boosting (0.0000",
        ),
        (
            "accuracy",
            0.5,
            0.5,
            "no better than the best baseline: accuracy 0.5000, as boosting has (0.5000",
        ),
    ],
)
def test_the_line_says_how_far_and_on_which_side_the_model_is(
    metric: Metric, model: float, value: float, line: str
) -> None:
    worth = _worth(metric, model, value)

    assert worth.line().startswith(line)
    assert worth.is_better is line.startswith("better")


def test_a_gain_that_may_be_chance_is_no_proof() -> None:
    known = _worth("macro_f1", 0.9, 0.8, lower=-0.01, error=0.07)
    unknown = _worth("macro_f1", 0.9, 0.8, lower=math.nan, error=math.nan)

    assert known.line().startswith(
        "perhaps better than the best baseline: macro_f1 0.9000, 0.1000 above boosting"
    )
    assert known.line().endswith("this may be chance (standard error of the difference 0.0700)")
    assert unknown.line().endswith("; this may be chance")


def test_rounding_makes_nothing_better() -> None:
    worth = _worth("accuracy", 0.5 + 1e-14, 0.5, lower=1e-15)

    assert not worth.is_better
    assert worth.line().startswith("no better than the best baseline")


def test_models_that_the_deciding_metric_does_not_tell_apart_are_compared_by_the_next() -> None:
    ours: dict[Metric, float] = {"macro_f1": 0.94, "log_loss": 0.05}
    theirs: dict[Metric, float] = {"macro_f1": 0.94, "log_loss": 0.09}
    one: dict[Metric, float] = {"macro_f1": 0.95, "log_loss": 0.09}

    assert telling_metric("macro_f1", ours, theirs) == "log_loss"
    assert telling_metric("macro_f1", ours, one) == "macro_f1"
    assert telling_metric("macro_f1", {"macro_f1": 0.94}, {"macro_f1": 0.94}) == "macro_f1"
    assert telling_metric("rmse", {"rmse": 1.0}, {"rmse": 1.0}) == "rmse"
    difference = Difference("log_loss", 0.04, 0.01, 0.02)
    line = Worth("boosting", 0.05, 0.09, 6.3, difference, same="macro_f1").line()
    expected = "log_loss 0.0500, 44.4 % below boosting (0.0900, 6.3 s), at the same macro_f1"
    assert line == f"better than the best baseline: {expected}"
