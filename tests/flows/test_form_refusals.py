"""What a form may not set: files, databases, and functions to import."""

import pytest
from prefect.runtime import deployment

from flows.parameters import refuse_strange_paths
from pipeline_lib.errors import UsageError


@pytest.mark.parametrize(
    "assignment",
    [
        "data.source.path=/etc/passwd",
        " data={}",
        '"data".source.path=/etc/passwd',
        " 'validation' .rules=[]",
        "validation.rules=[{kind: function, name: x, function: 'os:system'}]",
        "validation={}",
    ],
)
def test_a_deployment_refuses_sources_and_rules_from_a_form(
    assignment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT__RUNTIME__DEPLOYMENT__ID", "started-by-a-server")
    assert deployment.id

    with pytest.raises(UsageError, match="are set in the config, not in a form"):
        refuse_strange_paths("configs/car_evaluation.yaml", (assignment,))


def test_who_types_a_command_may_set_them() -> None:
    refuse_strange_paths("/anywhere/cars.yaml", ("data.source.path=/tmp/cars.csv",))
