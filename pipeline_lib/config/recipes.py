"""Training settings that suit a kind of model, from the number of training rows alone.

The rules are smooth in the number of rows: a table that grows by a row is trained alike.
"""

import math

from pipeline_lib.config.schedules import CosineWarmupSchedule
from pipeline_lib.config.training import AdamW, EarlyStopping, TrainingSettings

# What of `training` a recipe chooses, where a config does not set it.
CHOSEN = frozenset(
    {"epochs", "batch_size", "optimizer", "scheduler", "ema_decay", "early_stopping"}
)
# From these rows on steps grow as the cube root of the rows.
_ROWS, _STEPS = 4_000, 3_200
# Epochs without a better validation loss, of all: noisy tables stop early, exact ones never.
_PATIENCE = 20
_BATCH_ROWS = 256
# From here on batches grow with the rows, as the square root.
_LARGE = 65_536


def tabular_mlp_recipe(n_train: int, *, seed: int = 0) -> TrainingSettings:
    """Return how a `tabular_mlp` learns well from so many rows.

    Steps are 3,200 up to 4,000 rows, 5,500 at 20,000, 20,000 at a million. The rate rises over 5 %
    of them and falls along half a cosine.

    Args:
        n_train: training rows, at least 2.
        seed: of the training.
    """
    batch_size = batch_rows(n_train)
    steps_per_epoch = max(1, n_train // batch_size)
    epochs = max(1, round(steps_of(n_train) / steps_per_epoch))
    return TrainingSettings(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=AdamW(learning_rate=2.5e-3, beta2=0.95, weight_decay=0.02),
        scheduler=CosineWarmupSchedule(warmup=0.05),
        ema_decay=0.97,
        early_stopping=EarlyStopping(patience=max(5, math.ceil(epochs / _PATIENCE))),
        seed=seed,
    )


def steps_of(n_train: int) -> int:
    """Return the steps of a whole training.

    >>> steps_of(300), steps_of(4_000), steps_of(20_000), steps_of(1_000_000)
    (3200, 3200, 5472, 20159)
    """
    return round(_STEPS * max(1.0, n_train / _ROWS) ** (1 / 3))


def batch_rows(n_train: int) -> int:
    """Return the rows of a step: an eighth of few rows, 256 of many, more of very many.

    >>> batch_rows(100), batch_rows(800), batch_rows(4_000), batch_rows(1_048_576)
    (32, 100, 256, 1024)
    """
    if n_train <= _LARGE:
        return min(_BATCH_ROWS, max(32, n_train // 8))
    return round(_BATCH_ROWS * math.sqrt(n_train / _LARGE))
