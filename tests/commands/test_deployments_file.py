"""Mistakes in `prefect.yaml` are told with line and key, before any server is asked."""

import shutil
from pathlib import Path

import pytest
from prefect.cli.deploy import _models as models
from prefect.client.schemas.objects import ConcurrencyLimitStrategy

from evergreen import deployments_file
from evergreen.deployments_file import read_deployments
from pipeline_lib.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[2]
TEXT = (PROJECT / "prefect.yaml").read_text()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with the flows and configs of this one."""
    (tmp_path / "flows").symlink_to(PROJECT / "flows")
    shutil.copytree(PROJECT / "configs", tmp_path / "configs")
    return tmp_path


def problems(project: Path, text: str) -> list[str]:
    """Return what is said of a `prefect.yaml`."""
    (project / "prefect.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_deployments(project / "prefect.yaml", pool="evergreen")
    assert raised.value.exit_code == 2
    return [str(problem) for problem in raised.value.problems]


def test_the_projects_own_file_is_right() -> None:
    found = read_deployments(PROJECT / "prefect.yaml", pool="evergreen")

    assert found == {"nightly-car_evaluation": ("nightly",), "on-demand": ()}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("      config: conf", "      confg: conf", "parameters.confg: the flow has no such "
         "parameter; did you mean config?"),
        ("car_evaluation.yaml", "car_evalution.yaml", "parameters.config: there is no file "
         "configs/car_evalution.yaml; did you mean configs/car_evaluation.yaml?"),
        ("configs/car_evaluation.yaml", "/etc/passwd", "config: /etc/passwd lies outside"),
        ("configs/car_evaluation.yaml", "[1]", "parameters.config: Input should be a valid str"),
        ("    schedules:", "    shedules:", "shedules: unknown key; did you mean schedules?"),
        ('"0 2 * * *"', '"0 2 * *"', "schedules[0].cron: '0 2 * *' is not valid"),
        ('"0 2 * * *"', '"0 25 * * *"', "schedules[0].cron: '0 25 * * *' is not valid"),
        ("cron:", "corn:", "schedules[0].corn: unknown key; did you mean cron?"),
        ("timezone: UTC", "timezone: Europe/Berln", "'Europe/Berln' is not a time zone; did you "
         "mean Europe/Berlin?"),
        ("timezone: UTC", "timezone: Berlin", "did you mean Europe/Berlin?"),
        ("timezone: UTC", "timezone: CEST", "'CEST' is not a time zone; write it as Europe/Berlin"),
        ("name: on-demand", "name: nightly-car_evaluation", "'nightly-car_evaluation' is there "
         "twice"),
        ("name: on-demand", "nmae: on-demand", "nmae: unknown key; did you mean name?"),
        ("name: on-demand", "name: on/demand", "'/' may not be in a name"),
        ("retrain.py:retrain", "retrain.py:retrian", "flows/retrain.py has no function retrian; "
         "did you mean retrain?"),
        ("flows/retrain.py", "flows/retrian.py", "there is no file flows/retrian.py; did you mean "
         "retrain.py?"),
        ("entrypoint:", "entrypiont:", "entrypiont: unknown key; did you mean entrypoint?"),
        ("      name: evergreen", "      name: evergren", "'evergren' is not there; did you mean "
         "evergreen?"),
        ("limit: 1", "limit: 0", "concurrency_limit.limit: must be a whole number from 1, not 0"),
        ("ENQUEUE", "ENQEUE", "must be ENQUEUE or CANCEL_NEW, not 'ENQEUE'; did you mean ENQUEUE?"),
        ("deployments:", "deploymnets:", "deploymnets: unknown key; did you mean deployments?"),
        ("      name: evergreen", "      {name: evergreen, job_variables: {command: x}}",
         "work_pool.job_variables: the pool evergreen takes none, or a form could set them, too"),
        ("[nightly]", "[nightly", "is not valid YAML"),
        ("*retrain", "*retrian", "is not valid YAML: found undefined alias 'retrian'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(project: Path, old: str, new: str, said: str) -> None:
    text = TEXT.replace(old, new, 1)
    rows = zip(TEXT.splitlines(), text.splitlines(), strict=True)
    line = next(n for n, (before, after) in enumerate(rows, 1) if before != after)

    found = problems(project, text)

    assert len(found) == 1
    assert said in found[0]
    # A list that is not closed is noticed in the line after.
    assert found[0].startswith((f"prefect.yaml:{line}: ", f"prefect.yaml:{line + 1}: is not valid"))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ("overrides: {epochs: 0}", "parameters.overrides: epochs: Input should be greater than"),
        ("overrides: {epoch: 3}", "parameters.overrides: epoch: unknown key; did you mean epochs?"),
        ("force: maybe", "parameters.force: Input should be a valid boolean"),
        ("run_date: today", "parameters.run_date: Input should be a valid date"),
        ("assignments: [training.epoch=5]", "assignments: training.epoch: unknown key; did you"),
        ("assignments: [data.target=x]", "'data.target=x': all values but those of `model` and"),
    ],
)
def test_a_value_that_the_flow_would_fail_on_is_told(
    project: Path, parameters: str, said: str
) -> None:
    text = TEXT.replace("    schedules:", f"      {parameters}\n    schedules:")

    found = problems(project, text)

    assert len(found) == 1
    assert said in found[0]
    assert found[0].startswith("prefect.yaml:22: ")


def test_a_mistake_in_a_config_is_told_with_the_configs_line(project: Path) -> None:
    config = (PROJECT / "configs" / "car_evaluation.yaml").read_text()
    (project / "configs" / "car_evaluation.yaml").write_text(config.replace("epochs:", "epoch:"))

    found = problems(project, TEXT)

    line = 1 + [row.strip()[:6] for row in config.splitlines()].index("epochs")
    assert found == [
        "prefect.yaml:21: nightly-car_evaluation.parameters.config: "
        f"configs/car_evaluation.yaml:{line}: training.epoch: unknown key; did you mean epochs?"
    ]


@pytest.mark.parametrize(
    "text", ["", "- 1", "deployments: 3", "deployments: [3]", "{", "\t", "[" * 5000]
)
def test_what_is_no_file_of_deployments_is_told_in_a_short_line(project: Path, text: str) -> None:
    found = problems(project, text)

    assert len(found) == 1
    assert len(found[0]) < 400


def test_text_that_is_filled_in_later_is_not_looked_at(project: Path) -> None:
    text = TEXT.replace("configs/car_evaluation.yaml", '"{{ $NIGHT_CONFIG }}"')
    text = text.replace("timezone: UTC", 'timezone: "{{ $ZONE }}"')
    (project / "prefect.yaml").write_text(text)

    assert read_deployments(project / "prefect.yaml", pool="evergreen")


def test_the_keys_are_those_that_prefect_reads() -> None:
    def keys(model: type) -> set[str]:
        return {field.alias or name for name, field in model.model_fields.items()}

    assert set(deployments_file.TOP_KEYS) == {*keys(models.PrefectYamlModel), "definitions"} | {
        "prefect-version"
    }
    assert set(deployments_file.DEPLOYMENT_KEYS) == keys(models.DeploymentConfig)
    assert set(deployments_file.POOL_KEYS) == keys(models.WorkPoolConfig)
    assert set(deployments_file.LIMIT_KEYS) == keys(models.ConcurrencyLimitSpec)
    assert set(deployments_file.SCHEDULE_KEYS) == keys(models.RawScheduleConfig)
    assert set(deployments_file.STRATEGIES) == {s.value for s in ConcurrencyLimitStrategy}
