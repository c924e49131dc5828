"""Which configs a project has: one per dataset in `configs/`, the shared settings aside."""

from pathlib import Path

from pipeline_lib.config.layers import DEFAULTS

ENDS = (".yaml", ".yml")
_FOLDER = "configs"
_NO_CONFIGS = ("defaults.yaml", "defaults.yml", "prefect.yaml")


def project_configs(root: Path) -> list[Path]:
    """Return the configs of all datasets of a project, by name."""
    try:
        found = [path for path in (root / _FOLDER).iterdir() if is_config(path)]
    except OSError:
        return []
    return sorted(found)


def is_config(path: Path) -> bool:
    """Tell by its name and place whether a file may be a dataset's config."""
    if path.name in _NO_CONFIGS and (path.parent.name == _FOLDER or path.name == _NO_CONFIGS[-1]):
        return False
    return path.suffix in ENDS and not path.name.startswith(".") and path.is_file()


def refused_as_config(path: str) -> str:
    """Return why a path below a project names no dataset's config, or an empty string."""
    if path.rpartition("/")[2].startswith("."):
        return "is a hidden file, and no dataset's config"
    if path.removeprefix("./") != DEFAULTS:
        return ""
    return "holds the settings that all configs share, and is not a dataset's config"
