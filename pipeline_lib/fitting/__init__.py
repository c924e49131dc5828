"""From a config and rows to a fitted model, in one process and without any server."""

from pipeline_lib.fitting.first_weights import Start, start_training
from pipeline_lib.fitting.held import save_held
from pipeline_lib.fitting.in_memory import fit, split_rows, start_on_rows
from pipeline_lib.fitting.session import TrainingSession

__all__ = [
    "Start",
    "TrainingSession",
    "fit",
    "save_held",
    "split_rows",
    "start_on_rows",
    "start_training",
]
