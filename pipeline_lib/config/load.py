"""From a YAML file to a `PipelineConfig`, with errors that name file, line, key and rule."""

import types
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline_lib.config.pipeline import Overrides, PipelineConfig
from pipeline_lib.config.settings import Settings
from pipeline_lib.errors import ConfigError, ConfigProblem, did_you_mean, examples
from pipeline_lib.storage import project_root

MAX_PROBLEMS = 20


def load_config(
    path: str | Path,
    overrides: Overrides | None = None,
    *,
    assignments: Iterable[str] = (),
) -> PipelineConfig:
    """Read and check a config.

    Args:
        path: the YAML file.
        overrides: values that this run sets differently.
        assignments: `dotted.key=value` strings, values in YAML, applied before `overrides`.

    Raises:
        ConfigError: the file is missing, is no YAML mapping, or breaks a rule; one
            `file:line: key: rule` line per problem.
    """
    path = Path(path)
    document = _read_yaml(path)
    tree = cast("dict[str, Any]", _plain(document))
    # A `kind` comes first: setting it clears what belongs to another one.
    ordered = sorted(assignments, key=lambda text: not text.partition("=")[0].endswith(".kind"))
    changed = [_assign(tree, assignment) for assignment in ordered]
    changed += _override(tree, overrides or Overrides())
    try:
        config = PipelineConfig.model_validate(tree)
    except ValidationError as error:
        found = [_problem(details, path, document, changed) for details in error.errors()]
        raise ConfigError(_folded(found)[:MAX_PROBLEMS]) from None
    return config.with_root(project_root(path.resolve().parent))


def config_yaml(config: PipelineConfig) -> str:
    """Return a config as YAML with every value in it, defaults included."""
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # pyright: ignore[reportAttributeAccessIssue]
    text = StringIO()
    yaml.dump(config.model_dump(mode="json"), text)  # pyright: ignore[reportUnknownMemberType]
    return text.getvalue()


def flat_settings(settings: Settings) -> dict[str, str]:
    """Return every value of settings as text under its dotted key.

    >>> from pipeline_lib.config.schedules import StepSchedule
    >>> flat_settings(StepSchedule(step_size=3))
    {'kind': 'step', 'step_size': '3', 'gamma': '0.1'}
    """
    flat: dict[str, str] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in cast("Mapping[str, object]", value).items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            flat[prefix] = str(value)

    walk("", settings.model_dump(mode="json"))
    return flat


def _read_yaml(path: Path) -> CommentedMap:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = did_you_mean(path.name, (p.name for p in path.parent.glob("*.y*ml")))
        raise ConfigError([ConfigProblem(str(path), "", f"there is no such file{near}")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([ConfigProblem(str(path), "", f"cannot be read: {error}")]) from None
    try:
        # The round-trip loader builds no objects and keeps the line of each key.
        document: object = YAML(typ="rt").load(text)  # pyright: ignore[reportUnknownMemberType]
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        rule = f"is not valid YAML: {' '.join(str(error.problem or error.context).split())}"
        raise ConfigError([ConfigProblem(f"{path}:{line}", "", rule)]) from None
    except (YAMLError, ValueError) as error:
        rule = f"is not valid YAML: {' '.join(str(error).split())}"
        raise ConfigError([ConfigProblem(str(path), "", rule)]) from None
    if not isinstance(document, CommentedMap):
        found = "is empty" if document is None else "holds no mapping of keys to values"
        raise ConfigError([ConfigProblem(f"{path}:1", "", found)])
    return document


def _plain(node: object) -> object:
    if isinstance(node, Mapping):
        return {str(k): _plain(v) for k, v in cast("Mapping[object, object]", node).items()}
    if isinstance(node, Sequence) and not isinstance(node, str | bytes):
        return [_plain(item) for item in cast("Sequence[object]", node)]
    for plain in (bool, int, float, str):
        if isinstance(node, plain):
            return plain(node)
    return node


def _assign(tree: dict[str, Any], assignment: str) -> str:
    key, equals, text = assignment.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        rule = "write KEY=VALUE, as in training.epochs=50"
        raise ConfigError([ConfigProblem("--set", assignment, rule)])
    try:
        value: object = _plain(YAML(typ="rt").load(text))  # pyright: ignore[reportUnknownMemberType]
    except (YAMLError, ValueError):
        raise ConfigError([ConfigProblem("--set", key, f"{text!r} is not valid YAML")]) from None
    _put(tree, key.split("."), value)
    return key


def _put(tree: dict[str, Any], path: Sequence[str], value: object) -> None:
    node = tree
    for name in path[:-1]:
        inner = node.get(name)
        if not isinstance(inner, dict):
            inner = node[name] = {}
        node = cast("dict[str, Any]", inner)
    if path[-1] == "kind" and node.get("kind") != value:
        node.clear()  # the settings of another kind mean nothing to this one
    node[path[-1]] = value


def _override(tree: dict[str, Any], overrides: Overrides) -> list[str]:
    places = {
        "epochs": "training.epochs",
        "model": "model",
        "optimizer": "training.optimizer",
        "scheduler": "training.scheduler",
        "seed": "training.seed",
    }
    given = {field: value for field, value in overrides if value is not None}
    for field, value in given.items():
        path = places[field].split(".")
        if not isinstance(value, Settings):
            _put(tree, path, value)
            continue
        # Only what was given: the rest stays as the config has it, if the kind is the same.
        _put(tree, [*path, "kind"], getattr(value, "kind"))  # noqa: B009 - each of these has one
        for name, inner in value.model_dump(mode="json", exclude_unset=True).items():
            _put(tree, [*path, name], inner)
    return [places[field] for field in given]


def _problem(
    details: ErrorDetails, path: Path, document: CommentedMap, changed: Sequence[str]
) -> tuple[int, ConfigProblem]:
    keys, line = _locate(details["loc"], document)
    key = ".".join(keys)
    place, rule = f"{path}:{line}", _rule(details)
    if any(key == c or key.startswith(f"{c}.") for c in changed):
        place = "--set"
    elif together := [c for c in changed if _is_blamed(c, key, rule)]:
        place += f" with --set {', '.join(together)}"
    return line, ConfigProblem(place, key, rule)


def _is_blamed(changed: str, key: str, rule: str) -> bool:
    """Tell whether a rule of several keys below `key` names one that was changed."""
    is_below = changed.startswith(f"{key}." if key else "")
    return is_below and changed.rpartition(".")[2] in rule


def _folded(found: Sequence[tuple[int, ConfigProblem]]) -> list[ConfigProblem]:
    """Return problems in the order of their lines, one per key.

    A plain union reports each of its members, and a list whose items are wrong is said to be too
    short as well.
    """
    by_key: dict[str, ConfigProblem] = {}
    for _, problem in sorted(found, key=lambda pair: pair[0]):
        if any(other.key.startswith(f"{problem.key}.") for _, other in found if problem.key):
            continue
        first = by_key.setdefault(problem.key, problem)
        if first is not problem:
            rule = f"{first.rule}; or {problem.rule}"
            by_key[problem.key] = ConfigProblem(first.place, first.key, rule)
    return list(by_key.values())


def _locate(location: Sequence[int | str], document: CommentedMap) -> tuple[list[str], int]:
    """Turn pydantic's location into the keys of the file and the line of the last one found."""
    keys, _ = _walk(location)
    node: object = document
    line = 1
    for key in keys:
        if isinstance(node, CommentedMap) and key in node:
            # A key that came through a YAML merge has no line of its own.
            with suppress(KeyError, TypeError):
                line = int(node.lc.key(key)[0]) + 1  # pyright: ignore[reportUnknownMemberType]
            node = node[key]
        elif isinstance(node, CommentedSeq) and isinstance(key, int) and key < len(node):
            line = int(node.lc.item(key)[0]) + 1  # pyright: ignore[reportUnknownMemberType]
            node = node[key]
        else:
            node = None
    return [str(key) for key in keys], line


def _walk(location: Sequence[int | str]) -> tuple[list[int | str], list[type[Settings]]]:
    """Return the keys of the file in pydantic's location, and the settings the last is a key of.

    Pydantic puts the `kind` of a union, and the members of a plain union, between the keys; the
    file has no such levels.
    """
    keys: list[int | str] = []
    owners: list[type[Settings]] = [PipelineConfig]
    choices: list[type[Settings]] = [PipelineConfig]
    names_follow = False
    for part in location:
        by_kind = {kind: c for c in choices if (kind := _kind(c)) is not None}
        if isinstance(part, int) or names_follow:
            keys.append(part)
            names_follow = False
        elif len(choices) > 1 and part in by_kind:
            choices = [by_kind[part]]
        elif len(choices) == 1:
            keys.append(part)
            owners = choices
            field = choices[0].model_fields.get(part)
            annotation = None if field is None else field.annotation
            names_follow = get_origin(annotation) is dict
            choices = list(_settings_in(annotation))
    return keys, owners


def _kind(cls: type[Settings]) -> str | None:
    field = cls.model_fields.get("kind")
    return None if field is None else str(get_args(field.annotation)[0])


def _settings_in(annotation: object) -> Iterable[type[Settings]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, Settings):
            yield annotation
        return
    if get_origin(annotation) is Literal:
        return
    for argument in get_args(annotation):
        yield from _settings_in(argument)


def _rule(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    given = cast("object", details["input"])
    match details["type"]:
        case "extra_forbidden":
            keys, owners = _walk(details["loc"])
            near = did_you_mean(str(keys[-1]), owners[0].model_fields)
            return f"unknown key{near}"
        case "union_tag_invalid":
            known = [word.strip("' ") for word in str(context["expected_tags"]).split(",")]
            tag, near = examples([context["tag"]]), did_you_mean(str(context["tag"]), known)
            return f"kind {tag} does not exist{near or '.'} Known: {', '.join(known)}"
        case "union_tag_not_found":
            return "`kind` is missing"
        case "literal_error":
            expected = str(context["expected"])
            words = [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]
            return f"must be {expected}, not {examples([given])}{did_you_mean(str(given), words)}"
        case "value_error":
            return str(context["error"])
        case "string_type" if isinstance(given, bool | int | float):
            return f"must be text, not {given!r}; put it in quotes"
        case "missing":
            return "Field required"
        case _:
            return f"{details['msg']}, not {examples([given])}"
