"""Which Evergreen is installed, and with which of the libraries that decide what a model is."""

import platform
from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "evergreen-tables"
_LIBRARIES = ("torch", "prefect", "mlflow")


def versions() -> str:
    """Return one line for `--version` and bug reports; no library is imported for it.

    >>> versions().startswith("evergreen ")
    True
    """
    libraries = ", ".join(f"{name} {_installed(name)}" for name in _LIBRARIES)
    return f"evergreen {_installed(DISTRIBUTION)} (Python {platform.python_version()}, {libraries})"


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
