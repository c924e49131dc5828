"""Threads that wait for each other leave the cores to others, unless the user wants otherwise."""

import os
import subprocess
import sys

import pytest

_SAID = """
import os
from {module} import {name}
assert "torch" not in __import__("sys").modules, "torch reads the variable when it is imported"
{name}()
print(os.environ["OMP_WAIT_POLICY"])
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [("pipeline_lib.openmp", "let_threads_sleep"), ("evergreen.environment", "prepare_user")],
)
@pytest.mark.parametrize(("before", "after"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_before_torch_is_there(
    module: str, name: str, before: str | None, after: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    if before is not None:
        environment["OMP_WAIT_POLICY"] = before

    code = _SAID.format(module=module, name=name)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == after
