"""The benchmark's network in Lightning's Trainer; logger, checkpoints, bars and summary off."""

import logging
import time
import warnings
from pathlib import Path

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.train_network import Network, final_loss, load_for_torch, tensors
from benchmarks.train_table import (
    BATCH_ROWS,
    LEARNING_RATE,
    WARM_UP_ROWS,
    Outcome,
    Table,
    run_contestant,
)


class Module(lightning.LightningModule):
    """The network with its loss and optimizer."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.network = Network(table.cardinalities)
        self.loss_of = nn.CrossEntropyLoss()

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of a batch."""
        x_cat, x_num, y = batch
        return self.loss_of(self.network(x_cat, x_num), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)


def small(folder: Path) -> Outcome:
    """Train all epochs, after a short training that does not count."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    table = load_for_torch(folder)

    def train(part: Table) -> Module:
        module = Module(part)
        loader = DataLoader(TensorDataset(*tensors(part)), batch_size=BATCH_ROWS, shuffle=True)
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=part.epochs,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
        return module

    train(table.head(WARM_UP_ROWS))
    start = time.process_time()
    module = train(table)
    cpu_s = time.process_time() - start
    return Outcome(cpu_s, table.n_rows * table.epochs, final_loss(module.network, table))


if __name__ == "__main__":
    run_contestant({"small": small})
