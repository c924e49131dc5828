"""From a YAML file to a `PipelineConfig`, with errors that name file, line, key and rule."""

from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pipeline_lib.config.assignments import Assignment
from pipeline_lib.config.pipeline import Overrides, PipelineConfig
from pipeline_lib.config.problems import problems
from pipeline_lib.config.settings import Settings
from pipeline_lib.errors import ConfigError, ConfigProblem, did_you_mean
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
        raise ConfigError(problems(error, path, document, changed)[:MAX_PROBLEMS]) from None
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
    parsed = Assignment.parse(assignment)
    key, text = parsed.key, parsed.text
    try:
        value: object = _plain(YAML(typ="rt").load(text))  # pyright: ignore[reportUnknownMemberType]
    except (YAMLError, ValueError):
        raise ConfigError([ConfigProblem("--set", key, f"{text!r} is not valid YAML")]) from None
    _put(tree, parsed.path_in(tree), value)
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
