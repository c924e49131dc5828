"""Every value a user may set, and how a YAML file becomes one. Imports no torch, no mlflow.

What a user needs is here; all else is imported from its own module, as
`pipeline_lib.config.columns`.
"""

from pipeline_lib.config.load import load_config
from pipeline_lib.config.pipeline import Overrides, PipelineConfig

__all__ = ["Overrides", "PipelineConfig", "load_config"]
