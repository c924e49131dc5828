"""The last resort: what no message foresees is one line, and its traceback is kept in a file."""

import errno
import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from evergreen.environment import prepare_user, require_own_home, require_temporary_space
from evergreen.failures import describe
from pipeline_lib.errors import StorageError, UsageError
from pipeline_lib.home import find_home
from pipeline_lib.wording import refusal

PROJECT = Path(__file__).resolve().parents[2]
NO_PASSWD_ENTRY = 64321


def raised(error: Exception) -> Exception:
    """Return an error with the traceback that raising gives it."""
    try:
        raise error
    except type(error) as found:
        return found


def test_an_unexpected_error_is_one_line_and_its_traceback_a_file_of_ones_own(
    evergreen_home_of_the_test: Path,
) -> None:
    evergreen_home_of_the_test.mkdir()

    said = describe(raised(KeyError("size at http://me:secret@host/x")))

    kept = Path(re.fullmatch(r".* traceback is in (\S+)", said)[1])  # pyright: ignore[reportOptionalSubscript]
    assert said.startswith("unexpected KeyError: ")
    assert kept.parent == evergreen_home_of_the_test / "errors"
    assert "Traceback" in kept.read_text()
    assert "in raised" in kept.read_text()
    assert "secret" not in said + kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_without_a_home_the_traceback_goes_to_a_temporary_file(
    evergreen_home_of_the_test: Path,
) -> None:
    said = describe(raised(KeyError("size")))

    assert f"traceback is in {tempfile.gettempdir()}/" in said
    assert not evergreen_home_of_the_test.exists()
    Path(said.rpartition(" ")[2]).unlink()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No usable temporary directory found in ['/t']"), "set TMPDIR to a"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "cannot use /x/y: No space"),
        (OSError(errno.EROFS, "Read-only file system", "/x/y"), "cannot use /x/y: Read-only"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/x"), "cannot use /x: Is a directory"),
        (MemoryError(), "not enough memory"),
        (ModuleNotFoundError("No module named 'torch'"), "`evergreen doctor`"),
        (UnicodeEncodeError("ascii", "ä", 0, 1, "ordinal not in range"), "set PYTHONUTF8=1"),
    ],
)
def test_errors_of_the_system_say_what_to_do(error: Exception, said: str) -> None:
    assert said in describe(error)


def test_a_file_of_another_user_is_told_with_both(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (tmp_path / "lock").write_text("")
    os.chown(tmp_path / "lock", NO_PASSWD_ENTRY, -1)

    said = refusal(PermissionError(errno.EACCES, "Permission denied"), tmp_path / "lock")

    assert f"it belongs to user {NO_PASSWD_ENTRY}, and this is root" in said


def test_a_part_of_the_home_that_cannot_be_written_is_named(
    evergreen_home_of_the_test: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = evergreen_home_of_the_test / "datasets" / "shop" / ".lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    require_own_home(find_home())
    # Root, who runs tests in containers, may write everything.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != lock)

    with pytest.raises(StorageError, match=re.escape(f"cannot use {lock}: Permission denied")):
        require_own_home(find_home())


def test_an_unknown_user_in_evergreen_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", "~nobody-of-this-name/x")

    with pytest.raises(UsageError, match="write the whole path"):
        prepare_user()


def test_a_user_without_home_and_passwd_entry_gets_a_home(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    script = (
        "import os, getpass; from pathlib import Path\n"
        "from evergreen.environment import prepare_user\n"
        f"os.setuid({NO_PASSWD_ENTRY}); prepare_user()\n"
        "print(Path.home(), getpass.getuser())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env={"EVERGREEN_HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )

    assert done.stdout.split() == [str(tmp_path), f"user{NO_PASSWD_ENTRY}"], done.stderr


def test_a_command_that_meets_the_unexpected_prints_one_line_and_debugging_shows_all(
    tmp_path: Path,
) -> None:
    (tmp_path / "prefect.yaml").write_text("")
    broken = (
        "import evergreen.commands.codes as m, evergreen.__main__ as e\n"
        "def codes(name: str) -> int: return {}[name]\n"
        "m.codes = codes; e.main()"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", broken, "codes", "shop"],
            cwd=tmp_path, env={**environment, **more}, capture_output=True, text=True,
            timeout=900, check=False,
        )  # fmt: skip

    short, whole = run(), run(EVERGREEN_DEBUG="1")

    assert (short.returncode, whole.returncode) == (1, 1)
    assert len(short.stderr.splitlines()) == 1
    assert short.stderr.startswith("error: unexpected KeyError: 'shop'. The whole traceback is in")
    assert "Traceback" in whole.stderr


def test_temporary_files_that_cannot_be_written_are_told_before_a_server_waits_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))

    with pytest.raises(StorageError, match="set TMPDIR to a folder"):
        require_temporary_space()
