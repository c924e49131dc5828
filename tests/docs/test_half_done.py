"""What is added by half is refused: a kind, a metric, a command or a task without its other places.

CONTRIBUTING.md lists the places. A kind without a `case` is pyright's to refuse, in `make check`;
what pyright does not see is refused here.
"""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from evergreen.app import app
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.execution import StageTimeouts
from pipeline_lib.config.metrics import Metric
from pipeline_lib.config.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("evergreen", "flows", "tasks", "pipeline_lib")
REFERENCE = PROJECT / "docs" / "reference" / "config.md"

# Where each kind of a union is tested; a union that is not here has no tests.
TESTS_OF = {
    "columns": "tests/unit/encoding",
    "columns.scaling": "tests/unit/encoding",
    "data.source": "tests/unit/data/sources",
    "model": "tests/unit",
    "model.members": "tests/unit/models",
    "split": "tests/unit/data/splits",
    "training.loss": "tests/unit/training/test_losses.py",
    "training.optimizer": "tests/unit/training/test_optimizers.py",
    "training.scheduler": "tests/unit/training/test_schedulers.py",
    "validation.rules": "tests/unit/data/contract",
}
# The alias that makes each of them, in a file of pipeline_lib/config.
UNIONS = (
    "Column",
    "LossSettings",
    "MemberSettings",
    "AnyKind",
    "OptimizerSettings",
    "Rule",
    "Scaling",
    "SchedulerSettings",
    "Source",
    "Split",
)


# Tested wherever a config names none.
DEFAULTS: set[type] = set()


def _kinds(key: str, annotation: object) -> Iterator[tuple[str, type[Settings]]]:
    """Yield each settings class with a `kind` below a key of the config, with that key."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        if "kind" in annotation.model_fields:
            yield key, annotation
        for name, field in annotation.model_fields.items():
            DEFAULTS.add(type(field.default))
            yield from _kinds(f"{key}.{name}".removeprefix("."), field.annotation)
        return
    for argument in get_args(annotation):
        yield from _kinds(key, argument)


KINDS = sorted(
    {(key, cls) for key, cls in _kinds("", PipelineConfig)}, key=lambda p: (p[0], p[1].__name__)
)


def _texts(place: str) -> str:
    path = PROJECT / place
    files = sorted(path.rglob("test_*.py")) if path.is_dir() else [path]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_every_union_of_the_config_names_the_tests_of_its_kinds() -> None:
    assert {key for key, _ in KINDS} == set(TESTS_OF)


@pytest.mark.parametrize(("key", "cls"), KINDS, ids=lambda value: getattr(value, "__name__", value))
def test_every_kind_is_tested_where_the_kinds_of_its_union_are(
    key: str, cls: type[Settings]
) -> None:
    kind = cls.model_fields["kind"].default
    written = rf"""kind["']?[:=] ?["']?{kind}\b|\b{cls.__name__}\("""

    is_tested = cls in DEFAULTS or re.search(written, _texts(TESTS_OF[key]))
    assert is_tested, f"no test in {TESTS_OF[key]} names {kind!r}"


@pytest.mark.parametrize(("key", "cls"), KINDS, ids=lambda value: getattr(value, "__name__", value))
def test_every_kind_has_a_section_of_the_reference(key: str, cls: type[Settings]) -> None:
    title = f"## `{key}` of kind `{cls.model_fields['kind'].default}`\n"

    assert title in REFERENCE.read_text(encoding="utf-8"), "run python -m evergreen.reference"


@pytest.mark.parametrize("metric", get_args(Metric))
@pytest.mark.parametrize("place", ["training", "evaluation"])
def test_every_metric_is_compared_with_an_independent_figure_in_training_and_evaluation(
    metric: str, place: str
) -> None:
    assert f'"{metric}"' in _texts(f"tests/unit/{place}")


def _functions(file: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.FunctionDef)]


def test_every_file_that_holds_a_command_is_registered_and_every_registered_one_exists() -> None:
    files = (PROJECT / "evergreen" / "commands").glob("*.py")

    written = {
        file.stem for file in files if file.stem in {function.name for function in _functions(file)}
    }

    assert {name for name in app if not name.startswith("-")} == written


@pytest.mark.parametrize(
    "file", sorted((PROJECT / "evergreen" / "commands").glob("[a-z]*.py")), ids=lambda f: f.stem
)
def test_every_command_is_typed_by_a_test(file: Path) -> None:
    assert f'"{file.stem}"' in _texts("tests/commands") + _texts("tests/flows")


def test_every_task_is_called_by_a_flow_and_has_the_name_of_its_file() -> None:
    flows = "\n".join(file.read_text(encoding="utf-8") for file in PROJECT.glob("flows/*.py"))

    tasks = {
        file.stem: [f.name for f in _functions(file) if "task" in map(_name, f.decorator_list)]
        for file in PROJECT.glob("tasks/*.py")
    }

    made = {stem: names for stem, names in tasks.items() if names}
    assert made
    assert {stem: [stem] for stem in made} == made
    assert [stem for stem in made if f"from tasks.{stem} import {stem}\n" not in flows] == []


def test_every_task_that_is_a_stage_has_a_time_out_and_every_time_out_is_of_a_stage() -> None:
    flow = (PROJECT / "flows" / "retrain.py").read_text(encoding="utf-8")

    stages = set(re.findall(r"\bstages?\((\w+)\)", flow))

    without = {"identify", "look_back"}  # these two have no setting
    assert stages - without == set(StageTimeouts.model_fields)


def _name(decorator: ast.expr) -> str:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return ast.unparse(called)


def _add_by_half(copy: Path, union: str) -> None:
    """Add a kind to a union of the copy's config, and nothing anywhere else."""
    (file, text) = next(
        (file, text)
        for file in sorted((copy / "pipeline_lib" / "config").glob("*.py"))
        if re.search(rf"^{union} = ", text := file.read_text(encoding="utf-8"), re.MULTILINE)
    )
    line = re.compile(rf"^{union} = (Annotated\[|\(\n)?", re.MULTILINE)
    cls = f'class Half{union}(Settings):\n    kind: Literal["half"] = "half"\n\n\n'
    changed = line.sub(lambda found: f"{cls}{found[0]}Half{union} | ", text, count=1)
    file.write_text(changed, encoding="utf-8")


@pytest.mark.slow
def test_pyright_refuses_a_kind_without_a_case_and_a_metric_that_nothing_computes(
    tmp_path: Path,
) -> None:
    for folder in (*PACKAGES, "typings"):
        shutil.copytree(
            PROJECT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    for union in UNIONS:
        _add_by_half(tmp_path, union)
    metrics = next(
        file
        for file in (tmp_path / "pipeline_lib" / "config").glob("*.py")
        if re.search(r"^Metric = Literal\[", file.read_text(encoding="utf-8"), re.MULTILINE)
    )
    text = metrics.read_text(encoding="utf-8")
    metrics.write_text(text.replace("Metric = Literal[", 'Metric = Literal["half_metric", ', 1))

    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    missing = [
        name
        for name in (*(f"Half{union}" for union in UNIONS), "half_metric")
        if not re.search(rf'Argument of type "[^\n]*{name}[^\n]*\n?[^\n]*"Never"', done.stdout)
    ]
    assert missing == [], done.stdout[-3000:]


def test_every_place_that_contributing_names_exists() -> None:
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = "config|data|encoding|evaluation|models|monitoring|proposal|serving|tracking|training"
    found = re.findall(rf"`((?:{rooms}|tests|evergreen|flows|tasks|pipeline_lib)/[\w/.]*)`", text)

    named = [place for place in found if "NAME" not in place]
    missing = {
        place
        for place in named
        if not (PROJECT / place).exists() and not (PROJECT / "pipeline_lib" / place).exists()
    }

    assert len(named) > 30
    assert missing == set()
