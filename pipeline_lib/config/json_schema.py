"""The JSON Schema of a config, with which editors complete and check as a person types.

It is made from the settings themselves. Rules between values are not in it: `evergreen check`
knows them.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from pipeline_lib.config.pipeline import PipelineConfig

SCHEMA_FILE = ".evergreen.schema.json"  # beside the configs
SCHEMA_COMMENT = f"# yaml-language-server: $schema={SCHEMA_FILE}"
"""The first line of a config, by which an editor finds the schema."""

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def config_schema() -> dict[str, Any]:
    """Return the schema; a value that `configs/defaults.yaml` can give is never required."""
    schema = PipelineConfig.model_json_schema()
    kinds = schema["$defs"]
    for node in _nodes(schema):
        if "discriminator" not in node:
            continue
        # `discriminator` is OpenAPI's; `oneOf` would refuse what two kinds allow.
        named = [str(each["$ref"]).rpartition("/")[2] for each in node.pop("oneOf")]
        del node["discriminator"]
        node["anyOf"] = [{"$ref": f"#/$defs/{name}"} for name in named]
    own = _reachable(schema, ("columns", "data"), kinds) | _reachable(
        kinds["ValidationSettings"], ("rules",), kinds
    )
    for name, kind in kinds.items():
        if name not in own:
            kind.pop("required", None)
        elif "kind" in kind.get("properties", {}):
            kind["required"] = ["kind", *kind.get("required", [])]
    for node in _nodes(schema):
        # A word that YAML takes for a number or a date is text all the same.
        if node.get("type") == "string" and "enum" not in node and "const" not in node:
            node["type"] = ["string", "number", "boolean"]
    title = "Config of an Evergreen dataset"
    return {"$schema": _DRAFT, **schema, "title": title}


def schema_text() -> str:
    """Return the schema as the file beside the configs has it."""
    return json.dumps(config_schema(), indent=1, ensure_ascii=False) + "\n"


def _nodes(node: object) -> Iterator[dict[str, Any]]:
    """Yield every mapping of the schema that describes a value."""
    if isinstance(node, dict):
        mapping = cast("dict[str, Any]", node)
        yield mapping
        for inner in list(mapping.values()):
            yield from _nodes(inner)
    elif isinstance(node, list):
        for inner in cast("list[object]", node):
            yield from _nodes(inner)


def _reachable(
    node: Mapping[str, Any], properties: tuple[str, ...], kinds: Mapping[str, Any]
) -> set[str]:
    """Return the kinds that these properties of a schema lead to."""
    found: set[str] = set()
    waiting = [node["properties"][name] for name in properties]
    while waiting:
        for inner in _nodes(waiting.pop()):
            name = str(inner.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                waiting.append(kinds[name])
    return found
