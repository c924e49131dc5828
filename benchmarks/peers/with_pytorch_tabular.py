"""A CategoryEmbeddingModel of the benchmark's widths in pytorch-tabular.

Its BatchNorm comes before each Linear and it computes the accuracy of each batch, as is its
default. Encoding is done before the clock starts. It asks for rows to validate on and gets a
quarter of a batch.
"""

import time
import warnings
from pathlib import Path

import pandas as pd
from pytorch_tabular import TabularModel
from pytorch_tabular.config import DataConfig, OptimizerConfig, TrainerConfig
from pytorch_tabular.models import CategoryEmbeddingModelConfig

from benchmarks.train_network import load_for_torch
from benchmarks.train_table import (
    BATCH_ROWS,
    CATEGORIES,
    D_HIDDEN,
    DROPOUT,
    LEARNING_RATE,
    LOSS_ROWS,
    N_CLASSES,
    NUMBERS,
    WARM_UP_ROWS,
    Outcome,
    Table,
    embedding_width,
    log_loss,
    run_contestant,
)

_VAL_ROWS = 256


def small(folder: Path) -> Outcome:
    """Train all epochs, after a short training that does not count."""
    warnings.filterwarnings("ignore")
    table = load_for_torch(folder)
    _train(table.head(WARM_UP_ROWS))
    model, cpu_s = _train(table)
    first = table.head(LOSS_ROWS)
    predicted = model.predict(_frame(first))
    probs = predicted[[f"y_{c}_probability" for c in range(N_CLASSES)]].to_numpy()
    return Outcome(cpu_s, table.n_rows * table.epochs, log_loss(probs, first.y))


def _train(table: Table) -> tuple[TabularModel, float]:
    """Train; return the model and the CPU seconds of its training alone."""
    frame = _frame(table)
    model = TabularModel(
        data_config=DataConfig(
            target=["y"],
            continuous_cols=NUMBERS,
            categorical_cols=CATEGORIES,
            normalize_continuous_features=False,
        ),
        model_config=CategoryEmbeddingModelConfig(
            task="classification",
            layers="-".join(str(width) for width in D_HIDDEN),
            activation="ReLU",
            use_batch_norm=True,
            dropout=DROPOUT,
            embedding_dims=_embedding_dims(frame),
            embedding_dropout=DROPOUT,
            batch_norm_continuous_input=False,
            learning_rate=LEARNING_RATE,
        ),
        optimizer_config=OptimizerConfig(),
        trainer_config=TrainerConfig(
            batch_size=BATCH_ROWS,
            max_epochs=table.epochs,
            accelerator="cpu",
            devices=1,
            early_stopping=None,
            checkpoints=None,
            load_best=False,
            progress_bar="none",
            trainer_kwargs={"enable_model_summary": False},
        ),
        verbose=False,
    )
    datamodule = model.prepare_dataloader(train=frame, validation=frame.iloc[:_VAL_ROWS])
    model.logger = False  # no option of the configs does it
    network = model.prepare_model(datamodule)
    start = time.process_time()
    model.train(network, datamodule)
    return model, time.process_time() - start


def _embedding_dims(frame: pd.DataFrame) -> list[tuple[int, int]]:
    """Return rows and width of each embedding; one row more for null and unseen."""
    n_categories = [int(frame[name].nunique()) for name in CATEGORIES]
    return [(n + 1, embedding_width(n)) for n in n_categories]


def _frame(table: Table) -> pd.DataFrame:
    frame = pd.DataFrame(table.x_cat, columns=CATEGORIES)
    frame[NUMBERS] = table.x_num
    return frame.assign(y=table.y)


if __name__ == "__main__":
    run_contestant({"small": small})
