"""How a network learns: the loop and what it is put together from."""

from pipeline_lib.training.devices import choose_device
from pipeline_lib.training.loop import EpochRecord, TensorSplit, TrainingLoop
from pipeline_lib.training.losses import build_loss, probabilities
from pipeline_lib.training.metrics import build_metric
from pipeline_lib.training.optimizers import build_optimizer
from pipeline_lib.training.schedulers import Schedule, build_schedule

__all__ = [
    "EpochRecord",
    "Schedule",
    "TensorSplit",
    "TrainingLoop",
    "build_loss",
    "build_metric",
    "build_optimizer",
    "build_schedule",
    "choose_device",
    "probabilities",
]
