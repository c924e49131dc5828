"""What pydantic found wrong with a config, in the words of the file: line, key and rule."""

import re
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, cast, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline_lib.config.pipeline import PipelineConfig
from pipeline_lib.config.settings import Settings
from pipeline_lib.config.yaml_text import Lines
from pipeline_lib.errors import ConfigProblem, did_you_mean, examples

_NAMED_KEY = re.compile(r"((?:\w+\.)*\w+): (.+)", re.DOTALL)
_MAX_ERRORS = 200  # a slip in what 10,000 columns share is told by the first of them
# Rules by pydantic's name for them; the others keep its words.
_FORMS = {
    "missing": "Field required",
    "union_tag_not_found": "`kind` is missing",
    "int_type": "must be a whole number, not {shown}",
    "int_parsing": "must be a whole number, not {shown}",
    "int_from_float": "must be a whole number, not {shown}",
    "float_type": "must be a number, not {shown}",
    "float_parsing": "must be a number, not {shown}",
    "finite_number": "must be a finite number, not {shown}",
    "bool_type": "must be true or false, not {shown}",
    "bool_parsing": "must be true or false, not {shown}",
    "tuple_type": "must be a list, not {shown}",
    "dict_type": "must be a mapping, not {shown}",
    "model_type": "must be a mapping of settings, not {shown}",
    "model_attributes_type": "must be a mapping of settings, not {shown}",
    "greater_than_equal": "must be at least {ge}, not {shown}",
    "less_than_equal": "must be at most {le}, not {shown}",
    "greater_than": "must be above {gt}, not {shown}",
    "less_than": "must be below {lt}, not {shown}",
    "too_long": "has more than {max_length}",
    "string_too_long": "has more than {max_length} characters: {shown}",
    "too_short": "needs at least {min_length}, and has {actual_length}",
}


def problems(
    error: ValidationError, path: Path, lines: Lines, changed: Sequence[str]
) -> list[ConfigProblem]:
    """Tell what is wrong, in the order of the file's lines.

    Args:
        error: pydantic's, of a `PipelineConfig`.
        path: of the YAML file.
        lines: of the file, by the path of keys.
        changed: dotted keys that were set beside the file.
    """
    few = error.errors(include_url=False)[:_MAX_ERRORS]
    return _folded([_problem(details, path, lines, changed) for details in few])


def _problem(
    details: ErrorDetails, path: Path, lines: Lines, changed: Sequence[str]
) -> tuple[int, ConfigProblem]:
    keys, _ = _walk(details["loc"])
    section, rule = ".".join(map(str, keys)), _rule(details)
    # A rule of a section may begin with the key below it that is meant.
    if (named := _NAMED_KEY.match(rule)) is not None and details["type"] == "value_error":
        keys, rule = [*keys, *named[1].split(".")], named[2]
    line, key = line_of(keys, lines), ".".join(map(str, keys))
    place = f"{path}:{line}"
    if any(key == c or key.startswith(f"{c}.") for c in changed):
        place = "--set"
    elif together := [c for c in changed if _is_blamed(c, section, f"{key}: {rule}")]:
        place += f" with --set {', '.join(together)}"
    return line, ConfigProblem(place, key, rule)


def _is_blamed(changed: str, section: str, rule: str) -> bool:
    """Tell whether a rule of several keys of a section names one that was changed."""
    is_below = changed.startswith(f"{section}." if section else "")
    return is_below and changed.removesuffix(".kind").rpartition(".")[2] in rule


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


def line_of(keys: Sequence[int | str], lines: Lines) -> int:
    """Return the line of the last of nested keys that the file has."""
    paths = (tuple(keys[:length]) for length in range(len(keys), 0, -1))
    return next((lines[path] for path in paths if path in lines), 1)


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
        case "literal_error":
            expected = str(context["expected"])
            words = [word.strip("' ") for word in expected.replace(" or ", ",").split(",")]
            return f"must be {expected}, not {examples([given])}{did_you_mean(str(given), words)}"
        case "value_error":
            return str(context["error"])
        case "string_type" if given is None:
            return "must be text, and is empty or null; put a word that is meant in quotes"
        case "string_type" if isinstance(given, bool | int | float):
            return f"must be text, not {given!r}; put it in quotes"
        case "model_attributes_type" if isinstance(given, str):
            return (
                f"must be a mapping of settings, as {{kind: {given[:60]}}}, not {examples([given])}"
            )
        case kind if kind in _FORMS:
            return _FORMS[kind].format(shown=examples([given]), **context)
        case _:
            return f"{details['msg']}, not {examples([given])}"
