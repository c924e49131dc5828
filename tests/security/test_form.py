"""What reaches a worker of the boxes of a run form, whatever the server lets through."""

import asyncio
from typing import Any

import pytest
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

from evergreen.work_pool import JOB_TEMPLATE

MARK = "EVERGREEN_TEST_INTRUDER"


def configured(template: dict[str, Any], values: dict[str, Any]) -> ProcessJobConfiguration:
    """Return what a worker of Prefect makes of a template and the job variables of a run."""
    nobody: Any = object()  # is asked only where a template names blocks or variables
    made = ProcessJobConfiguration.from_template_and_values(template, values, client=nobody)
    return asyncio.run(made)


@pytest.mark.parametrize(
    "values",
    [
        {"command": "touch /tmp/x"},
        {"working_dir": "/tmp"},
        {"env": {MARK: "x", "LD_PRELOAD": "/tmp/x.so"}},
        {f"env.{MARK}": "x"},
        {"env": {MARK: "x"}, f"env.{MARK}": "y"},
        {"name": "x", "labels": {"a": "b"}, "stream_output": False},
        {"job_configuration": {"command": "x"}, "variables": {"env": {MARK: "x"}}},
    ],
)
def test_a_worker_takes_no_job_variable(values: dict[str, Any]) -> None:
    untouched = configured(JOB_TEMPLATE, {})

    found = configured(JOB_TEMPLATE, values)

    assert found == untouched
    assert (found.command, found.working_dir, found.env) == (None, None, {})


def test_prefects_own_template_would_take_them() -> None:
    template = ProcessWorker.get_default_base_job_template()

    found = configured(template, {"command": "touch /tmp/x", f"env.{MARK}": "x"})

    assert found.command == "touch /tmp/x"
    assert found.env[MARK] == "x"
