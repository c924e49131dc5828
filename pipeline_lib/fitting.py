"""From a config and a table to a fitted model, in one process and without any server.

`TrainingSession` is what the nightly flow and `fit` share: seeded weights, the loop, and the
model with the best epoch's weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import torch

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.checked import contract_checker
from pipeline_lib.data.prepared import split_columns, typed_to_split
from pipeline_lib.data.splits import assign_splits
from pipeline_lib.encoding import (
    ClassTarget,
    EncodedSplit,
    Encoder,
    NumberTarget,
    Target,
    fit_target,
)
from pipeline_lib.models import EmbeddingMLP, build_model
from pipeline_lib.serving import FittedModel
from pipeline_lib.training.devices import choose_device, describe_device, suitable_threads
from pipeline_lib.training.loop import EpochRecord, TensorSplit, TrainingLoop


def fit(config: PipelineConfig, table: pa.Table) -> FittedModel:
    """Train a model on a table: check, split, encode, learn; the test rows stay untouched.

    Args:
        config: as `load_config` gives it; its `data.source` is not read.
        table: raw rows with features and target.

    Raises:
        DataError: the rows break the contract.
        TrainingError: the loss is not finite, or there are too few rows.
        DeviceError: the device asked for is not there.
    """
    checker = contract_checker(config, source="the table")
    checker.check(table)
    kept = checker.finish(lambda: [table]).kept(table, 0)
    rows = typed_to_split(kept, config)
    train, val, _ = split_rows(rows, config)
    today = datetime.now(UTC).date().isoformat()
    encoder = Encoder.fit(train, config.columns, today=today, encoding=config.encoding)
    column = config.data.target
    target = fit_target(config.data, train[column], rows[column])
    session = TrainingSession.start(
        config,
        encoder,
        target,
        EncodedSplit.of(train, encoder, target),
        EncodedSplit.of(val, encoder, target),
    )
    for _ in session.epochs():
        pass
    return session.fitted()


def split_rows(rows: pa.Table, config: PipelineConfig) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the typed rows of train, val and test."""
    assigned = assign_splits(rows, split_columns(config), config.split, data=config.data)
    train, val, test = (rows.filter(pa.array(assigned == number)) for number in range(3))
    return train, val, test


@dataclass(frozen=True)
class TrainingSession:
    """One training: iterate `epochs()`, then take `fitted()`."""

    config: PipelineConfig
    encoder: Encoder
    target: Target
    train: TensorSplit
    network: EmbeddingMLP
    loop: TrainingLoop
    device: torch.device

    @classmethod
    def start(
        cls,
        config: PipelineConfig,
        encoder: Encoder,
        target: Target,
        train: EncodedSplit,
        val: EncodedSplit,
    ) -> "TrainingSession":
        """Put splits and a network with seeded weights on the device.

        Raises:
            DeviceError: the device asked for is not there.
            TrainingError: a split is too small.
        """
        device = choose_device(config.training.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.training.seed)
            network = build_model(
                config.model,
                cardinalities=encoder.cardinalities,
                n_numeric=encoder.n_numeric,
                d_out=target.d_out,
            ).to(device)
        on_device = TensorSplit.of(train, device)
        loop = TrainingLoop(
            network,
            on_device,
            TensorSplit.of(val, device),
            task=config.data.task,
            primary=config.primary,
            training=config.training,
            n_classes=len(target.classes) if isinstance(target, ClassTarget) else 0,
            target_scale=target.deviation if isinstance(target, NumberTarget) else 1.0,
        )
        return cls(config, encoder, target, on_device, network, loop, device)

    def epochs(self) -> Iterator[EpochRecord]:
        """Train; yields one record per epoch."""
        with suitable_threads(self.loop.batch_rows * self.n_weights, self.device):
            yield from self.loop.epochs()

    @property
    def n_weights(self) -> int:
        """The number of trained weights."""
        return sum(weight.numel() for weight in self.network.parameters())

    @property
    def device_name(self) -> str:
        """What a person calls the device."""
        return describe_device(self.device)

    def progress(self, record: EpochRecord) -> str:
        """Return one line about an epoch."""
        return (
            f"epoch {record.epoch}/{self.config.training.epochs}  "
            f"train loss {record.train_loss:.4f}  val loss {record.val_loss:.4f}  "
            f"val {self.config.primary} {record.primary:.4f}"
        )

    def best_metrics(self, history: Sequence[EpochRecord]) -> dict[str, float]:
        """Return the best epoch's figures and the throughput, named as MLflow shows them."""
        best, seconds = self.loop.best, sum(record.epoch_s for record in history)
        figures = {
            "best/epoch": best.epoch,
            "best/train_loss": best.train_loss,
            "best/val_loss": best.val_loss,
            "rows_per_s": self.train.n_rows * len(history) / max(seconds, 1e-9),
        }
        if self.config.primary != "log_loss":
            figures[f"best/{self.config.primary}"] = best.primary
        return figures

    def facts(self, history: Sequence[EpochRecord]) -> dict[str, str]:
        """Return what a report says of the training."""
        best, seconds = self.loop.best, sum(record.epoch_s for record in history)
        return {
            "model": f"{self.config.model.kind}, {self.n_weights:,} weights",
            "device": self.device_name,
            "epochs": f"{len(history)} in {seconds:.1f} s, the best was {best.epoch}",
            "validation": f"loss {best.val_loss:.4f}, {self.config.primary} {best.primary:.4f}",
        }

    def fitted(self) -> FittedModel:
        """Return the model with the best epoch's weights."""
        self.network.fill_untrained(self.train.x_cat)
        return FittedModel(
            self.config.name,
            self.config.data.task,
            self.config.model,
            self.encoder,
            self.target,
            self.network,
        )
