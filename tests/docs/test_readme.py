"""What the README says is true: its Python runs, its commands exist, its config loads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_lib.config import load_config

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
PAGES = [
    *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(PROJECT / "docs").rglob("*.md"),
]


def _commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line for line in lines if line.startswith("evergreen ")]


def test_python_in_the_readme_prints_what_it_says(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (tmp_path / "configs").symlink_to(PROJECT / "configs")
    said = re.findall(r"^# prints (.*)$", block, flags=re.MULTILINE)

    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert said
    assert done.stdout.splitlines() == said


def test_every_command_in_the_readme_exists() -> None:
    commands = {line.split()[1] for line in _commands()}

    shown = subprocess.run(
        [sys.executable, "-m", "evergreen", "--help"], capture_output=True, text=True, check=True
    ).stdout

    assert commands
    assert all(f" {command} " in shown for command in commands)


def test_every_command_of_evergreen_is_in_the_readme() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "evergreen", "--help"], capture_output=True, text=True, check=True
    ).stdout

    names = re.findall(r"^│ (\w+) ", shown, flags=re.MULTILINE)

    assert names
    assert all(f"evergreen {name}" in README for name in names), names


def test_the_config_in_the_readme_loads(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert block is not None
    (tmp_path / "adult_income.yaml").write_text(block[1])

    config = load_config(tmp_path / "adult_income.yaml")

    assert config.name == "adult_income"


def test_the_config_in_the_readme_fits_the_real_table(tmp_path: Path) -> None:
    table = PROJECT.parent / "shared" / "data" / "adult_income.csv"
    if not table.exists():
        pytest.skip(f"{table} is not there")
    block = re.search(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    assert block is not None
    (tmp_path / "adult_income.yaml").write_text(
        block[1].replace("data/adult_income.csv", str(table))
    )

    done = subprocess.run(
        [sys.executable, "-m", "evergreen", "check", str(tmp_path / "adult_income.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "32,561 rows keep the contract" in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))

    inside = [link for link in links if "://" not in link]

    assert [link for link in inside if not (page.parent / link).exists()] == []


def test_the_reference_is_made_from_the_settings_as_they_are() -> None:
    from evergreen.reference import TARGET, reference

    assert TARGET.read_text(encoding="utf-8") == reference(), "run python -m evergreen.reference"


def test_every_kind_has_a_row_of_its_own_in_the_reference() -> None:
    page = (PROJECT / "docs" / "reference" / "config.md").read_text(encoding="utf-8")

    for kind in ("none", "lambda", "step", "multistep", "exponential", "cosine", "plateau"):
        assert f"`training.scheduler` of kind `{kind}`" in page
    for kind in ("onecycle", "cosine_warmup"):
        assert f"`training.scheduler` of kind `{kind}`" in page
