"""TensorBoard event files: scalars per epoch and the network's graph."""

import logging
import socket
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import nn
from torch.utils.tensorboard import _pytorch_graph as pytorch_graph

from pipeline_lib.config.metrics import Metric
from pipeline_lib.training.records import EpochRecord
from pipeline_lib.training.rows import TensorSplit

_logger = logging.getLogger(__name__)


class TensorBoardLog:
    """Writes an event file into a folder, readable by `tensorboard --logdir`.

    Each event is in the file when its call returns.

    TensorBoard's own writer writes in a thread, which a full disk ends with a traceback, and the
    training at the next epoch. Here it is logged once and writing stops.
    """

    def __init__(
        self, folder: Path, *, primary: Metric, history: Sequence[EpochRecord] = ()
    ) -> None:
        self._path = folder / f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
        self._primary, self._n_records, self._has_failed = primary, 0, False
        self._write(file_version="brain.Event:2")
        for record in history:
            self.append(record)

    def add_graph(self, network: nn.Module, sample: TensorSplit) -> None:
        """Write the network's graph, traced in eval mode with two rows."""
        was_training = network.training
        network.eval()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # torch announces that tracing will go one day
            graph, _ = pytorch_graph.graph(network, (sample.x_cat[:2], sample.x_num[:2]))
        network.train(was_training)
        self._write(graph_def=graph.SerializeToString())

    def append(self, record: EpochRecord) -> None:
        """Write one epoch's scalars; epochs of several members follow each other."""
        self._n_records += 1
        scalars = {
            "train/loss": record.train_loss,
            "val/loss": record.val_loss,
            f"val/{self._primary}": record.primary,
            "learning_rate": record.learning_rate,
        }
        values = [
            {"tag": tag, "simple_value": value}
            for tag, value in scalars.items()
            if value is not None
        ]
        summary = summary_pb2.Summary(value=values)  # pyright: ignore[reportAttributeAccessIssue]
        self._write(step=self._n_records, summary=summary)

    def _write(self, **content: object) -> None:
        if self._has_failed:
            return
        made = event_pb2.Event  # pyright: ignore[reportAttributeAccessIssue] - protobuf makes it
        event = made(wall_time=time.time(), **content)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                RecordWriter(file).write(event.SerializeToString())
        except OSError as error:
            _logger.warning("no curves in TensorBoard from here (%s)", error.strerror or error)
            self._has_failed = True
