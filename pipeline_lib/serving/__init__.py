"""Raw rows in, predictions out: the one path that scoring, packaging and the gate share."""

from pipeline_lib.serving.predictor import (
    ExtraColumnsWarning,
    FittedModel,
    Predictions,
    TimeZoneWarning,
    load_model,
)

__all__ = ["ExtraColumnsWarning", "FittedModel", "Predictions", "TimeZoneWarning", "load_model"]
