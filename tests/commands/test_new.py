"""`evergreen new`, as a person types it: a config that holds, a page, a line per mistake."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from evergreen.commands.new import shortest
from pipeline_lib.config import load_config
from pipeline_lib.config.json_schema import SCHEMA_FILE

PROJECT = Path(__file__).resolve().parents[2]
DATA = PROJECT.parent / "shared" / "data"


def evergreen(*arguments: str, cwd: Path, **environment: str) -> tuple[int, str, str]:
    """Run the command in a clean process; return exit code, output and errors."""
    done = subprocess.run(
        [sys.executable, "-m", "evergreen", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with a table of houses: `agent fee` + `net` make the price."""
    (tmp_path / "prefect.yaml").write_text("")
    (tmp_path / "data").mkdir()
    random = np.random.default_rng(0)
    rows = [" id,city,net,agent fee,rooms,price"]
    for number in range(300):
        net, fee = random.integers(50_000, 900_000), random.integers(1_000, 20_000)
        city = random.choice(["Köln", "Bonn", "?"])
        rooms = f"{random.lognormal(1, 1):.2f}"
        rows.append(f"h{number * 7:x}, {city},{net},{fee},{rooms},{net + fee}")
    (tmp_path / "data" / "House Prices.csv").write_text("\n".join(rows), encoding="utf-8")
    return tmp_path


def test_a_config_is_written_that_loads_and_that_check_is_content_with(project: Path) -> None:
    code, out, err = evergreen("new", "data/House Prices.csv", "--target", "price", cwd=project)

    assert code == 0, err
    config = load_config(project / "configs" / "house_prices.yaml")
    assert config.name == "house_prices"
    assert config.data.source.model_dump()["path"] == "data/House Prices.csv"
    assert config.data.key == ("id",)
    assert set(config.columns) == {"city", "rooms"}
    assert "evergreen run configs/house_prices.yaml" in out
    text = (project / "configs" / "house_prices.yaml").read_text("utf-8")
    schema = json.loads((project / "configs" / SCHEMA_FILE).read_text("utf-8"))
    assert text.splitlines()[0] == f"# yaml-language-server: $schema={SCHEMA_FILE}"
    assert list(Draft202012Validator(schema).iter_errors(YAML(typ="safe").load(text))) == []
    code, out, _ = evergreen("check", "configs/house_prices.yaml", cwd=project)
    assert code == 0
    assert "300 rows keep the contract" in out


def test_the_page_tells_what_was_left_out_and_why(project: Path) -> None:
    _, out, _ = evergreen("new", "data/House Prices.csv", "--target", "price", cwd=project)

    lines = [line.split(maxsplit=1) for line in out.splitlines()]
    assert ["net", "leaks: price = net + agent fee, exactly"] in lines
    assert "predict price: regression, 300 different numbers" in out
    assert "'?' counts as no value, in city" in out


def test_nothing_but_json_is_printed_when_asked_for(project: Path) -> None:
    arguments = ("data/House Prices.csv", "--target", "price", "--json")
    code, out, _ = evergreen("new", *arguments, cwd=project)

    facts = json.loads(out)
    assert code == 0
    assert facts["leaks"] == [
        {
            "columns": ["net", "agent fee"],
            "kind": "formula",
            "score": 1.0,
            "reason": "price = net + agent fee, exactly",
        }
    ]
    assert facts["columns"]["id"]["part"] == "id"
    assert facts["config"] == "configs/house_prices.yaml"


def test_a_config_that_is_there_is_replaced_only_by_force(project: Path) -> None:
    path = project / "configs" / "house_prices.yaml"
    path.parent.mkdir()
    path.write_text("mine")
    arguments = ("new", "data/House Prices.csv", "--target", "price")

    code, _, err = evergreen(*arguments, cwd=project)

    assert code == 2
    assert "configs/house_prices.yaml exists already; replace it with --force" in err
    assert path.read_text() == "mine"
    assert evergreen(*arguments, "--force", cwd=project)[0] == 0
    assert path.read_text() != "mine"


def test_a_name_and_a_place_can_be_given(project: Path) -> None:
    arguments = ("--target", "price", "--name", "homes", "--out", "elsewhere/mine.yaml")
    code, _, err = evergreen("new", "data/House Prices.csv", *arguments, cwd=project)

    assert code == 0, err
    assert load_config(project / "elsewhere" / "mine.yaml").name == "homes"
    names = sorted(path.name for path in (project / "elsewhere").iterdir())
    assert names == [SCHEMA_FILE, "mine.yaml"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("data/House Prices.csv", "--target", "pric"), 2, "did you mean price?"),
        (("data/House Price.csv", "--target", "price"), 2, "did you mean House Prices.csv?"),
        (("data/House Prices.csv", "--target", "id"), 3, "column 'id' cannot be predicted"),
        (("data", "--target", "price"), 3, "is a folder"),
        (("data/House Prices.csv", "--target", "price", "--name", "../x"), 2, "is not a name"),
        (("sqlite:///x.db", "--target", "price"), 2, "--query"),
        (("data/*.csv", "--target", "price"), 2, "give one with --name"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_leaves_nothing(
    project: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    if "*" in arguments[0]:
        (project / "data").rename(project / "1")
        arguments = ("1/*.csv", *arguments[1:])

    found, out, err = evergreen("new", *arguments, cwd=project)

    assert found == code
    assert told in err
    assert len(err.splitlines()) == 1
    assert out == ""
    assert not (project / "configs").exists()


def test_a_place_that_cannot_be_written_is_told(project: Path) -> None:
    arguments = ("--target", "price", "--out", "prefect.yaml/x.yaml")
    code, _, err = evergreen("new", "data/House Prices.csv", *arguments, cwd=project)

    assert code == 1
    assert "cannot write" in err


def test_help_tells_what_there_is(tmp_path: Path) -> None:
    code, out, _ = evergreen("new", "--help", cwd=tmp_path)

    assert code == 0
    for option in ("--target", "--name", "--out", "--force", "--json", "--query"):
        assert option in out


def test_looking_at_a_table_imports_nothing_heavy(project: Path) -> None:
    arguments = ("new", "data/House Prices.csv", "--target", "price")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "evergreen", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )

    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not imported & {"torch", "mlflow", "prefect", "sklearn", "matplotlib"}


@pytest.mark.parametrize(
    ("file", "target"),
    [
        ("adult_income", "income"),
        ("bike_hour", "cnt"),
        ("car_evaluation", "output"),
        ("diamonds", "price"),
        ("open_payments", "status"),
    ],
)
def test_a_real_table_gets_a_config_that_check_is_content_with(
    tmp_path: Path, file: str, target: str
) -> None:
    table = DATA / f"{file}.csv"
    if not table.exists():
        pytest.skip(f"{table} is not there")
    out = str(tmp_path / "proposed.yaml")

    code, _, err = evergreen("new", str(table), "--target", target, "--out", out, cwd=tmp_path)

    assert code == 0, err
    assert evergreen("check", out, cwd=tmp_path)[0] == 0


def test_a_table_that_was_loaded_twice_gets_a_config_and_is_told(project: Path) -> None:
    rows = [f"{n * n % 997 / 7:.4f},{n % 2}" for n in range(300)]
    (project / "twice.csv").write_text("\n".join(["x,late", *rows, *rows]) + "\n")

    code, out, err = evergreen("new", "twice.csv", "--target", "late", cwd=project)

    assert code == 0, err
    assert "these rows are 2 copies of the same 300" in out
    assert "`validation.duplicates` stops the run" in out
    code, _, err = evergreen("check", "configs/twice.yaml", cwd=project)
    assert code == 3
    assert "these rows are 2 copies of the same 300" in err


def test_a_path_is_shown_from_the_working_directory_unless_that_is_the_root_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "runs" / "report.md"

    monkeypatch.chdir(tmp_path)
    assert shortest(page) == Path("runs/report.md")
    monkeypatch.chdir("/")
    assert shortest(page) == page.resolve()


def test_a_table_of_a_folder_without_prefect_yaml_is_found_after_a_move(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    rows = "".join(f"{n % 7},{'ab'[n % 2]}\n" for n in range(300))
    (before / "toy.csv").write_text(f"x,y\n{rows}")
    code, _, err = evergreen("new", "toy.csv", "--target", "y", cwd=before)
    assert code == 0, err

    before.rename(after)

    code, out, err = evergreen("check", "toy", cwd=after)
    assert code in (0, 3), err  # these rows repeat; the table is found
    assert str(after / "toy.csv") in out + err
