"""TensorBoard event files: scalars per epoch and the network's graph."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from pipeline_lib.config import Metric
from pipeline_lib.training.records import EpochRecord
from pipeline_lib.training.rows import TensorSplit


class TensorBoardLog:
    """Writes event files into a folder, readable by `tensorboard --logdir`."""

    def __init__(
        self, folder: Path, *, primary: Metric, history: Sequence[EpochRecord] = ()
    ) -> None:
        self._writer = SummaryWriter(str(folder))
        self._primary, self._n_records = primary, 0
        for record in history:
            self.append(record)

    def __enter__(self) -> "TensorBoardLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.close()

    def add_graph(self, network: nn.Module, sample: TensorSplit) -> None:
        """Write the network's graph, traced in eval mode with two rows."""
        was_training = network.training
        network.eval()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch announces that tracing will go one day
            self._writer.add_graph(network, (sample.x_cat[:2], sample.x_num[:2]))
        network.train(was_training)

    def append(self, record: EpochRecord) -> None:
        """Write one epoch's scalars; epochs of several members follow each other."""
        self._n_records += 1
        scalars = {
            "train/loss": record.train_loss,
            "val/loss": record.val_loss,
            f"val/{self._primary}": record.primary,
            "learning_rate": record.learning_rate,
        }
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, self._n_records)
