"""Who can write to the artifact store changes a package: what its consumers would run is noticed.

A package is code. Nobody keeps a consumer from running what lies there; the next night says it.
"""

import importlib.util
import json
import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from pipeline_lib import fit
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.errors import ModelError
from pipeline_lib.evaluation.journal import JournalEntry
from pipeline_lib.home import find_home
from pipeline_lib.tracking.champions import why_again
from pipeline_lib.tracking.package import package_model, verify_package
from pipeline_lib.tracking.registry import find_twin, promote, read_champion, register_version
from pipeline_lib.tracking.runs import TrackedRun, start_run
from pipeline_lib.tracking.store import connect
from pipeline_lib.tracking.versions import package_digest
from tests.conftest import MakeConfig, MakeTable

NAME = "toy"
EVIL = "import pathlib\npathlib.Path({mark!r}).write_text('ran')\n"
PAST = JournalEntry(
    "2026-11-28T02:00:00+00:00", "promoted", "", "1", "key-1", "", "d", "c", champion="1"
)


@dataclass(frozen=True)
class Store:
    """A champion's package in the home's artifact store, and the model that it was made of."""

    home: Path
    package: Path
    model: Path
    run: TrackedRun

    @property
    def client(self) -> MlflowClient:
        """A client of the store."""
        return self.run.client


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, table_config: MakeConfig, toy_table: MakeTable
) -> Store:
    """Return a home with one version, the champion."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("model") / "model"
    config, snapshot = (
        table_config(),
        Snapshot(folder.parent, "ab" * 32, 200, "toy.csv", dataset=find_home().dataset("toy")),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        fit(config, toy_table(200)).save(folder)
        with start_run(
            config, find_home(), snapshot, run_key="key-1", run_name="n", tags={}
        ) as reference:
            run = TrackedRun.of(reference)
            version = register_version(run, NAME, package_model(run, folder), folder, {})
        promote(run.client, version, instead_of="")
        return Store(home, Path(download_artifacts(f"models:/{NAME}/1")), folder, run)


@pytest.fixture
def store(made: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Return the store, whose package is whole again after the test."""
    monkeypatch.setenv("EVERGREEN_HOME", str(made.home))
    connect(find_home())
    shutil.copytree(made.package, tmp_path / "whole")
    yield made
    shutil.rmtree(made.package)
    shutil.copytree(tmp_path / "whole", made.package)


def _bytecode(package: Path, name: str, code: str, *, flags: int = 0, tag: str = "") -> None:
    """Plant bytecode that Python takes for that of a file."""
    source = package / name
    facts = source.stat()
    cached = Path(importlib.util.cache_from_source(str(source), optimization=tag))
    cached.parent.mkdir(exist_ok=True)
    header = importlib.util.MAGIC_NUMBER + flags.to_bytes(4, "little")
    header += int(facts.st_mtime).to_bytes(4, "little") + facts.st_size.to_bytes(4, "little")
    cached.write_bytes(header + marshal.dumps(compile(code, name, "exec")))


def _append(package: Path, name: str, text: str) -> None:
    with (package / name).open("a") as file:
        file.write(text)


def _loader(package: Path) -> None:
    text = (package / "MLmodel").read_text()
    assert "loader_module: mlflow.pyfunc.loaders.code_model" in text
    (package / "MLmodel").write_text(text.replace("mlflow.pyfunc.loaders.code_model", "evil"))


INIT = "code/pipeline_lib/__init__.py"
ATTACKS: dict[str, Callable[[Path], object]] = {
    "model code": lambda p: _append(p, "model_code.py", "\n"),
    "a package's init": lambda p: _append(p, INIT, "\n"),
    "loader module": _loader,
    "requirements": lambda p: _append(p, "requirements.txt", "evil==1.0\n"),
    "conda": lambda p: _append(p, "conda.yaml", "# \n"),
    "python_env": lambda p: _append(p, "python_env.yaml", "# \n"),
    "a module that shadows another": lambda p: (p / "code/json.py").write_text(""),
    "sitecustomize": lambda p: (p / "code/sitecustomize.py").write_text(""),
    "a file removed": lambda p: (p / "code/pipeline_lib/errors.py").unlink(),
    "two files exchanged": lambda p: (p / INIT).replace(p / "code/pipeline_lib/errors.py"),
    "bytecode of the model code": lambda p: _bytecode(p, "model_code.py", "1"),
    "bytecode of our code": lambda p: _bytecode(p, "code/pipeline_lib/home.py", "1"),
    "bytecode for python -O": lambda p: _bytecode(p, INIT, "1", tag="1"),
    "bytecode never compared with its source": lambda p: _bytecode(p, INIT, "1", flags=1),
    "bytecode beside the code": lambda p: (p / "code/torch.pyc").write_bytes(b""),
    "a name like MLflow's own": lambda p: (p / "code/registered_model_meta").write_text(""),
    "a name that is no text": lambda p: Path(os.fsdecode(bytes(p) + b"/\xff.py")).write_text(""),
    "a link to a folder": lambda p: (p / "code/torch").symlink_to("/tmp"),
    "a link to a file": lambda p: (p / "code/json.py").symlink_to("/etc/passwd"),
    "links in circles": lambda p: [(p / "code" / n).symlink_to(p) for n in ("a", "b", "c")],
    "a pipe": lambda p: os.mkfifo(p / "code/json.py"),
    "the weights": lambda p: _append(p, "artifacts/model/model.safetensors", "x"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_package_that_was_changed_is_noticed_whatever_file_it_is(
    store: Store, attack: str
) -> None:
    ATTACKS[attack](store.package)

    champion = read_champion(store.client, NAME)
    assert why_again(store.client, NAME, PAST, "1").startswith("champion v1 cannot be used: its f")
    assert champion is not None
    assert champion.problem.startswith("its files ")


def _consumer(package: Path) -> subprocess.CompletedProcess[str]:
    """Load the package in place, as a consumer of an artifact store on this machine does."""
    script = "import sys, mlflow.pyfunc; mlflow.pyfunc.load_model(sys.argv[1])"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, "-P", "-c", script, str(package)],
        cwd=package,
        env=environment,
        capture_output=True,
        check=False,
        text=True,
        timeout=900,
    )


@pytest.mark.slow
def test_bytecode_that_a_consumer_leaves_is_told_from_bytecode_that_was_planted(
    store: Store, tmp_path: Path
) -> None:
    assert _consumer(store.package).returncode == 0
    left = list(store.package.rglob("*.pyc"))
    before = why_again(store.client, NAME, PAST, "1")

    code = EVIL.format(mark=str(tmp_path / "ran"))
    _bytecode(store.package, "code/pipeline_lib/serving/__init__.py", code)
    _consumer(store.package)

    assert len(left) > 20
    assert before == ""
    assert (tmp_path / "ran").exists()  # the attack is one
    assert "serving/__pycache__" in why_again(store.client, NAME, PAST, "1")


def test_a_package_that_is_changed_between_packaging_and_registering_is_neither_run_nor_registered(
    store: Store, tmp_path: Path
) -> None:
    import pandas as pd

    uri = package_model(store.run, store.model)
    package = Path(download_artifacts(uri))
    _append(package, "model_code.py", EVIL.format(mark=str(tmp_path / "ran")))
    rows = pd.DataFrame({"color": ["red"], "size": [10.0]})

    with pytest.raises(ModelError, match="changed after they were registered"):
        verify_package(find_home(), uri, rows, rows)
    with pytest.raises(ModelError, match="changed after they were registered"):
        register_version(store.run, "other", uri, store.model, {})

    assert not (tmp_path / "ran").exists()
    assert store.client.search_model_versions("name = 'other'") == []


def test_whether_a_package_is_whole_is_told_without_importing_torch(store: Store) -> None:
    script = (
        "import sys, json\n"
        "from pipeline_lib.home import find_home\n"
        "from pipeline_lib.tracking.store import connect\n"
        "from pipeline_lib.tracking.versions import champion_version, what_is_wrong_with\n"
        f"home = find_home()\n"
        f"found = what_is_wrong_with(home, champion_version(connect(home), {NAME!r}))\n"
        "print(json.dumps([found, 'torch' in sys.modules]))\n"
    )
    _append(store.package, "MLmodel", "\n")

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=300
    )

    assert find_twin(store.client, NAME, "key-1", package_digest(store.model)) is None
    found, has_torch = json.loads(done.stdout.splitlines()[-1])
    assert found.startswith("its files were changed")
    assert not has_torch
