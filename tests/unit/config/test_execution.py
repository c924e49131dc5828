"""Retries and time-outs are operational: no result, no digest and no standing goes by them."""

from pathlib import Path

import pytest

from pipeline_lib.config.execution import ExecutionSettings, StageTimeouts
from pipeline_lib.config.form import may_set
from pipeline_lib.config.load import load_config
from pipeline_lib.config.ownership import why_experiment
from pipeline_lib.errors import ConfigError
from tests.conftest import MakeConfig

CONFIG = "configs/car_evaluation.yaml"
OTHER = ("execution.retries=0", "execution.backoff_s=1", "execution.timeout_s.train=null")


def test_how_a_run_is_carried_out_is_no_part_of_the_digest(table_config: MakeConfig) -> None:
    other = table_config(execution={"retries": 0, "timeout_s": {"train": None}})

    assert other.execution != table_config().execution
    assert other.digest() == table_config().digest()


def test_a_run_with_other_retries_is_no_experiment() -> None:
    plain = load_config(CONFIG)

    run = load_config(CONFIG, assignments=OTHER)

    assert run.execution.timeout_s.train is None
    assert why_experiment(run, plain, None) == ""


def test_a_form_sets_no_time_out() -> None:
    assert not may_set(["execution", "timeout_s", "train"])


def test_waits_double_and_are_an_hour_at_most() -> None:
    assert ExecutionSettings(retries=4, backoff_s=5).waits() == [5, 10, 20, 40]
    assert ExecutionSettings(retries=3, backoff_s=3000).waits() == [3000, 3600, 3600]
    assert ExecutionSettings(retries=0).waits() == []


def test_each_task_that_a_config_can_limit_is_a_stage_of_the_flow() -> None:
    for stage in StageTimeouts.model_fields:
        assert Path("tasks", f"{stage}.py").is_file()
        assert ExecutionSettings().timeout_of(stage) is not None
    assert ExecutionSettings().timeout_of("identify") is None


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("execution.retries=11", "execution.retries: must be at most 10, not 11"),
        ("execution.backoff_s=-1", "execution.backoff_s: must be at least 0, not -1"),
        ("execution.timeout_s.train=0", "execution.timeout_s.train: must be above 0, not 0"),
        ("execution.timeout_s.trian=5", "unknown key; did you mean train?"),
        ("execution.timeout_s=60", "execution.timeout_s: must be a mapping of settings, not 60"),
    ],
)
def test_a_strange_value_is_refused_with_its_key(assignment: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(CONFIG, assignments=(assignment,))

    assert said in str(raised.value)
