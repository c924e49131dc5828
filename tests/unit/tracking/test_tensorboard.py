"""Event files that TensorBoard itself can read."""

from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.tracking.tensorboard import TensorBoardLog
from pipeline_lib.training.records import EpochRecord
from pipeline_lib.training.rows import TensorSplit


def test_tensorboard_reads_every_scalar_of_every_epoch_and_the_graph(tmp_path: Path) -> None:
    network = EmbeddingMLP((5,), n_numeric=2, d_out=3, d_hidden=(4,)).train()
    split = TensorSplit(
        torch.ones(9, 1, dtype=torch.int32), torch.randn(9, 2), torch.zeros(9, dtype=torch.int64)
    )
    before = {name: value.clone() for name, value in network.state_dict().items()}

    board = TensorBoardLog(tmp_path, primary="macro_f1")
    board.add_graph(network, split)
    for epoch in (1, 2, 3):
        board.append(EpochRecord(epoch, 1 / epoch, 2 / epoch, 0.5, 0.1, 1.0, is_best=True))

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) == {"train/loss", "val/loss", "val/macro_f1", "learning_rate"}
    assert tags["graph"] is True
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(epoch, pytest.approx(1 / epoch)) for epoch in (1, 2, 3)]
    assert "EmbeddingMLP" in str(events.Graph())
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_metric_without_a_value_has_no_point_in_tensorboard(tmp_path: Path) -> None:
    board = TensorBoardLog(tmp_path, primary="roc_auc")

    board.append(EpochRecord(1, 1.0, 2.0, None, 0.1, 1.0, is_best=True))

    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "val/loss", "learning_rate"}
