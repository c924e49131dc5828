"""Which Python files run because of where they lie, or because a config names them."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline_lib.config.validation import FunctionRule
from pipeline_lib.data.contract.row_rules import compile_rules
from pipeline_lib.errors import RuleError

PROJECT = Path(__file__).resolve().parents[2]
TABLE = pa.table({"price": [1.0, 2.0]})


def mark(path: Path) -> None:
    """Write a module that tells that it ran."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ran = path.with_name(f"{path.name}.ran")
    path.write_text(
        f"open({str(ran)!r}, 'w').close()\ndef check(rows): return [True] * 2\nx = check\n"
    )


def ran(root: Path) -> list[str]:
    """Return the modules below a folder that ran."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.ran"))


def test_files_beside_which_the_command_is_typed_stand_in_for_no_library(tmp_path: Path) -> None:
    for name in ("json", "csv", "logging", "typing", "datetime", "numpy", "cyclopts", "pydantic"):
        mark(tmp_path / f"{name}.py")
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONSAFEPATH", "PYTHONPATH")}

    done = subprocess.run(
        [sys.executable, "-m", "evergreen", "check", "--help"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )

    assert ran(tmp_path) == []
    assert "Check a config" in done.stdout


@pytest.mark.parametrize(
    "function",
    [
        "configs.torch:x",
        "configs.deep.torch:x",
        "data.evil:check",
        "tests.evil:check",
        "house.evil:check",
        "house:check",
        "rules.sub.evil:check",
        "rules.sub:check",
        "json:loads",
        "os:system",
        "statistics:check",
        "__main__:check",
        "pipeline_lib.storage:x",
        "numpy:isnan",
        "numpy.random:x",
        "_private..x:check",
    ],
)
def test_a_rule_runs_no_file_but_of_the_root_or_the_package_rules(
    tmp_path: Path, function: str
) -> None:
    for name in ("configs/torch", "configs/deep/torch", "data/evil", "tests/evil", "house/evil",
                 "house/__init__", "rules/sub/evil", "statistics", "json", "__main__"):  # fmt: skip
        mark(tmp_path / f"{name}.py")
    (tmp_path / "rules" / "__init__.py").write_text("")
    rule = FunctionRule(name="house", function=function)

    with pytest.raises(RuleError) as refused:
        compile_rules([rule], TABLE.schema, root=tmp_path)

    assert ran(tmp_path) == []
    assert "rule 'house'" in str(refused.value)
    assert "a module NAME.py in" in str(refused.value)
    assert len(str(refused.value)) < 600


def test_what_a_rule_imports_is_not_found_beside_it_when_a_library_has_the_name(
    tmp_path: Path,
) -> None:
    for name in ("colorsys", "wave", "tabnanny", "mako"):
        mark(tmp_path / f"{name}.py")
        sys.modules.pop(name, None)
    (tmp_path / "house_checks.py").write_text(
        "import colorsys, wave, tabnanny, mako\ndef check(rows): return [True] * 2\n"
    )

    compile_rules(
        [FunctionRule(name="h", function="house_checks:check")], TABLE.schema, root=tmp_path
    )

    del sys.modules["house_checks"]
    assert ran(tmp_path) == []


def test_a_worker_that_loads_a_flow_leaves_no_file_of_the_project_before_the_libraries(
    tmp_path: Path,
) -> None:
    (tmp_path / "flows").symlink_to(PROJECT / "flows")
    for name in ("colorsys", "wave", "mako"):
        mark(tmp_path / f"{name}.py")
    program = """
import os, sys
sys.path[:0] = [os.path.abspath("flows"), os.getcwd()]  # as Prefect's loader does
import flows
import colorsys, wave, mako
assert os.getcwd() in sys.path
"""

    subprocess.run([sys.executable, "-P", "-c", program], cwd=tmp_path, check=True, timeout=900)

    assert ran(tmp_path) == []
