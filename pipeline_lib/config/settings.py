"""The class every settable value belongs to: frozen, no unknown keys, titles a person can read."""

import re
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.fields import ComputedFieldInfo, FieldInfo


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
        model_title_generator=_class_title,
        field_title_generator=_field_title,
    )
