"""Where in its file a config says something, for messages about data that it does not allow."""

from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from pipeline_lib.config.pipeline import PipelineConfig
from pipeline_lib.config.problems import line_of


def place_of(config: PipelineConfig, keys: Sequence[str]) -> str:
    """Return `file:line` of the last of nested keys that the file has; "" without a file."""
    if not config.path:
        return ""
    path = config.root / Path(config.path)
    try:
        # The round-trip loader builds no objects and keeps the line of each key.
        document: object = YAML(typ="rt").load(path.read_text("utf-8"))  # pyright: ignore[reportUnknownMemberType]
    except (OSError, YAMLError, ValueError):
        return config.path
    if not isinstance(document, CommentedMap):
        return config.path
    return f"{config.path}:{line_of(keys, document)}"
