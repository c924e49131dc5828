"""What pydantic found wrong with a config, in the words of the file: line, key and rule."""

import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipeline_lib.addresses import without_secrets
from pipeline_lib.config.layers import Layers, Spot
from pipeline_lib.config.mistakes import Keys, MistakesError
from pipeline_lib.config.partial import broken_rules
from pipeline_lib.config.pipeline import PipelineConfig
from pipeline_lib.config.settings import Settings
from pipeline_lib.errors import ConfigProblem
from pipeline_lib.wording import did_you_mean, examples

_NAMED_KEY = re.compile(r"((?:\w+\.)*\w+): (.+)", re.DOTALL)
MAX_ERRORS = 200  # of a mistake that 10,000 columns share the first are enough
# Rules by pydantic's name for them; the others keep its words.
_FORMS = {
    "missing": "is required",
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
    "date_type": "must be a date, such as 2026-12-01, not {shown}",
    "date_parsing": "must be a date, such as 2026-12-01, not {shown}",
    "date_from_datetime_parsing": "must be a date, such as 2026-12-01, not {shown}: {error}",
    "date_from_datetime_inexact": "must be a date without a time, such as 2026-12-01, not {shown}",
}


@dataclass(frozen=True)
class _Found:
    """One thing that is wrong: where, and whether it is a rule between values."""

    spot: Spot
    keys: Keys
    problem: ConfigProblem
    is_rule: bool = False


def problems(
    error: ValidationError,
    layers: Layers,
    changed: Sequence[str],
    declared: Mapping[str, object],
) -> list[tuple[Spot, ConfigProblem]]:
    """Return all that is wrong, in the order of the lines: values, and the rules between them.

    Args:
        error: pydantic's, of a `PipelineConfig`.
        layers: the values, and where they are from.
        changed: dotted keys that were set beside the files.
        declared: the values as they were validated.
    """
    found: list[_Found] = []
    wrong: set[Keys] = set()
    for details in error.errors(include_url=False)[:MAX_ERRORS]:
        keys = tuple(_walk(details["loc"])[0])
        if isinstance(details.get("ctx", {}).get("error"), MistakesError):
            continue  # they are all found again below
        rule, section = _rule(details), keys
        # A rule of a section may begin with the key below it that is meant.
        if (named := _NAMED_KEY.match(rule)) is not None and details["type"] == "value_error":
            keys, rule = (*keys, *named[1].split(".")), named[2]
        wrong.add(section)
        found.append(_found(keys, rule, section, layers, changed))
    for section, mistake in broken_rules(PipelineConfig, declared, wrong)[:MAX_ERRORS]:
        places = [(*section, *keys) for keys in mistake.keys]
        at = next((p for p in places if layers.has(p)), places[0])
        at = next((p for p in places if _is_changed(p, changed)), at) if changed else at
        found.append(_found(at, mistake.rule, section, layers, changed, is_rule=True))
    return _folded(found)


def _found(
    keys: Keys,
    rule: str,
    section: Keys,
    layers: Layers,
    changed: Sequence[str],
    *,
    is_rule: bool = False,
) -> _Found:
    key, spot = ".".join(map(str, keys)), layers.spot(keys)
    place = str(spot)
    if _is_changed(keys, changed) or (not layers.has(keys) and _is_above(keys, changed)):
        place = "--set"
    elif together := [c for c in changed if _is_blamed(c, section, f"{key}: {rule}")]:
        place += f" with --set {', '.join(together)}"
    return _Found(spot, keys, ConfigProblem(place, key, rule), is_rule)


def _is_changed(keys: Keys, changed: Sequence[str]) -> bool:
    return any(f"{'.'.join(map(str, keys))}.".startswith(f"{c}.") for c in changed)


def _is_above(keys: Keys, changed: Sequence[str]) -> bool:
    """Return whether a key that was changed is below these keys."""
    return bool(keys) and any(c.startswith(f"{'.'.join(map(str, keys))}.") for c in changed)


def _is_blamed(changed: str, section: Keys, rule: str) -> bool:
    """Tell whether a rule of several keys of a section names one that was changed."""
    is_below = changed.startswith(f"{'.'.join(map(str, section))}." if section else "")
    return is_below and changed.removesuffix(".kind").rpartition(".")[2] in rule


def _folded(found: Sequence[_Found]) -> list[tuple[Spot, ConfigProblem]]:
    """Return problems in the order of their lines, one per key.

    A plain union reports each of its members, and a list whose items are wrong is said to be too
    short as well.
    """
    by_key: dict[Keys, tuple[Spot, ConfigProblem]] = {}
    below = {f.keys[:length] for f in found if not f.is_rule for length in range(len(f.keys))}
    for one in sorted(found, key=lambda each: each.spot):
        if not one.is_rule and one.keys and one.keys in below:
            continue
        _, first = by_key.setdefault(one.keys, (one.spot, one.problem))
        if first is not one.problem:
            rule = f"{first.rule}; or {one.problem.rule}"
            if one.is_rule:
                rule = f"{first.rule}; {one.problem.rule}"
            by_key[one.keys] = one.spot, ConfigProblem(first.place, first.key, rule)
    return list(by_key.values())


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


def _as_yaml(given: object) -> str:
    """Return a value as a message quotes it: null, true and false as in the file."""
    if given is None or isinstance(given, bool):
        return {None: "null", True: "true", False: "false"}[given]
    return examples([given])


def _whole(bound: object) -> object:
    """Return a bound as a person writes it: 0, not 0.0."""
    return int(bound) if isinstance(bound, float) and bound.is_integer() else bound


def _rule(details: ErrorDetails) -> str:
    context = {name: _whole(value) for name, value in details.get("ctx", {}).items()}
    given = cast("object", details["input"])
    shown = _as_yaml(given)
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
            return f"must be {expected}, not {shown}{did_you_mean(str(given), words)}"
        case "value_error":
            return str(context["error"])
        case "string_type" if given is None:
            return "must be text, and is empty or null; put a word that is meant in quotes"
        case "string_type" if isinstance(given, bool | int | float):
            return f"must be text, not {given!r}; put it in quotes"
        case "model_attributes_type" if isinstance(given, str):
            return (
                f"must be a mapping of settings, as {{kind: {without_secrets(given)[:60]}}}, "
                f"not {examples([given])}"
            )
        case kind if kind in _FORMS:
            return _FORMS[kind].format(shown=shown, **context)
        case _:
            return f"{details['msg']}, not {shown}"
