"""The table of metrics is whole, and what is listed elsewhere is what stands in it."""

import math
from typing import get_args

import pytest

from pipeline_lib.config.data import Task
from pipeline_lib.config.metrics import (
    METRIC_FACTS,
    METRICS,
    Metric,
    fallback_metric,
    primary_metric,
)
from pipeline_lib.config.pipeline import EvaluationSettings


def test_every_metric_that_a_config_may_name_has_its_facts() -> None:
    assert set(METRIC_FACTS) == set(get_args(Metric))


def test_the_choices_of_the_primary_metric_are_those_of_the_table() -> None:
    choices = EvaluationSettings.model_json_schema()["properties"]["primary"]["anyOf"][0]["enum"]

    assert set(choices) == set(METRIC_FACTS)


@pytest.mark.parametrize("task", get_args(Task))
def test_each_task_has_one_primary_metric_which_is_listed_first_and_one_fallback(
    task: Task,
) -> None:
    primary = [metric for metric, facts in METRIC_FACTS.items() if task in facts.primary_of]
    fallback = [metric for metric, facts in METRIC_FACTS.items() if task in facts.fallback_of]

    assert primary == [METRICS[task][0]] == [primary_metric(task)]
    assert len(fallback) == 1
    assert {fallback_metric(metric) for metric in METRICS[task]} == set(fallback)
    assert {*primary, *fallback} <= set(METRICS[task])


@pytest.mark.parametrize("metric", METRIC_FACTS)
def test_a_metrics_facts_agree_with_each_other(metric: Metric) -> None:
    facts = METRIC_FACTS[metric]

    assert (facts.inputs == "numbers") is ("regression" in facts.tasks)
    assert facts.least < facts.most
    # The best value is known, the worst may be infinitely bad.
    assert math.isfinite(facts.least if facts.lower_is_better else facts.most)
    assert facts.definition


def test_a_percentage_error_is_no_metric_because_targets_near_zero_decide_it() -> None:
    assert not [metric for metric in METRIC_FACTS if metric.endswith("ape")]
