"""A package is complete: nothing but its own requirements.txt is needed to load it and predict."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from mlflow.artifacts import download_artifacts
from packaging.requirements import Requirement

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.models import KindSettings
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.home import find_home
from pipeline_lib.tracking.package import package_model
from pipeline_lib.tracking.runs import TrackedRun, start_run
from tests.unit.tracking.conftest import MakeConfig, MakeTable

KINDS = [
    kind
    for cls in get_args(get_args(KindSettings)[0])
    if (kind := cls.model_fields["kind"].default) != "catboost" or find_spec("catboost")
]
ROWS = pd.DataFrame(
    {"color": ["red", "never seen", None, "blue"], "size": [20.0, -3.0, 1e6, np.nan]}
)
_PREDICT = """
import sys
sys.path[:0] = [folder for folder in sys.argv[3:]]
import mlflow, pandas as pd
for package in sys.argv[2].split(","):
    model = mlflow.pyfunc.load_model(package)
    model.predict(pd.read_parquet(sys.argv[1])).to_parquet(package + ".answers")
"""

Packages = dict[str, tuple[Path, pd.DataFrame]]


@pytest.fixture
def packages(
    table_config: MakeConfig, toy_table: MakeTable, snapshot: Snapshot, tmp_path: Path
) -> Packages:
    """Return a package of each kind, and what its model predicts."""
    found: Packages = {}
    for kind in KINDS:
        toy = table_config(
            name=f"environment_{kind}",
            columns={
                "color": {"kind": "category", "nullable": True},
                "size": {"kind": "number", "nullable": True},
            },
        )
        tree = {**toy.model_dump(mode="json"), "model": {"kind": kind}}
        model = fit(PipelineConfig.model_validate(tree), toy_table(300))
        model.save(tmp_path / kind / "saved")
        with start_run(
            toy, find_home(), snapshot, run_key=f"key-{kind}", run_name="n", tags={}
        ) as reference:
            uri = package_model(TrackedRun.of(reference), tmp_path / kind / "saved")
        shutil.copytree(download_artifacts(uri), tmp_path / kind / "package")
        found[kind] = (tmp_path / kind / "package", model.predict(ROWS))
    return found


def _answered(packages: Packages, python: Path, folder: Path, *paths: str) -> None:
    """Let a Python that knows nothing of ours predict with each package; compare."""
    ROWS.to_parquet(folder / "rows.parquet")
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "VIRTUAL_ENV"))}
    places = ",".join(str(package) for package, _ in packages.values())

    done = subprocess.run(
        [python, "-I", *(["-S"] if paths else []), "-c", _PREDICT, "rows.parquet", places, *paths],
        cwd=folder,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    for package, expected in packages.values():
        answers = pd.read_parquet(f"{package}.answers")
        pd.testing.assert_frame_equal(answers, expected, check_exact=True)


def _closure(requirements: Iterable[str]) -> dict[str, Distribution]:
    """Return the distributions that pip would install for requirements, of those that are here."""
    found, waiting = dict[str, Distribution](), [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        extras = {"", *requirement.extras}
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        here = distribution(requirement.name)
        key = f"{here.name}[{','.join(sorted(extras))}]"
        if key in found:
            continue
        found[key] = here
        for line in here.requires or ():
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate({"extra": e}) for e in extras):
                inner.marker = None
                waiting.append(inner)
    return found


def test_what_a_package_imports_comes_with_its_requirements(
    packages: Packages, tmp_path: Path
) -> None:
    """No environment is built: the files of other distributions are not there to be imported."""
    site = tmp_path / "site"
    for package, _ in packages.values():
        lines = (package / "requirements.txt").read_text().splitlines()
        for here in _closure(lines).values():
            for file in here.files or ():
                link, target = site / file, Path(str(here.locate_file(file)))
                if ".." not in file.parts and target.is_file() and not link.exists():
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(target)

    assert not (site / "prefect").exists()
    _answered(packages, Path(sys.executable), tmp_path, str(site))


@pytest.mark.slow
def test_a_package_predicts_in_an_environment_made_of_its_requirements(
    packages: Packages, tmp_path: Path
) -> None:
    environment, lines = tmp_path / "environment", set[str]()
    for package, _ in packages.values():
        lines |= set((package / "requirements.txt").read_text().splitlines())
    (tmp_path / "requirements.txt").write_text("\n".join(sorted(lines)))
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python, pip = environment / "bin/python", ["-m", "pip", "install", "--quiet"]
    built = subprocess.run(
        [python, *pip, "-r", "requirements.txt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode and "No matching distribution" in built.stderr:
        pytest.skip(f"no package index: {built.stderr.strip().splitlines()[-1]}")

    assert built.returncode == 0, built.stderr
    _answered(packages, python, tmp_path)
