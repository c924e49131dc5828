"""A small training that tests stop, resume and compare."""

from typing import Any

import torch

from pipeline_lib.config.data import Task
from pipeline_lib.config.metrics import METRICS, Metric
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.rows import TensorSplit


def small_loop(
    *, n_train: int = 70, n_val: int = 20, dropout: float = 0.3, seed: int = 1, **training: Any
) -> TrainingLoop:
    """Return a binary training with one column of 40 categories and two of numbers.

    Args:
        n_train: rows to learn from.
        n_val: rows to validate on.
        dropout: p after the one block.
        seed: of the first weights.
        training: settings that are not 5 epochs of batches of 16.
    """
    random = torch.Generator().manual_seed(0)
    n_rows = n_train + n_val
    x_num = torch.randn(n_rows, 2, generator=random)
    x_cat = torch.randint(0, 40, (n_rows, 1), generator=random).to(torch.int32)
    split = TensorSplit(x_cat, x_num, (x_num[:, 0] > 0).long())
    torch.manual_seed(seed)
    model = EmbeddingMLP((40,), n_numeric=2, d_out=1, d_hidden=(6,), dropout=dropout)
    settings = {"epochs": 5, "batch_size": 16, "device": "cpu", "seed": seed, **training}
    return TrainingLoop(
        model,
        split.slice(0, n_train),
        split.slice(n_train, n_rows),
        task="binary",
        primary="accuracy",
        training=TrainingSettings.model_validate(settings),
        n_classes=2,
        numeric_names=("height", "weight"),
    )


def toy_split(
    n_rows: int, *, task: Task = "multiclass", seed: int = 0, n_numeric: int = 2
) -> TensorSplit:
    """Return rows that can be learned, with one column of categories."""
    generator = torch.Generator().manual_seed(seed)
    x_num = torch.randn(n_rows, n_numeric, generator=generator)
    x_cat = torch.randint(2, 5, (n_rows, 1), generator=generator).to(torch.int32)
    match task:
        case "multiclass":
            y = (x_num[:, 0] > 0).long() + (x_cat[:, 0] == 3).long()
        case "binary":
            y = (x_num[:, 0] > 0).long()
        case _:
            y = x_num[:, 0] * 2 + x_num[:, 1]
    return TensorSplit(x_cat, x_num, y)


def toy_loop(
    train: TensorSplit,
    val: TensorSplit,
    *,
    task: Task = "multiclass",
    primary: Metric | None = None,
    dropout: float = 0.0,
    **training: Any,
) -> TrainingLoop:
    """Return a training on such rows."""
    settings = {
        "epochs": 5,
        "batch_size": 16,
        "optimizer": {"kind": "adam", "learning_rate": 0.05},
        "device": "cpu",
        **training,
    }
    torch.manual_seed(1)
    n_classes = {"multiclass": 3, "binary": 2, "regression": 0}[task]
    model = EmbeddingMLP(
        (5,),
        n_numeric=train.x_num.shape[1],
        d_out=3 if task == "multiclass" else 1,
        d_hidden=(8,),
        dropout=dropout,
        dropout_embedding=dropout,
    )
    return TrainingLoop(
        model,
        train,
        val,
        task=task,
        primary=primary or METRICS[task][0],
        training=TrainingSettings.model_validate(settings),
        n_classes=n_classes,
    )
