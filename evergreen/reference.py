"""Write `docs/reference/config.md` from the settings: `python -m evergreen.reference`.

A row per value: key, what it is, bounds, default. A test compares the file with the settings.
"""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic.fields import FieldInfo

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.settings import Settings

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference" / "config.md"
_SIGNS = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}


def reference() -> str:
    """Return the page."""
    parts = [
        "# Every value of a config",
        "Made by `python -m evergreen.reference` from the settings themselves. A value without a "
        "default is required. `A | B` are kinds: choose one with `kind`.",
    ]
    parts += [_section(title, settings) for title, settings in _sections("", PipelineConfig)]
    return "\n\n".join(parts) + "\n"


def _sections(key: str, settings: type[Settings]) -> Iterator[tuple[str, type[Settings]]]:
    yield key, settings
    for name, field in settings.model_fields.items():
        inner = f"{key}.{name}" if key else name
        for choice in _settings_in(field.annotation):
            yield from _sections(inner, choice)


def _section(key: str, settings: type[Settings]) -> str:
    kind = settings.model_fields.get("kind")
    title = f"`{key or 'the file'}`" + (f" of kind `{kind.default}`" if kind else "")
    lines = [f"## {title}", "", " ".join((settings.__doc__ or "").split()), ""]
    lines += ["| key | value | default | what it is |", "| --- | --- | --- | --- |"]
    for name, field in settings.model_fields.items():
        if name != "kind":
            cells = (f"`{name}`", _type(field), _default(field), field.description or "")
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _settings_in(annotation: object) -> Iterator[type[Settings]]:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
        return
    for argument in get_args(annotation):
        yield from _settings_in(argument)


def _type(field: FieldInfo) -> str:
    return " ".join([_name(field.annotation), *_bounds(field.metadata)])


def _name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(_name(argument) for argument in arguments)
    if origin is tuple:
        return f"list of {_name(arguments[0])}"
    if origin is dict:
        return f"{_name(arguments[1])}, by name"
    if hasattr(annotation, "__metadata__"):
        return _name(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        kind = annotation.model_fields.get("kind")
        return f"`{kind.default}`" if kind else "a section, see below"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return names.get(annotation, "null")


def _bounds(metadata: list[Any]) -> Iterator[str]:
    for bound in metadata:
        for cls, sign in _SIGNS.items():
            if isinstance(bound, cls):
                yield f"{sign} {getattr(bound, cls.__name__.lower()):g}"
        if isinstance(bound, MinLen) and bound.min_length > 1:
            yield f"({bound.min_length} or more)"
        if isinstance(bound, MaxLen):
            yield f"(at most {bound.max_length})"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, Settings):
        kind = getattr(value, "kind", None)
        return f"`{kind}`" if kind else "its defaults"
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return "null" if value is None else f"`{value}`"


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(reference(), encoding="utf-8")
