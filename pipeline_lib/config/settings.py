"""The class every settable value belongs to: frozen, no unknown keys, titles a person can read."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import ComputedFieldInfo, FieldInfo

from pipeline_lib.config.mistakes import Mistake, MistakesError, rule, rules_of, wrong

MAX_WHOLE = 2**53  # what a float, JSON and every library still hold exactly


def _class_title(model: type[Any]) -> str:
    borders = r"(?<=[a-z])(?=[A-Z][A-Za-z])|(?<=[A-Z])(?=[A-Z][a-z])"
    name = model.__name__.removesuffix("Settings").removesuffix("Schedule") or model.__name__
    words = re.sub(borders, " ", name).split()
    return " ".join([words[0], *(w if w.isupper() else w.lower() for w in words[1:])])


def _field_title(name: str, _: FieldInfo | ComputedFieldInfo) -> str:
    return name.replace("_", " ").capitalize()


class Settings(BaseModel):
    """Base of all settings: a typo is an error, a value never changes after it was read."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        str_max_length=10_000,  # of any text; a field's own bound goes before
        model_title_generator=_class_title,
        field_title_generator=_field_title,
    )

    @rule
    def _whole_numbers_fit(self) -> Iterator[Mistake]:
        for name, value in self:
            if isinstance(value, int) and abs(value) > MAX_WHOLE:
                yield wrong(f"must be at most {MAX_WHOLE}, not {str(value)[:40]}…", name)

    @model_validator(mode="after")
    def _keeps_its_rules(self) -> "Settings":
        if found := tuple(m for each in _rules(type(self)) for m in each(self)):
            raise MistakesError(found)
        return self


def without_defaults(settings: Settings, dumped: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return what was dumped of settings, without those of some fields that have their default.

    A field that came later is left out so: who does not set it keeps the digest of the config.
    """
    fields = type(settings).model_fields
    unset = {name for name in names if getattr(settings, name) == fields[name].default}
    return {name: value for name, value in dumped.items() if name not in unset}


@cache
def _rules(cls: type[Settings]) -> tuple[Callable[[Any], Iterator[Mistake]], ...]:
    return tuple(rules_of(cls))
