"""Who attacks: another account on the same machine."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

# Nobody's number on Linux: it owns no file.
_OTHER_UID = "65534"

OtherUser = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def as_other_user() -> OtherUser:
    """Run a command as another account, without any of root's capabilities; skipped if not root."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.geteuid() != 0:
        pytest.skip("another user is played by setpriv, which takes root")

    def run(
        *command: str | Path, input_text: str | None = None, timeout_s: float = 900
    ) -> subprocess.CompletedProcess[str]:
        who = ["--reuid", _OTHER_UID, "--regid", _OTHER_UID, "--clear-groups", "--inh-caps=-all"]
        return subprocess.run(
            [setpriv, *who, "--", *map(str, command)],
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            input=input_text,
            capture_output=True,
            check=False,
            text=True,
            timeout=timeout_s,
        )

    return run
