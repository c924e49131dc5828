"""Where in its files a config says something, for messages about data that it does not allow."""

from collections.abc import Sequence

from pipeline_lib.config.layers import read_layers
from pipeline_lib.config.pipeline import PipelineConfig
from pipeline_lib.errors import ConfigError


def place_of(config: PipelineConfig, keys: Sequence[str | int]) -> str:
    """Return `file:line` of the last of nested keys that a file has; "" without a file.

    The file is the config's, or the one with the shared settings that the key is from.
    """
    if not config.path:
        return ""
    try:
        layers = read_layers(config.root / config.path)
    except (OSError, ValueError, ConfigError):
        return config.path
    spot = layers.spot(keys)
    file = config.path if not spot.rank else _below(spot.file, config)
    return f"{file}:{spot.line}"


def _below(file: str, config: PipelineConfig) -> str:
    return file.removeprefix(f"{config.root}/")
