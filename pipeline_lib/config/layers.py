"""The values of a config's file, with those of `configs/defaults.yaml` below them.

Mappings are merged key by key, and the config's value wins; a list is replaced as a whole, and so
is a mapping of another `kind`. Every value knows the file and the line that it is from.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pipeline_lib.config.mistakes import Keys
from pipeline_lib.config.models import DEFAULT_MODEL_KIND
from pipeline_lib.config.yaml_text import (
    MAX_CHARACTERS,
    Lines,
    Scalar,
    YamlTextError,
    read_yaml_text,
)
from pipeline_lib.errors import ConfigError, ConfigProblem
from pipeline_lib.home import project_of
from pipeline_lib.wording import did_you_mean

DEFAULTS = "configs/defaults.yaml"
_MISNAMED = "configs/defaults.yml"
_OWN_KEYS = ("name", "data", "columns")  # of one dataset, and of no other
# Sections that may leave their kind out, and which one they are of then.
IMPLIED_KINDS: dict[tuple[str, ...], str] = {("model",): DEFAULT_MODEL_KIND, ("split",): "hash"}


@dataclass(frozen=True, order=True)
class Spot:
    """A line of a file; those of the config itself, rank 0, come before the others."""

    rank: int
    line: int
    file: str

    def __str__(self) -> str:
        """Return `configs/x.yaml:18`."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Layers:
    """One tree of values, where each is from, and what no config may hold."""

    tree: dict[str, Any]
    spots: Mapping[Keys, Spot]
    file: str
    problems: list[tuple[Spot, ConfigProblem]] = field(
        default_factory=list[tuple[Spot, ConfigProblem]]
    )

    def spot(self, keys: Sequence[str | int]) -> Spot:
        """Return the place of the last of nested keys that a file has."""
        paths = (tuple(keys[:length]) for length in range(len(keys), 0, -1))
        return next((self.spots[p] for p in paths if p in self.spots), Spot(0, 1, self.file))

    def has(self, keys: Sequence[str | int]) -> bool:
        """Tell whether a file has these nested keys."""
        return tuple(keys) in self.spots

    def inherited(self, changed: Sequence[str] = ()) -> tuple[tuple[str, ...], ...]:
        """Return the keys whose values are those of the defaults, the dotted `changed` aside."""
        return tuple(
            keys
            for keys in _leaves((), self.tree)
            if (spot := self.spots.get(keys)) is not None
            and spot.rank
            and not any(f"{'.'.join(keys)}.".startswith(f"{key}.") for key in changed)
        )


def defaults_of(config: str | Path) -> Path | None:
    """Return the file with the shared settings of a config's project, or None if it has none."""
    path = project_of(config) / DEFAULTS
    return path if path.is_file() else None


def is_defaults(config: str | Path) -> bool:
    """Return whether a file holds its project's shared settings, not a dataset's config."""
    path = Path(config)
    # Not `resolve`: of a loop of links it raises.
    shared = os.path.realpath(project_of(path) / DEFAULTS)
    return path.is_file() and os.path.realpath(path) == shared


def read_layers(path: Path) -> Layers:
    """Read a config's file and the defaults of its project.

    Raises:
        ConfigError: one of them cannot be read, is no YAML mapping, or is in the other's place.
    """
    problems: list[ConfigProblem] = []
    config = _layer_or_problems(path, str(path), 0, problems)
    if config is None and not path.is_file():
        raise ConfigError(problems)
    if is_defaults(path):
        rule = (
            "holds the settings that all configs of the project share, and is not a dataset's "
            "config; rename it if it is one"
        )
        raise ConfigError([ConfigProblem(str(path), "", rule)])
    shared, defaults = defaults_of(path), None
    if shared is not None:
        defaults = _layer_or_problems(shared, _shown(shared, path), 1, problems)
    elif os.path.lexists(broken := project_of(path) / DEFAULTS):
        rule = "is no file that can be read, or a link to none; without it settings would be lost"
        problems.append(ConfigProblem(_shown(broken, path), "", rule))
    elif (misnamed := project_of(path) / _MISNAMED).is_file() and misnamed != path.resolve():
        rule = f"is not read: shared settings stand in {Path(DEFAULTS).name}; rename it"
        problems.append(ConfigProblem(_shown(misnamed, path), "", rule))
    if config is None or problems:
        raise ConfigError(problems)
    if defaults is None:
        return config
    _refuse_own_keys(defaults)
    spots: dict[Keys, Spot] = {}
    tree = cast("dict[str, Any]", _merged((), config, config.tree, defaults, defaults.tree, spots))
    return Layers(tree, spots, config.file, [*config.problems, *defaults.problems])


def _layer_or_problems(
    path: Path, shown: str, rank: int, problems: list[ConfigProblem]
) -> "Layers | None":
    try:
        return _layer(path, shown, rank)
    except ConfigError as error:
        problems += error.problems
        return None


def _merged(
    keys: Keys,
    config: Layers,
    own: object,
    defaults: Layers,
    shared: object,
    spots: dict[Keys, Spot],
) -> object:
    """Return the config's value over the shared one, and note where each part is from."""
    if not isinstance(own, dict) or not isinstance(shared, dict) or _differ(keys, own, shared):
        _note(keys, own, config, spots)
        return own
    ours, theirs = cast("dict[str, object]", own), cast("dict[str, object]", shared)
    merged: dict[str, object] = {}
    for name in dict.fromkeys((*ours, *theirs)):
        inner = (*keys, name)
        if name in ours:
            spots[inner] = config.spot(inner)
            merged[name] = _merged(inner, config, ours[name], defaults, theirs.get(name), spots)
        else:
            spots[inner] = defaults.spot(inner)
            merged[name] = theirs[name]
            _note(inner, theirs[name], defaults, spots)
    return merged


def _note(keys: Keys, value: object, layer: Layers, spots: dict[Keys, Spot]) -> None:
    pairs: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        pairs = list(cast("dict[str | int, object]", value).items())
    elif isinstance(value, list):
        pairs = list(enumerate(cast("list[object]", value)))
    for name, inner in pairs:
        spots[*keys, name] = layer.spot((*keys, name))
        _note((*keys, name), inner, layer, spots)


def _differ(keys: Keys, own: Mapping[str, object], shared: Mapping[str, object]) -> bool:
    """Tell whether two mappings are of different kinds; one that says none takes the other's."""
    if "kind" not in own:
        return False
    kind = shared.get("kind", IMPLIED_KINDS.get(cast("tuple[str, ...]", keys), own["kind"]))
    return str(own["kind"]) != str(kind)


def _leaves(keys: tuple[str, ...], tree: Mapping[str, object]) -> Iterator[tuple[str, ...]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves((*keys, name), cast("dict[str, object]", value))
        else:
            yield (*keys, name)


def _refuse_own_keys(defaults: Layers) -> None:
    """Take out what is of one dataset only, and note it as wrong."""
    for key in _OWN_KEYS:
        if key in defaults.tree:
            del defaults.tree[key]
            rule = "belongs to one dataset: write it in that dataset's config, not in this file"
            spot = defaults.spot((key,))
            defaults.problems.append((spot, ConfigProblem(str(spot), key, rule)))


def _layer(path: Path, shown: str, rank: int) -> Layers:
    """Read one file; a mapping as it is written, with its lines."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
    except FileNotFoundError:
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*.y*ml")))
        raise ConfigError([ConfigProblem(shown, "", f"there is no such file{near}")]) from None
    except (OSError, ValueError) as error:  # no UTF-8, or NUL in the name
        raise ConfigError([ConfigProblem(shown, "", f"cannot be read: {error}")]) from None
    try:
        document = read_yaml_text(text)
    except YamlTextError as error:
        place = f"{shown}:{error.line}" if error.line else shown
        raise ConfigError([ConfigProblem(place, "", f"is not valid YAML: {error}")]) from None
    errors = [
        (spot, ConfigProblem(str(spot), "", f"is not valid YAML: {error}"))
        for error in document.errors
        if (spot := Spot(rank, error.line, shown))
    ]
    is_empty = isinstance(document.tree, Scalar) and document.tree.value is None
    if isinstance(document.tree, dict) or (rank and is_empty):
        tree = cast("dict[str, Any]", document.tree) if not is_empty else {}
        return Layers(tree, _spots(document.lines, shown, rank), shown, errors)
    found = "is empty" if is_empty else "is not a mapping of keys to values"
    problems = [problem for _, problem in errors] or [ConfigProblem(f"{shown}:1", "", found)]
    raise ConfigError(problems)


def _spots(lines: Lines, shown: str, rank: int) -> dict[Keys, Spot]:
    return {keys: Spot(rank, line, shown) for keys, line in lines.items()}


def _shown(defaults: Path, config: Path) -> str:
    """Return the path of the defaults as a person who named the config would write it."""
    beside = config.parent / defaults.name
    if os.path.realpath(beside) == os.path.realpath(defaults):
        return str(beside)
    return str(min(defaults, Path(os.path.relpath(defaults)), key=lambda path: len(str(path))))
