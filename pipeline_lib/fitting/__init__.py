"""From a config and rows to a fitted model, in one process and without any server."""

from pipeline_lib.fitting.first_weights import Start, start_training
from pipeline_lib.fitting.in_memory import fit, split_rows, start_on_rows
from pipeline_lib.fitting.session import TrainingSession

__all__ = ["Start", "TrainingSession", "fit", "split_rows", "start_on_rows", "start_training"]
