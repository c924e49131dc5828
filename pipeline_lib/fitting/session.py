"""One training: seeded or carried-over weights, the loop, and the model of the best epochs.

`TrainingSession` is what the nightly flow and `fit` share.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from pipeline_lib.config import CrossEntropy, PipelineConfig, TrainingSettings
from pipeline_lib.encoding import ClassTarget, EncodedSplit, Encoder, NumberTarget, Target
from pipeline_lib.fitting.warm_start import obstacle
from pipeline_lib.home import Home
from pipeline_lib.models import EmbeddingMLP, build_model
from pipeline_lib.models.carry_over import CarriedOver, Learned, carried_widths, carry_over
from pipeline_lib.serving import FittedModel
from pipeline_lib.training.devices import choose_device, describe_device, suitable_threads
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.losses import class_weights
from pipeline_lib.training.members import Members
from pipeline_lib.training.metrics import why_undefined
from pipeline_lib.training.records import EpochRecord, Progress
from pipeline_lib.training.rows import (
    Rows,
    TensorSplit,
    count_classes,
    count_codes,
    memory_budget,
    open_split,
)


@dataclass(frozen=True)
class _Networks:
    """Makes each member's network with its first weights."""

    config: PipelineConfig
    encoder: Encoder
    target: Target
    champion: FittedModel | None

    def make(self, member: int) -> tuple[EmbeddingMLP, CarriedOver | None]:
        """Return the network of a member, by its number from 1."""
        source = self._source(member)
        settings, encoder = self.config.model, self.encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.training.seed + member - 1)
            network = build_model(
                settings,
                cardinalities=encoder.cardinalities,
                n_numeric=encoder.n_numeric,
                d_out=self.target.d_out,
                d_embeddings=source and carried_widths(source, encoder, settings.d_embedding_max),
            )
        if source is None:
            return network, None
        share = self.config.training.warm_share
        return network, carry_over(source, network, encoder, self.target, share=share)

    def _source(self, member: int) -> Learned | None:
        if self.champion is None:
            return None
        networks = self.champion.networks
        network = networks[(member - 1) % len(networks)]
        return Learned(network, self.champion.encoder, self.champion.target)


@dataclass(frozen=True)
class TrainingSession:
    """One training: iterate `epochs()`, then take `fitted()`."""

    config: PipelineConfig
    encoder: Encoder
    target: Target
    train: Rows
    training: TrainingSettings
    members: Members
    device: torch.device
    carried: CarriedOver | None = None
    obstacle: str = ""
    undefined: str = ""

    @classmethod
    def start(
        cls,
        config: PipelineConfig,
        encoder: Encoder,
        target: Target,
        train: EncodedSplit | Path,
        val: EncodedSplit | Path,
        *,
        champion: FittedModel | None = None,
        home: Home | None = None,
    ) -> "TrainingSession":
        """Put splits and a network with its first weights on the device.

        Args:
            config: of the dataset.
            encoder: the one that made the splits.
            target: how it is encoded.
            train: the split, or its parquet file; a file larger than the budget is streamed.
            val: likewise.
            champion: gives the first weights where they fit; `obstacle` says why not.
            home: keeps compiled code; the working directory's without it.

        Raises:
            DeviceError: the device asked for is not there.
            TrainingError: a split is too small, or a weight is of a class that does not exist.
        """
        device, training = choose_device(config.training.device), config.training
        why_not = obstacle(champion, config, encoder) if champion is not None else ""
        champion = None if why_not else champion
        if champion is not None:
            training = training.model_copy(update={"epochs": training.n_warm_epochs})
        budget = (training.memory_budget_mb or 0) * 2**20 or memory_budget(device)

        def rows_of(split: EncodedSplit | Path, budget_bytes: int) -> Rows:
            if isinstance(split, Path):
                return open_split(split, encoder, device, budget_bytes=budget_bytes)
            return TensorSplit.of(split, device)

        train_rows = rows_of(train, budget)
        val_rows = rows_of(val, budget - train_rows.size_bytes)
        classes = target.classes if isinstance(target, ClassTarget) else ()
        weights = None
        if isinstance(training.loss, CrossEntropy) and training.loss.class_weights is not None:
            counts = count_classes(train_rows, len(classes))
            weights = class_weights(training.loss, classes, counts)
        networks = _Networks(config, encoder, target, champion)
        carried: list[CarriedOver | None] = []

        def make(member: int) -> TrainingLoop:
            nonlocal networks
            network, known = networks.make(member)
            if member == training.n_members:  # nobody needs the champion any more
                networks = replace(networks, champion=None)
            carried.append(known)
            return TrainingLoop(
                network.to(device),
                train_rows,
                val_rows,
                # Of two classes one logit is enough, though the task allows for more.
                task="binary" if len(classes) == 2 else config.data.task,
                primary=config.primary,
                training=training.model_copy(update={"seed": training.seed + member - 1}),
                n_classes=len(classes),
                target_scale=target.deviation if isinstance(target, NumberTarget) else 1.0,
                class_weights=weights,
                numeric_names=encoder.numeric_names,
                home=home,
            )

        members = Members(make, training.n_members)
        return cls(
            config,
            encoder,
            target,
            train_rows,
            training,
            members,
            device,
            carried[0],
            why_not,
            why_undefined(config.primary, val_rows, n_classes=len(classes)),
        )

    def epochs(self, on_pulse: Callable[[Progress], None] | None = None) -> Iterator[EpochRecord]:
        """Train; yields one record per epoch. See `Members.epochs`."""
        with suitable_threads(self.members.batch_rows * self.n_weights, self.device):
            yield from self.members.epochs(on_pulse)

    @property
    def networks(self) -> tuple[EmbeddingMLP, ...]:
        """The members' networks so far."""
        return tuple(cast("EmbeddingMLP", model) for model in self.members.models)

    @property
    def network(self) -> EmbeddingMLP:
        """The network that is being trained."""
        return self.networks[-1]

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

    @property
    def plan(self) -> str:
        """What is about to be trained, in words."""
        training, n_steps, rows = self.training, self.members.n_steps, self.members.batch_rows
        members = f"{training.n_members} members of " if training.n_members > 1 else ""
        steps = (
            f"{n_steps:,} steps of {rows:,} rows" if n_steps > 1 else f"1 step of all {rows:,} rows"
        )
        asked = training.batch_size
        fewer = f" (batch_size is {asked:,})" if asked != "full" and asked > rows else ""
        return f"{members}{training.epochs} epochs of {steps}{fewer}"

    def sample(self) -> TensorSplit:
        """Return the first two training rows."""
        return next(iter(self.train.in_order(2)))

    def progress(self, record: EpochRecord) -> str:
        """Return one line about an epoch."""
        n_members = self.training.n_members
        member = f"member {record.member}/{n_members}  " if n_members > 1 else ""
        return (
            f"{member}epoch {record.epoch}/{self.training.epochs}  "
            f"train loss {record.train_loss:.4f}  val loss {record.val_loss:.4f}  "
            f"val {self.config.primary} {_figure(record.primary)}"
        )

    def notes_before(self) -> tuple[str, ...]:
        """Return what can be foreseen: that the primary metric will have no value."""
        why = f"is not defined on the validation rows: {self.undefined}"
        return (self._undefined(why),) if self.undefined else ()

    def notes_after(self) -> tuple[str, ...]:
        """Return what was foreseen, or has come out: epochs whose primary metric has no value."""
        history = self.members.history
        missing = sum(record.primary is None for record in history)
        if self.undefined or not missing:
            return self.notes_before()
        return (self._undefined(f"had no finite value in {missing} of {len(history)} epochs"),)

    def _undefined(self, how: str) -> str:
        best = "the best epoch is the one with the lowest loss"
        if any(record.primary is not None for record in self.members.best):
            best = "none of these is the best epoch"
        of_interest = f"; {best}" if self.training.monitor == "primary" else ""
        return f"{self.config.primary} {how}{of_interest}"

    def best_metrics(self) -> dict[str, float]:
        """Return the best epochs' figures and the throughput, named as MLflow shows them.

        Of several members a figure is their mean.
        """
        best, history = self.members.best, self.members.history
        seconds = sum(record.epoch_s for record in history)
        figures = {
            "best/epoch": _mean([record.epoch for record in best]),
            "best/train_loss": _mean([record.train_loss for record in best]),
            "best/val_loss": _mean([record.val_loss for record in best]),
            "rows_per_s": self.train.n_rows * len(history) / max(seconds, 1e-9),
        }
        values = [record.primary for record in best if record.primary is not None]
        if self.config.primary != "log_loss" and len(values) == len(best):
            figures[f"best/{self.config.primary}"] = _mean(values)
        return figures

    def facts(self) -> dict[str, str]:
        """Return what a report says of the training."""
        best, history, figures = self.members.best, self.members.history, self.best_metrics()
        seconds = sum(record.epoch_s for record in history)
        n_weights = sum(weight.numel() for weight in self.network.parameters())
        n_members, primary = len(best), self.config.primary
        metric = figures.get("best/val_loss" if primary == "log_loss" else f"best/{primary}")
        of_each = f" each of {n_members} members" if n_members > 1 else ""
        mean = f" (mean of {n_members} members)" if n_members > 1 else ""
        epochs = ", ".join(str(record.epoch) for record in best)
        return {
            "model": f"{self.config.model.kind}, {n_weights:,} weights{of_each}",
            "device": self.device_name + (", rows streamed" if self.is_streamed else ""),
            "epochs": f"{len(history)} in {seconds:.1f} s, the best was {epochs}",
            "validation": f"loss {figures['best/val_loss']:.4f}, {primary} {_figure(metric)}{mean}",
        }

    def fitted(self) -> FittedModel:
        """Return the model with the best epochs' weights."""
        counts = count_codes(self.train, self.encoder.cardinalities)
        for network in self.networks:
            network.fill_untrained(counts)
        return FittedModel(
            self.config.name,
            self.config.data.task,
            self.config.model,
            self.encoder,
            self.target,
            self.networks,
        )


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _mean(values: list[float] | list[int]) -> float:
    return sum(values) / len(values)
