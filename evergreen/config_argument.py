"""Which configs a command is about: a file, the name of a dataset, or all of a project."""

import os
from pathlib import Path

from pipeline_lib.addresses import without_secrets
from pipeline_lib.config import load_config
from pipeline_lib.config.project_configs import ENDS, is_config, project_configs
from pipeline_lib.errors import ConfigError, ConfigProblem, UsageError
from pipeline_lib.home import project_at, project_root
from pipeline_lib.wording import examples, nearest_name

_DEPLOYMENTS = "prefect.yaml"
_MAX_SHOWN = 200


def find_config(given: Path) -> Path:
    """Return the config's file: the path itself, or `configs/<name>.yaml` of the project.

    Args:
        given: what was typed: a path, or a name with or without its ending.

    Raises:
        ConfigError: it is neither; the message names the nearest config there is.
    """
    try:
        str(given).encode()
    except UnicodeEncodeError:
        rule = "its name is no UTF-8, which no server can store; rename it"
        raise ConfigError([ConfigProblem(str(given)[:_MAX_SHOWN], "", rule)]) from None
    try:
        if given.exists() and not given.is_dir():
            return given
        places = [given.parent]
        if given.name == str(given):
            places.append(project_root() / "configs")
        for place in places if given.name else []:
            for name in (given.name, *(f"{given.name}{end}" for end in ENDS)):
                if name != _DEPLOYMENTS and (place / name).is_file():
                    return _shortest(place / name)
        rule = _not_there(given, places)
    except OSError as error:
        rule = f"cannot be read: {error.strerror}"
    raise ConfigError([ConfigProblem(without_secrets(str(given))[:_MAX_SHOWN], "", rule)])


def chosen_configs(given: Path | None, *, every: bool) -> list[Path]:
    """Return the config that is named, or all of the project, by name.

    Raises:
        UsageError: none is named, or one besides all; or the project has none.
        ConfigError: there is no such config.
    """
    if given is not None and every:
        raise UsageError(f"name a config ({str(given)[:_MAX_SHOWN]}), or give --all, not both")
    if given is not None:
        return [find_config(given)]
    if not every:
        raise UsageError("name a config, such as configs/NAME.yaml, or give --all")
    project = project_at(Path.cwd().resolve())
    if found := project_configs(project):
        return [_shortest(path) for path in found]
    raise UsageError(
        f"{project / 'configs'} holds no config; "
        "write one with `evergreen new TABLE --target COLUMN`"
    )


def dataset_name(given: str) -> str:
    """Return the name of a dataset, also where its config is given instead.

    Raises:
        ConfigError: a config is given, and it is not there or is wrong.
        UsageError: no dataset can have this name.
    """
    if not given.isprintable():
        raise UsageError(
            f"{given[:_MAX_SHOWN]!r} is not a valid name of a dataset: lower case, digits, _ and -"
        )
    return load_config(find_config(Path(given))).name if given.endswith(ENDS) else given


def _not_there(given: Path, places: list[Path]) -> str:
    if given.is_dir():
        within = [str(_shortest(path)) for path in _configs_in(given)]
        return f"is a folder; name a config{f', as {examples(within)}' if within else ''}"
    known = [path for place in (*places, project_root() / "configs") for path in _configs_in(place)]
    by_name = {spelling: _shortest(path) for path in known for spelling in (path.stem, path.name)}
    if near := nearest_name(given.name, by_name):
        path = by_name[near]
        is_beside = path.resolve().parent == given.resolve().parent
        return f"there is no such file; did you mean {path.name if is_beside else path}?"
    if names := sorted({str(_shortest(path)) for path in known}):
        return f"there is no such file; known: {examples(names)}"
    return "there is no such file; write a config with `evergreen new TABLE --target COLUMN`"


def _configs_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if is_config(path))
    except OSError:
        return []


def _shortest(path: Path) -> Path:
    return min(path.resolve(), Path(os.path.relpath(path)), key=lambda p: len(str(p)))
