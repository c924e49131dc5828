"""From a config and a table to a fitted model, in one process and without any server.

`TrainingSession` is what the nightly flow and `fit` share: seeded weights, the loop, and the
model with the best epoch's weights.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import torch

from pipeline_lib.config import CrossEntropy, PipelineConfig
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
from pipeline_lib.training.loop import EpochRecord, Progress, TrainingLoop
from pipeline_lib.training.losses import class_weights
from pipeline_lib.training.rows import (
    Rows,
    TensorSplit,
    count_classes,
    count_codes,
    memory_budget,
    open_split,
)


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
    train: Rows
    network: EmbeddingMLP
    loop: TrainingLoop
    device: torch.device

    @classmethod
    def start(
        cls,
        config: PipelineConfig,
        encoder: Encoder,
        target: Target,
        train: EncodedSplit | Path,
        val: EncodedSplit | Path,
    ) -> "TrainingSession":
        """Put splits and a network with seeded weights on the device.

        Args:
            config: of the dataset.
            encoder: the one that made the splits.
            target: how it is encoded.
            train: the split, or its parquet file; a file larger than the budget is streamed.
            val: likewise.

        Raises:
            DeviceError: the device asked for is not there.
            TrainingError: a split is too small, or a weight is of a class that does not exist.
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
        budget = (config.training.memory_budget_mb or 0) * 2**20 or memory_budget(device)

        def rows_of(split: EncodedSplit | Path) -> Rows:
            if isinstance(split, Path):
                return open_split(split, encoder, device, budget_bytes=budget)
            return TensorSplit.of(split, device)

        on_device = rows_of(train)
        classes = target.classes if isinstance(target, ClassTarget) else ()
        loss = config.training.loss
        weights = None
        if isinstance(loss, CrossEntropy) and loss.class_weights is not None:
            weights = class_weights(loss, classes, count_classes(on_device, len(classes)))
        loop = TrainingLoop(
            network,
            on_device,
            rows_of(val),
            task=config.data.task,
            primary=config.primary,
            training=config.training,
            n_classes=len(classes),
            target_scale=target.deviation if isinstance(target, NumberTarget) else 1.0,
            class_weights=weights,
            numeric_names=encoder.numeric_names,
        )
        return cls(config, encoder, target, on_device, network, loop, device)

    def epochs(self, on_pulse: Callable[[Progress], None] | None = None) -> Iterator[EpochRecord]:
        """Train; yields one record per epoch. See `TrainingLoop.epochs`."""
        with suitable_threads(self.loop.batch_rows * self.n_weights, self.device):
            yield from self.loop.epochs(on_pulse)

    @property
    def n_weights(self) -> int:
        """The number of weights that a row is multiplied with: tables of embeddings left out."""
        every = sum(weight.numel() for weight in self.network.parameters())
        tables = sum(weight.numel() for weight in self.network.embeddings.parameters())
        return every - tables

    @property
    def device_name(self) -> str:
        """What a person calls the device."""
        return describe_device(self.device)

    @property
    def is_streamed(self) -> bool:
        """Whether the training rows stay on the disk."""
        return not isinstance(self.train, TensorSplit)

    def sample(self) -> TensorSplit:
        """Return the first two training rows."""
        return next(iter(self.train.in_order(2)))

    def progress(self, record: EpochRecord) -> str:
        """Return one line about an epoch."""
        return (
            f"epoch {record.epoch}/{self.config.training.epochs}  "
            f"train loss {record.train_loss:.4f}  val loss {record.val_loss:.4f}  "
            f"val {self.config.primary} {record.primary:.4f}"
        )

    def best_metrics(self) -> dict[str, float]:
        """Return the best epoch's figures and the throughput, named as MLflow shows them."""
        best, history = self.loop.best, self.loop.history
        seconds = sum(record.epoch_s for record in history)
        figures = {
            "best/epoch": best.epoch,
            "best/train_loss": best.train_loss,
            "best/val_loss": best.val_loss,
            "rows_per_s": self.train.n_rows * len(history) / max(seconds, 1e-9),
        }
        if self.config.primary != "log_loss":
            figures[f"best/{self.config.primary}"] = best.primary
        return figures

    def facts(self) -> dict[str, str]:
        """Return what a report says of the training."""
        best, history = self.loop.best, self.loop.history
        seconds = sum(record.epoch_s for record in history)
        n_weights = sum(weight.numel() for weight in self.network.parameters())
        return {
            "model": f"{self.config.model.kind}, {n_weights:,} weights",
            "device": self.device_name + (", rows streamed" if self.is_streamed else ""),
            "epochs": f"{len(history)} in {seconds:.1f} s, the best was {best.epoch}",
            "validation": f"loss {best.val_loss:.4f}, {self.config.primary} {best.primary:.4f}",
        }

    def fitted(self) -> FittedModel:
        """Return the model with the best epoch's weights."""
        self.network.fill_untrained(count_codes(self.train, self.encoder.cardinalities))
        return FittedModel(
            self.config.name,
            self.config.data.task,
            self.config.model,
            self.encoder,
            self.target,
            self.network,
        )
