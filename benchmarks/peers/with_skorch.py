"""The benchmark's network in skorch's classifier, without output and without validation rows."""

import time
from pathlib import Path

import numpy.typing as npt
import torch
from skorch import NeuralNetClassifier
from torch import nn

from benchmarks.train_network import Network, load_for_torch
from benchmarks.train_table import (
    BATCH_ROWS,
    LEARNING_RATE,
    LOSS_ROWS,
    WARM_UP_ROWS,
    Outcome,
    Table,
    log_loss,
    run_contestant,
)


def small(folder: Path) -> Outcome:
    """Train all epochs, after a short training that does not count."""
    table = load_for_torch(folder)

    def train(part: Table) -> NeuralNetClassifier:
        classifier = NeuralNetClassifier(
            Network,
            module__cardinalities=part.cardinalities,
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=LEARNING_RATE,
            batch_size=BATCH_ROWS,
            max_epochs=part.epochs,
            iterator_train__shuffle=True,
            train_split=None,
            verbose=0,
        )
        return classifier.fit(_inputs(part), part.y)

    train(table.head(WARM_UP_ROWS))
    start = time.process_time()
    classifier = train(table)
    cpu_s = time.process_time() - start
    first = table.head(LOSS_ROWS)
    loss = log_loss(classifier.predict_proba(_inputs(first)), first.y)
    return Outcome(cpu_s, table.n_rows * table.epochs, loss)


def _inputs(table: Table) -> dict[str, npt.NDArray]:
    return {"x_cat": table.x_cat, "x_num": table.x_num}


if __name__ == "__main__":
    run_contestant({"small": small})
