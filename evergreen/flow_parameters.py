"""Check before a deployment is made that its parameters would let the retrain flow run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from pipeline_lib.config import Overrides, load_config
from pipeline_lib.config.form import form_config, refuse_assignments
from pipeline_lib.config.project_configs import project_configs
from pipeline_lib.errors import ConfigError, UsageError
from pipeline_lib.wording import did_you_mean, examples


def value_problems(
    source: Path, function: str, values: Mapping[str, object], *, root: Path
) -> Iterator[tuple[str, str]]:
    """Yield parameter and rule for each value that the retrain flow would fail on.

    Args:
        source: the file of the flow; flows other than `retrain` are not looked at.
        function: of the flow.
        values: by parameter, as the file has them.
        root: the project.
    """
    import flows.retrain as module

    if function != "retrain" or source.resolve() != Path(str(module.__file__)).resolve():
        return
    hints = get_type_hints(module.retrain.fn, include_extras=True)
    plain = {key: value for key, value in values.items() if "{{" not in str(value)}
    checked: dict[str, Any] = {}
    for key, value in plain.items():
        try:
            checked[key] = TypeAdapter[object](hints[key]).validate_python(_plain(value))
        except ValidationError as error:
            yield key, _rule(error)
    if "config" not in values:
        return  # chosen in the form
    if "config" in checked and len(checked) == len(values):
        yield from _of_config(checked, root)


def _rule(error: ValidationError) -> str:
    first = error.errors()[0]
    inner = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        rule = f"unknown key{did_you_mean(str(first['loc'][-1]), Overrides.model_fields)}"
    else:
        rule = f"{first['msg']}, not {examples([cast('object', first['input'])])}"
    return f"{inner}: {rule}" if inner else rule


def _of_config(values: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str]]:
    given = str(values["config"])
    try:
        path = form_config(given, root)
    except UsageError as error:
        yield "config", str(error)
        return
    except ConfigError:
        known = [p.relative_to(root).as_posix() for p in project_configs(root)]
        near = did_you_mean(given, known)
        yield "config", f"there is no file {given}{near or f'; known: {examples(known)}'}"
        return
    assignments = cast("tuple[str, ...]", values.get("assignments", ()))
    try:
        refuse_assignments(assignments)
        load_config(
            path, cast("Overrides | None", values.get("overrides")), assignments=assignments
        )
    except UsageError as error:
        yield "assignments", str(error)
    except ConfigError as error:
        for problem in error.problems[:3]:
            if problem.place.startswith("--set"):
                key = "assignments" if assignments else "overrides"
                yield key, f"{problem.key}: {problem.rule}"
            else:
                yield "config", str(problem).replace(str(path), given)


def _plain(value: object) -> object:
    """Return a value without ruamel.yaml's classes, which pydantic's strict types refuse."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list):
        return [_plain(item) for item in cast("list[object]", value)]
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)
    return value
