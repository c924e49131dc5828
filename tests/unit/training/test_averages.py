"""A moving average of weights: a closed form, and what is validated and kept."""

from typing import Any

import pytest
import torch
from torch import nn

from pipeline_lib.config import TrainingSettings
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.training.averages import averaged
from pipeline_lib.training.loop import TensorSplit, TrainingLoop


@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_the_average_is_the_sum_of_weights_by_their_shares(decay: float) -> None:
    model, random = nn.Linear(3, 2), torch.Generator().manual_seed(0)
    average = averaged(model, decay)
    path = [torch.randn(2, 3, generator=random, dtype=torch.float64) for _ in range(30)]

    for weight in path:
        with torch.no_grad():
            model.weight.copy_(weight)
        average.update_parameters(model)

    # of the n-th update's weight there is left what later updates kept
    kept = [0.0, *(min(decay, (1 + n) / (10 + n)) for n in range(1, 30))]
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for share, weight in zip(kept, path, strict=True):
        expected = share * expected + (1 - share) * weight
    torch.testing.assert_close(average.module.weight.double(), expected, rtol=1e-5, atol=1e-6)


def test_counts_of_batch_norm_are_the_models_own() -> None:
    model = nn.BatchNorm1d(2)
    average = averaged(model, 0.9)
    for _ in range(4):
        model(torch.randn(5, 2))
        average.update_parameters(model)

    assert average.module.num_batches_tracked == 4
    assert average.module.running_mean is not model.running_mean


def _loop(**training: Any) -> TrainingLoop:
    random = torch.Generator().manual_seed(0)
    x_num = torch.randn(300, 3, generator=random)
    x_cat = torch.randint(0, 6, (300, 1), generator=random).to(torch.int32)
    split = TensorSplit(x_cat, x_num, (x_num.sum(dim=1) > 0).long())
    torch.manual_seed(1)
    model = EmbeddingMLP((6,), n_numeric=3, d_out=1, d_hidden=(8,), dropout=0.0)
    settings = {"epochs": 4, "batch_size": 32, "device": "cpu", **training}
    return TrainingLoop(
        model,
        split.slice(0, 200),
        split.slice(200, 300),
        task="binary",
        primary="log_loss",
        training=TrainingSettings.model_validate(settings),
        n_classes=2,
    )


def test_the_average_is_what_is_validated_and_kept() -> None:
    plain, smooth = _loop(), _loop(ema_decay=0.99)
    theirs, ours = list(plain.epochs()), list(smooth.epochs())

    assert [r.train_loss for r in ours] == [r.train_loss for r in theirs]
    assert [r.val_loss for r in ours] != [r.val_loss for r in theirs]
    rows = next(iter(smooth._val.in_order(1000)))
    with torch.no_grad():
        logits = smooth.model(rows.x_cat, rows.x_num)[:, 0]
        kept = nn.functional.binary_cross_entropy_with_logits(logits, rows.y.float())
    assert float(kept) == pytest.approx(smooth.best.val_loss, rel=1e-5)
