"""From a YAML file to a `PipelineConfig`, with errors that name file, line, key and rule."""

from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from ruamel.yaml import YAML

from pipeline_lib.config.assignments import Assignment
from pipeline_lib.config.layers import IMPLIED_KINDS, read_layers
from pipeline_lib.config.pipeline import Overrides, PipelineConfig
from pipeline_lib.config.problems import MAX_ERRORS, problems
from pipeline_lib.config.settings import Settings
from pipeline_lib.config.yaml_text import as_declared
from pipeline_lib.errors import ConfigError, ConfigProblem, door
from pipeline_lib.home import project_root

MAX_PROBLEMS = 20


def load_config(
    path: str | Path,
    overrides: Overrides | None = None,
    *,
    assignments: Iterable[str] = (),
) -> PipelineConfig:
    """Read and check a config; what `configs/defaults.yaml` of its project sets is inherited.

    Args:
        path: the YAML file.
        overrides: values that this run sets differently.
        assignments: `dotted.key=value` strings, values in YAML, applied before `overrides`.

    Raises:
        ConfigError: a file is missing, is no YAML mapping, or breaks a rule; one
            `file:line: key: rule` line per problem, all at once.
    """
    path = Path(path)

    def refused(why: str) -> ConfigError:
        return ConfigError([ConfigProblem(str(path), "", f"cannot be read as a config: {why}")])

    with door(refused, ConfigError):
        return _loaded(path, overrides or Overrides(), list(assignments))


def _loaded(path: Path, overrides: Overrides, assignments: Sequence[str]) -> PipelineConfig:
    layers = read_layers(path)
    tree = layers.tree
    # A `kind` comes first: setting it clears what belongs to another one.
    ordered = sorted(assignments, key=lambda text: not text.partition("=")[0].endswith(".kind"))
    changed = [_assign(tree, assignment) for assignment in ordered]
    changed += _override(tree, overrides)
    declared = cast("dict[str, object]", as_declared(tree, PipelineConfig))
    found, config = layers.problems, None
    try:
        config = PipelineConfig.model_validate(declared)
    except ValidationError as error:
        found = found + problems(error, layers, changed, declared)
    if config is None or found:
        raise ConfigError(_first([problem for _, problem in sorted(found, key=lambda f: f[0])]))
    inherited = layers.inherited(changed)
    return config.with_root(project_root(path.resolve().parent), file=path, inherited=inherited)


def _first(found: list[ConfigProblem]) -> list[ConfigProblem]:
    if len(found) <= MAX_PROBLEMS:
        return found
    # Of thousands of mistakes not all are looked for.
    least = "at least " if len(found) >= MAX_ERRORS else ""
    more = ConfigProblem("…", "", f"and {least}{len(found) - MAX_PROBLEMS} more")
    return [*found[:MAX_PROBLEMS], more]


def load_plain(path: str | Path) -> PipelineConfig | None:
    """Return a config as its file has it, or None if it is valid only with a run's own values."""
    try:
        return load_config(path)
    except ConfigError:
        return None


def config_yaml(config: PipelineConfig) -> str:
    """Return a config as YAML with every value in it, defaults included."""
    yaml = YAML(typ="safe")
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # pyright: ignore[reportAttributeAccessIssue]
    text = StringIO()
    yaml.dump(config.model_dump(mode="json"), text)  # pyright: ignore[reportUnknownMemberType]
    return text.getvalue()


def flat_settings(settings: Settings) -> dict[str, str]:
    """Return every value of settings as text under its dotted key; settings in a list by number.

    >>> from pipeline_lib.config.schedules import StepSchedule
    >>> flat_settings(StepSchedule(step_size=3))
    {'kind': 'step', 'step_size': '3', 'gamma': '0.1'}
    """
    flat: dict[str, str] = {}

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in cast("Mapping[str, object]", value).items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
            for number, inner in enumerate(cast("list[object]", value)):
                walk(f"{prefix}.{number}", inner)
        else:
            flat[prefix] = str(value)

    walk("", settings.model_dump(mode="json"))
    return flat


def _assign(tree: dict[str, Any], assignment: str) -> str:
    parsed = Assignment.parse(assignment)
    _put(tree, parsed.path_in(tree), parsed.value())
    return parsed.key


def _put(tree: dict[str, Any], path: Sequence[str], value: object) -> None:
    node = tree
    for name in path[:-1]:
        inner = node.get(name)
        if not isinstance(inner, dict):
            inner = node[name] = {}
        node = cast("dict[str, Any]", inner)
    if path[-1] == "kind" and node.get("kind", IMPLIED_KINDS.get(tuple(path[:-1]))) != value:
        node.clear()  # another kind has other settings
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
