"""What a run that a server started may set, and which config it may name.

A form may set how a model is trained, and nothing that names code, files, hosts or another dataset.
What may be set is listed here; a new setting is refused until it is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from pipeline_lib.config.assignments import Assignment
from pipeline_lib.config.layers import DEFAULTS
from pipeline_lib.config.project_configs import refused_as_config
from pipeline_lib.errors import ConfigError, ConfigProblem, UsageError

_SECTIONS = ("model", "training")
# `training.compile` makes machine code with the compiler that it finds.
_NOT = (("training", "compile"),)
_FOLDER, _END = "configs", ".yaml"
_CONFIG = re.compile(rf"{_FOLDER}/[^/\\\x00-\x1f\x7f]+{re.escape(_END)}")
_MAX_SHOWN = 80


def may_set(path: Sequence[str]) -> bool:
    """Tell whether a run from a server may set the value below these keys.

    >>> may_set(["training", "epochs"]), may_set(["promotion", "floor"])
    (True, False)
    """
    return bool(path) and path[0] in _SECTIONS and tuple(path[:2]) not in _NOT


def refuse_assignments(assignments: Sequence[str]) -> None:
    """Refuse `dotted.key=value` that a run from a server may not set.

    Raises:
        UsageError: naming the first such assignment.
        ConfigError: an assignment has no key, or its value is no YAML.
    """
    for assignment in assignments:
        parsed = Assignment.parse(assignment)
        for path in _leaves(parsed.parts, parsed.value()):
            if not may_set(path):
                allowed = " and ".join(f"`{section}`" for section in _SECTIONS)
                less = ", ".join(f"`{'.'.join(keys)}`" for keys in _NOT)
                raise UsageError(
                    f"{assignment[:_MAX_SHOWN]!r}: all values but those of {allowed}, and {less}, "
                    "are set in the config, not in a form"
                )


def form_config(config: str, root: Path) -> Path:
    """Return the file of a config that a run from a server may name: `configs/NAME.yaml`.

    Args:
        config: as the form has it.
        root: the project.

    Raises:
        UsageError: it is another file, no file, or a link that leads out of `configs`.
        ConfigError: there is no such file.
    """
    shown = ascii(config)[1:-1] if len(config) <= _MAX_SHOWN else f"{config[:_MAX_SHOWN]!a}…"
    plain = config.removeprefix("./")
    if not _CONFIG.fullmatch(plain):
        raise UsageError(
            f"{shown} lies outside {_FOLDER}/: a run from a server may name {_FOLDER}/NAME{_END} "
            "of the project, and no other file"
        )
    if why := refused_as_config(plain):
        raise UsageError(f"{shown} {why}")
    path, folder = root / plain, root.resolve() / _FOLDER
    try:
        shared, real = (root / DEFAULTS).resolve(), path.resolve()
        is_there, is_file = real.exists(), real.is_file()
    except (OSError, RuntimeError, ValueError):  # a name too long, a loop of links, no Unicode
        raise UsageError(f"{shown} cannot be read: its name or link is broken") from None
    if real == shared:
        raise UsageError(f"{shown} {refused_as_config(DEFAULTS)}")
    if shared.is_file() and not shared.is_relative_to(folder):
        raise UsageError(
            f"{DEFAULTS} is a link that leads out of {folder}; a run from a server may not follow "
            "it"
        )
    if not real.is_relative_to(folder) or real.suffix != _END:
        raise UsageError(
            f"{shown} is a link that leads out of {folder}; a run from a server may not follow it"
        )
    if is_there and not is_file:
        raise UsageError(f"{shown} is not a file")
    if not is_there:
        raise ConfigError([ConfigProblem(config, "", "there is no such file")])
    return path


def _leaves(path: Sequence[str], value: object) -> Iterator[tuple[str, ...]]:
    """Yield the keys that lead to each value that is no mapping; an empty mapping is a value."""
    if isinstance(value, Mapping) and value:
        for key, inner in cast("Mapping[str, object]", value).items():
            yield from _leaves((*path, key), inner)
    else:
        yield tuple(path)
