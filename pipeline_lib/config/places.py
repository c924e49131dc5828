"""Where in its file a config says something, for messages about data that it does not allow."""

from collections.abc import Sequence

from pipeline_lib.config.pipeline import PipelineConfig
from pipeline_lib.config.problems import line_of
from pipeline_lib.config.yaml_text import YamlTextError, read_yaml_text


def place_of(config: PipelineConfig, keys: Sequence[str]) -> str:
    """Return `file:line` of the last of nested keys that the file has; "" without a file."""
    if not config.path:
        return ""
    try:
        text = read_yaml_text((config.root / config.path).read_text("utf-8"))
    except (OSError, YamlTextError, UnicodeDecodeError):
        return config.path
    return f"{config.path}:{line_of(keys, text.lines)}"
