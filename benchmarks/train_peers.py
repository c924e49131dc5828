"""Environments of the libraries that Evergreen's training is compared with, one for each.

They are made with the Python that runs the benchmark and filled by pip, once: a note beside an
environment says what it holds, so that another list of packages makes it anew.
"""

import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

TORCH, NUMPY = "torch==2.13.0", "numpy==2.4.6"
# The library itself comes first.
PACKAGES: dict[str, tuple[str, ...]] = {
    "lightning": ("lightning==2.6.6", TORCH, NUMPY),
    "fastai": ("fastai==2.8.12", TORCH, NUMPY, "pandas==3.1.1"),
    "skorch": ("skorch==1.4.0", TORCH, NUMPY),
    # pytorch-tabular 1.2.0 imports requests and does not declare it.
    "pytorch_tabular": (
        "pytorch-tabular==1.2.0",
        TORCH,
        NUMPY,
        "pandas==2.3.3",
        "requests==2.34.2",
    ),
}


class NotInstalledError(Exception):
    """A library's environment could not be made; the message is what pip said last."""


def python_of(name: str, home: Path) -> Path:
    """Return the interpreter of a library's environment, made if it is not there.

    Raises:
        NotInstalledError: pip could not fill it.
    """
    return python_with(PACKAGES[name], home / name)


def python_with(packages: Sequence[str], place: Path) -> Path:
    """Return the interpreter of an environment with these packages, made if it is not there.

    Args:
        packages: as pip takes them.
        place: its folder; the note of what it holds is beside it.

    Raises:
        NotInstalledError: pip could not fill it.
    """
    python, note = place / "bin" / "python", place.with_name(f"{place.name}.txt")
    if (
        python.exists()
        and note.exists()
        and note.read_text(encoding="utf-8").split() == [*packages]
    ):
        return python
    print(f"making the environment of {place.name}", file=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True, symlinks=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *packages], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise NotInstalledError(last_words(done.stderr))
    note.write_text("\n".join(packages) + "\n", encoding="utf-8")
    return python


def last_words(stderr: str) -> str:
    r"""Return the last line that a process said, short and without addresses.

    >>> last_words("Traceback\nOSError: https://example.org/x is away\n")
    'OSError: … is away'
    """
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["it said nothing"]
    return re.sub(r"\w+://\S+", "…", lines[-1]).replace("|", "/")[:160]
