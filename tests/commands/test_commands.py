"""The command, as a person types it: exit codes, one message per mistake, no traceback."""

import json
import os
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pyarrow.csv as pa_csv
import pytest

from pipeline_lib.config import load_config
from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.home import find_home
from pipeline_lib.monitoring.drift_report import NightRecord
from pipeline_lib.monitoring.history import Night, remember_night

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = PROJECT / "configs" / "car_evaluation.yaml"


# A server that starts or answers slowly is no failure of what is tested here.
PATIENT = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "900",
    "PREFECT_API_REQUEST_TIMEOUT": "900",
}


def evergreen(*arguments: str, cwd: Path = PROJECT, **environment: str) -> tuple[int, str, str]:
    """Run the command in a clean process; return exit code, output and errors."""
    done = subprocess.run(
        [sys.executable, "-m", "evergreen", *arguments],
        cwd=cwd,
        env={**os.environ, **PATIENT, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def write_config(folder: Path, **changes: tuple[str, str]) -> Path:
    """Write the default config with lines replaced, as `old=new`."""
    text = CONFIG.read_text()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path = folder / "cars.yaml"
    path.write_text(text)
    return path


def test_help_lists_every_command() -> None:
    code, out, _ = evergreen("--help")

    assert code == 0
    for command in ("run", "check", "codes", "compare", "deploy", "doctor"):
        assert f" {command} " in out


def test_the_version_is_that_of_the_package_with_python_and_the_libraries_that_decide() -> None:
    code, out, _ = evergreen("--version")

    packages = {name: version(name) for name in ("torch", "prefect", "mlflow")}
    libraries = ", ".join(f"{name} {found}" for name, found in packages.items())
    python = sys.version.split()[0]
    assert code == 0
    assert out == f"evergreen {version('evergreen-tables')} (Python {python}, {libraries})\n"


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("check", str(CONFIG)), ("run", "--help"), ("codes", "--help")],
)
def test_what_answers_at_once_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "evergreen", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )

    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}

    assert not imported & {"torch", "mlflow", "prefect", "sklearn", "matplotlib"}


def test_check_says_what_it_found() -> None:
    code, out, _ = evergreen("check", str(CONFIG))

    assert code == 0
    assert "1,728 rows keep the contract" in out


def test_check_prints_facts_as_json() -> None:
    _, out, _ = evergreen("check", str(CONFIG), "--json")

    assert json.loads(out)["n_rows"] == 1728


def test_check_tells_days_of_the_window_without_a_file(tmp_path: Path) -> None:
    source = '{kind: csv, path: "{YYYY}-{MM}-{DD}.csv", window_days: 3}'
    path = write_config(tmp_path, a=("{kind: builtin, table: car_evaluation}", source))
    rows = car_evaluation()
    for start, day in ((0, "2026-05-01"), (864, "2026-05-03")):
        pa_csv.write_csv(rows.slice(start, 864), tmp_path / f"{day}.csv")

    code, out, _ = evergreen("check", str(path), "--run-date", "2026-05-03")

    assert code == 0
    assert "1,728 rows keep the contract" in out
    assert "1 day without a part: '2026-05-02'" in out


def test_an_unknown_key_is_told_with_file_line_key_and_the_nearest_one(tmp_path: Path) -> None:
    path = write_config(tmp_path, a=("  epochs: 150", "  epoch: 150"))

    code, _, err = evergreen("run", str(path))

    line = 1 + path.read_text().splitlines().index("  epoch: 150")
    assert code == 2
    assert err.strip() == (
        f"error: {path}:{line}: training.epoch: unknown key; did you mean epochs?"
    )


def test_a_missing_config_is_told_with_the_nearest_file() -> None:
    code, _, err = evergreen("check", "configs/car_evaluatoin.yaml")

    assert code == 2
    assert "did you mean car_evaluation.yaml?" in err


def test_a_missing_file_of_rows_exits_2_and_names_it(tmp_path: Path) -> None:
    source = ("{kind: builtin, table: car_evaluation}", "{kind: csv, path: gone.csv}")
    path = write_config(tmp_path, a=source)

    code, _, err = evergreen("check", str(path))

    assert code == 2
    assert str(tmp_path / "gone.csv") in err


def test_broken_rows_exit_3_with_column_count_and_examples(tmp_path: Path) -> None:
    allowed = ("allowed: [low, med, high]", "allowed: [low, med]")
    path = write_config(tmp_path, a=allowed)

    code, _, err = evergreen("check", str(path))

    assert code == 3
    assert "column 'safety': 576 rows hold 'high'; allowed are 'low', 'med'" in err
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if allowed[1] in text)
    assert f"add them to `columns.safety.allowed` (cars.yaml:{line})" in err


def test_a_label_that_is_no_class_is_told_with_the_line_to_change(tmp_path: Path) -> None:
    path = write_config(tmp_path, a=("classes: [unacc, acc, good, vgood]", "classes: [unacc, acc]"))

    code, _, err = evergreen("check", str(path))

    lines = path.read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if "classes:" in text)
    assert code == 3
    assert f"add them to `data.classes` (cars.yaml:{line})" in err


def test_check_stops_at_a_table_that_was_loaded_twice(tmp_path: Path) -> None:
    source = '{kind: csv, path: "{YYYY}-{MM}-{DD}.csv", window_days: 2}'
    path = write_config(tmp_path, a=("{kind: builtin, table: car_evaluation}", source))
    for day in ("2026-05-02", "2026-05-03"):
        pa_csv.write_csv(car_evaluation(), tmp_path / f"{day}.csv")

    code, _, err = evergreen("check", str(path), "--run-date", "2026-05-03")

    assert code == 3
    assert "these rows are 2 copies of the same 1,728" in err


def test_check_holds_the_rows_against_the_nights_before(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    dataset = find_home().dataset(load_config(path).name)
    record = NightRecord(date(2026, 5, 1), 4000, "", {}, ())
    remember_night(Snapshot(tmp_path, "d", 4000, "old.csv", dataset=dataset), Night(record, None))

    code, _, err = evergreen("check", str(path), "--run-date", "2026-05-03")

    assert code == 3
    assert "1,728 rows, 57% fewer than the 4,000 rows of 2026-05-01 (old.csv)" in err


def test_a_target_with_a_blank_before_its_name_is_found(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("price, output\nlow,a\n")
    source = ("{kind: builtin, table: car_evaluation}", "{kind: csv, path: rows.csv}")
    path = write_config(tmp_path, a=source)

    code, _, err = evergreen("check", str(path))

    assert code == 3
    assert "column 'output': is missing, named by `data.target` (" in err
    assert "did you mean ' output'?" in err


def test_a_home_that_cannot_be_written_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    code, _, err = evergreen("run", str(CONFIG), EVERGREEN_HOME=str(tmp_path / "file" / "home"))

    assert code == 1
    assert "is a file. Rename it, or set EVERGREEN_HOME" in err
    assert "set EVERGREEN_HOME" in err


@pytest.mark.parametrize("arguments", [("deploy",), ("run", str(CONFIG))])
def test_an_absent_prefect_server_is_told_with_what_to_do(arguments: tuple[str, ...]) -> None:
    code, _, err = evergreen(*arguments, PREFECT_API_URL="http://127.0.0.1:9/api")

    assert code == 1
    assert "no Prefect server answers at http://127.0.0.1:9/api" in err


def test_deploying_without_a_named_server_says_how_to_start_one() -> None:
    code, _, err = evergreen("deploy")

    assert code == 1
    assert "prefect server start" in err
    assert "PREFECT_API_URL" in err


def test_an_absent_mlflow_server_is_reported_with_what_to_do() -> None:
    code, _, err = evergreen("compare", "cars", MLFLOW_TRACKING_URI="http://127.0.0.1:9")

    assert code == 1
    assert "no MLflow server answers at 127.0.0.1:9" in err


def test_codes_of_an_unknown_dataset_say_how_to_get_them() -> None:
    code, _, err = evergreen("codes", "cars")

    assert code == 2
    assert "evergreen run configs/cars.yaml" in err


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "a/b", ""])
def test_a_name_that_could_lie_anywhere_is_no_dataset(name: str) -> None:
    code, _, err = evergreen("codes", name)

    assert code == 2
    assert "is not a valid name of a dataset" in err


@pytest.mark.parametrize("limit", ["0", "-3", "100000"])
def test_a_limit_out_of_bounds_is_told(limit: str) -> None:
    code, _, err = evergreen("compare", "cars", "--limit", limit)

    assert code != 0
    assert "limit" in err.lower()


def test_a_password_in_an_address_is_not_printed() -> None:
    code, out, err = evergreen(
        "compare", "cars", MLFLOW_TRACKING_URI="http://me:secret@127.0.0.1:9"
    )

    assert code == 1
    assert "secret" not in out + err


def test_the_doctor_finds_this_environment_in_order() -> None:
    code, out, _ = evergreen("doctor", "--json")

    findings = {finding["subject"]: finding["health"] for finding in json.loads(out)}
    assert code == 0
    assert findings["packages"] == "ok"
    assert findings["prefect"] == "note"


def test_a_night_that_stops_says_so_in_json_and_by_its_exit_code(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("price,maint,doors,persons,lug_capacity,safety,output\n")
    source = ("{kind: builtin, table: car_evaluation}", "{kind: csv, path: empty.csv}")
    config = write_config(tmp_path, source=source)

    code, out, err = evergreen("run", str(config), "--json", EVERGREEN_HOME=str(tmp_path / "home"))

    facts = json.loads(out)
    assert code == 3
    assert facts["decision"] == "stopped"
    assert "empty.csv" in facts["reason"]
    assert f"error: {facts['detail']}" in err


def test_run_logs_each_stage_and_two_links_and_codes_then_answers(tmp_path: Path) -> None:
    home = {"EVERGREEN_HOME": str(tmp_path / "home")}

    code, out, err = evergreen(
        "run",
        str(CONFIG),
        "--set=training.epochs=5",
        "--set=promotion.floor=0.1",
        "--promote",
        **home,
    )

    assert code == 0, err
    stages = ("ingest", "validate", "split", "encode", "train", "evaluate", "decide", "register")
    assert all(f"  {stage}" in out for stage in stages)
    assert "promoted (version 1)" in out
    assert "/runs/flow-run/" in out
    assert "/#/experiments/" in out
    _, codes, _ = evergreen("codes", "car_evaluation", "safety", **home)
    assert [line.split()[1:3] for line in codes.splitlines()[1:]] == [
        ["0", "(unseen)"],
        ["1", "(missing)"],
        ["2", "high"],
        ["3", "low"],
        ["4", "med"],
    ]


@pytest.mark.slow
def test_a_run_from_another_place_keeps_its_state_in_the_project_and_prints_nothing_but_json(
    tmp_path: Path,
) -> None:
    (tmp_path / "project" / "configs").mkdir(parents=True)
    (tmp_path / "project" / "prefect.yaml").touch()
    config = write_config(tmp_path / "project" / "configs")
    command = [sys.executable, "-m", "evergreen", "run", str(config), "--json"]
    (tmp_path / "here").mkdir()

    done = subprocess.run(  # nothing in the environment, as cron and `env -i` have it
        [*command, "--set", "training.epochs=3", "--set", "promotion.floor=0.1"],
        cwd=tmp_path / "here",
        env={},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )

    home = tmp_path / "project" / ".evergreen"
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["report"].startswith(f"{home}/runs/")
    assert f"home made: {home}\n" in done.stderr
    assert list((tmp_path / "here").iterdir()) == []
    assert {"mlflow.db", "artifacts", "prefect", "runs", "datasets"} <= {
        path.name for path in home.iterdir()
    }
