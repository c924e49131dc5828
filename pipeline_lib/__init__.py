"""What Evergreen does to rows, tensors and models, without Prefect.

>>> from pipeline_lib import fit, load_config, load_model
>>> from pipeline_lib.data.car_evaluation import car_evaluation
>>> car_evaluation().num_rows
1728

Importing this package imports nothing heavy; torch comes with `fit` and `load_model`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline_lib.config import load_config
    from pipeline_lib.fitting import fit
    from pipeline_lib.serving import FittedModel, load_model

__all__ = ["FittedModel", "fit", "load_config", "load_model"]

_HOMES = {
    "FittedModel": "pipeline_lib.serving",
    "fit": "pipeline_lib.fitting",
    "load_config": "pipeline_lib.config",
    "load_model": "pipeline_lib.serving",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
