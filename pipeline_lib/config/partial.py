"""Settings of which some values are wrong: the rules that the others break all the same.

A value that is wrong is absent here, and a rule that asks for it ends: it has nothing to say.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, cast, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from pipeline_lib.config.mistakes import Keys, Mistake, rules_of
from pipeline_lib.config.settings import Settings
from pipeline_lib.config.yaml_text import type_choices


class _Absent:
    """Stands for a value that is wrong: it has no attribute that a rule could ask for."""


_ABSENT = _Absent()


def broken_rules(
    cls: type[Settings], tree: Mapping[str, object], wrong: Collection[Keys]
) -> list[tuple[Keys, Mistake]]:
    """Return every rule that valid values break, with the keys of the settings whose rule it is.

    Args:
        cls: the settings that the tree should become.
        tree: the values as they are declared, see `as_declared`.
        wrong: keys of values that are known to be wrong.
    """
    touched = {keys[:length] for keys in wrong for length in range(len(keys) + 1)}
    return list(_Walk(touched, frozenset(wrong)).settings(cls, tree, ())[1])


class _Walk:
    def __init__(self, touched: Collection[Keys], wrong: Collection[Keys]) -> None:
        self._touched, self._wrong = touched, wrong

    def settings(
        self, cls: type[Settings], tree: Mapping[str, object], keys: Keys
    ) -> tuple[Settings, Iterator[tuple[Keys, Mistake]]]:
        """Return settings without what is wrong, and the rules that they and those within break."""
        found: list[tuple[Keys, Mistake]] = []
        values: dict[str, object] = {}
        for name, field in cls.model_fields.items():
            if name in tree:
                value = self._value(cls, name, field, tree[name], (*keys, name), found)
            elif (*keys, name) in self._touched or field.is_required():
                value = _ABSENT
            else:
                value = field.get_default(call_default_factory=True)
            if value is not _ABSENT:
                values[name] = value
        made = cls.model_construct()
        object.__setattr__(made, "__dict__", values)  # of frozen settings, without what is absent
        for each in rules_of(cls):
            try:
                found += [(keys, mistake) for mistake in each(made)]
            except AttributeError:  # it asks for what is absent
                continue
        return made, iter(found)

    def _value(
        self,
        cls: type[Settings],
        name: str,
        field: FieldInfo,
        node: object,
        keys: Keys,
        found: list[tuple[Keys, Mistake]],
    ) -> object:
        choices = list(type_choices(field.annotation))
        if isinstance(node, dict):
            tree = cast("dict[str, object]", node)
            if any(_is_settings(choice) for choice in choices):
                return self._one_of(choices, tree, keys, found, field)
            inner = [get_args(c)[1] for c in choices if get_origin(c) is dict]
            if inner and any(_is_settings(c) for c in type_choices(inner[0])):
                kinds = list(type_choices(inner[0]))
                return {k: self._one_of(kinds, v, (*keys, k), found) for k, v in tree.items()}
        if isinstance(node, list):
            items = cast("list[object]", node)
            inner = [get_args(c)[0] for c in choices if get_origin(c) is tuple]
            if inner and any(_is_settings(c) for c in type_choices(inner[0])):
                kinds = list(type_choices(inner[0]))
                return tuple(self._one_of(kinds, v, (*keys, i), found) for i, v in enumerate(items))
        if keys in self._touched:
            return _ABSENT
        try:
            return _adapter(cls, name).validate_python(node)
        except ValidationError:
            return _ABSENT

    def _one_of(
        self,
        choices: list[object],
        node: object,
        keys: Keys,
        found: list[tuple[Keys, Mistake]],
        field: FieldInfo | None = None,
    ) -> object:
        """Return the settings that a mapping's kind chooses."""
        if not isinstance(node, dict) or keys in self._wrong:
            return _ABSENT
        tree = cast("dict[str, object]", node)
        known = [cast("type[Settings]", c) for c in choices if _is_settings(c)]
        of_kind = [c for c in known if tree.get("kind") in _kinds(c)]
        if not of_kind and len(known) == 1:
            of_kind = known
        if not of_kind and field is not None and isinstance(field.default, Settings):
            of_kind = [type(field.default)]
        if not of_kind:
            return _ABSENT
        made, broken = self.settings(of_kind[0], tree, keys)
        found += broken
        return made


def _is_settings(choice: object) -> bool:
    return isinstance(choice, type) and issubclass(choice, Settings)


def _kinds(cls: type[Settings]) -> tuple[object, ...]:
    kind = cls.model_fields.get("kind")
    return () if kind is None else get_args(kind.annotation)


@cache
def _adapter(cls: type[Settings], name: str) -> TypeAdapter[Any]:
    field = cls.model_fields[name]
    annotation: Any = field.annotation
    for bound in field.metadata:
        annotation = Annotated[annotation, bound]
    return TypeAdapter(annotation)
