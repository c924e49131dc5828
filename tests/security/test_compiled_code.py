"""Another user lays out compiled code where torch would look for its own."""

import getpass
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_lib.errors import StorageError
from pipeline_lib.home import find_home
from pipeline_lib.training.compiling import keep_compiled_code_private

PROJECT = Path(__file__).resolve().parents[2]
_TRAIN = """
from tests.unit.training.loops import small_loop
print(len(list(small_loop(compile={}, epochs=1).epochs())))
"""
_FIT = """
from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
tree = {
    "name": "toy",
    "data": {"source": {"kind": "csv", "path": "-"}, "target": "y", "task": "binary"},
    "columns": {"x": {"kind": "number"}},
    "model": {"kind": "linear"},
    "training": {"device": "cpu"},
}
rows = {"x": [float(i) for i in range(60)], "y": ["a", "b", "b"] * 20}
print(len(fit(PipelineConfig.model_validate(tree), rows).predict({"x": 1.0})))
"""


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def _train(script: str, **environment: Path) -> subprocess.CompletedProcess[str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("TORCH", "TRITON"))}
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**kept, **{name: str(path) for name, path in environment.items()}},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder for temporary files as `/tmp` is: everybody writes there."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    for above in tmp_path.parents:
        if above.stat().st_uid == os.geteuid() and "pytest-of-" in str(above):
            above.chmod(0o711)
    tmp_path.chmod(0o711)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_training_keeps_away_from_a_folder_that_another_user_made_first(
    shared: Path, tmp_path: Path, as_other_user: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    bait, home = shared / f"torchinductor_{getpass.getuser()}", tmp_path / "home"
    assert as_other_user("mkdir", "-m", "777", bait).returncode == 0

    done = _train(_TRAIN.format(True), TMPDIR=shared, EVERGREEN_HOME=home)

    assert done.stdout == "1\n", done.stderr
    assert list(bait.rglob("*")) == []
    made = {path.parent.name for path in (home / "compiled").rglob("*") if path.is_file()}
    assert made
    assert _mode(home / "compiled") == 0o700
    assert as_other_user("ls", home / "compiled").returncode != 0


@pytest.mark.parametrize("script", [_TRAIN.format(False), _FIT], ids=["epochs", "one call"])
def test_a_file_in_the_place_of_the_shared_folder_ends_no_training(
    shared: Path, tmp_path: Path, script: str
) -> None:
    (shared / f"torchinductor_{getpass.getuser()}").touch()

    done = _train(script, TMPDIR=shared, EVERGREEN_HOME=tmp_path / "home")

    assert done.stdout == "1\n", done.stderr
    assert not (tmp_path / "home").exists()


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bring back what the places of compiled code are set by."""
    from torch._inductor.runtime import cache_dir_utils

    monkeypatch.setattr(cache_dir_utils, "tempfile", tempfile)
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, "/tmp/of-an-earlier-compilation")


@pytest.mark.usefixtures("untouched")
def test_places_that_torch_has_chosen_before_are_left(
    evergreen_home_of_the_test: Path,
) -> None:
    from torch._inductor.runtime.cache_dir_utils import cache_dir, default_cache_dir

    folder = keep_compiled_code_private(find_home())

    assert folder == evergreen_home_of_the_test / "compiled"
    assert _mode(folder) == 0o700
    for place in (cache_dir(), default_cache_dir(), os.environ["TRITON_CACHE_DIR"]):
        assert Path(place).is_relative_to(folder)


@pytest.mark.usefixtures("untouched")
def test_what_others_could_write_into_is_emptied(evergreen_home_of_the_test: Path) -> None:
    planted = evergreen_home_of_the_test / "compiled" / "inductor" / "fxgraph"
    planted.mkdir(parents=True)
    (planted / "evil").write_bytes(b"code")
    (planted.parents[1] / "link").symlink_to(evergreen_home_of_the_test)
    planted.parents[1].chmod(0o777)

    folder = keep_compiled_code_private(find_home())

    assert (list(folder.iterdir()), _mode(folder)) == ([], 0o700)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("is_link", [True, False])
def test_a_folder_that_is_not_this_users_is_refused(
    evergreen_home_of_the_test: Path, *, is_link: bool
) -> None:
    evergreen_home_of_the_test.mkdir()
    elsewhere = evergreen_home_of_the_test / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if is_link:
        (evergreen_home_of_the_test / "compiled").symlink_to(elsewhere)
    elif os.geteuid() == 0:
        elsewhere.rename(evergreen_home_of_the_test / "compiled")
        os.chown(evergreen_home_of_the_test / "compiled", 65534, 65534)
    else:
        pytest.skip("only root gives a folder away")

    with pytest.raises(StorageError, match="belongs to another user"):
        keep_compiled_code_private(find_home())
