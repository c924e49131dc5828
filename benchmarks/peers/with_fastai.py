"""A learner of the benchmark's widths from fastai's `tabular_learner`, its own Adam and layers.

Its layers have no bias before BatchNorm, else they are the benchmark's. It asks for rows to
validate on and gets a quarter of a batch.
"""

import time
from pathlib import Path

import pandas as pd
from fastai.tabular.all import (
    Categorify,
    CategoryBlock,
    TabularDataLoaders,
    TabularLearner,
    tabular_config,
    tabular_learner,
)

from benchmarks.train_network import load_for_torch
from benchmarks.train_table import (
    BATCH_ROWS,
    CATEGORIES,
    D_HIDDEN,
    DROPOUT,
    LEARNING_RATE,
    LOSS_ROWS,
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
    table = load_for_torch(folder)

    def train(learner: TabularLearner, epochs: int) -> None:
        with learner.no_bar(), learner.no_logging():
            learner.fit(epochs, LEARNING_RATE)

    train(_learner(table.head(WARM_UP_ROWS)), 1)
    learner = _learner(table)
    start = time.process_time()
    train(learner, table.epochs)
    cpu_s = time.process_time() - start
    first = table.head(LOSS_ROWS)
    with learner.no_bar():
        probs, _ = learner.get_preds(dl=learner.dls.test_dl(_frame(first)))
    loss = log_loss(probs.numpy(), first.y)
    return Outcome(cpu_s, table.n_rows * table.epochs, loss)


def _learner(table: Table) -> TabularLearner:
    frame = _frame(table)
    loaders = TabularDataLoaders.from_df(
        pd.concat([frame, frame.iloc[:_VAL_ROWS]], ignore_index=True),
        procs=[Categorify],
        cat_names=CATEGORIES,
        cont_names=NUMBERS,
        y_names="y",
        y_block=CategoryBlock(),
        valid_idx=list(range(len(frame), len(frame) + _VAL_ROWS)),
        bs=BATCH_ROWS,
    )
    widths = [embedding_width(n) for n in table.cardinalities]
    return tabular_learner(
        loaders,
        layers=list(D_HIDDEN),
        emb_szs=dict(zip(CATEGORIES, widths, strict=True)),
        config=tabular_config(ps=DROPOUT, embed_p=DROPOUT, bn_cont=False),
    )


def _frame(table: Table) -> pd.DataFrame:
    frame = pd.DataFrame(table.x_cat, columns=CATEGORIES)
    frame[NUMBERS] = table.x_num
    return frame.assign(y=table.y)


if __name__ == "__main__":
    run_contestant({"small": small})
