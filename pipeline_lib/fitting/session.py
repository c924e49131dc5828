"""One training of any kind of model, from encoded splits to a `FittedModel`.

`TrainingSession` is what the nightly flow and `fit` share.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.automatic import Reason
from pipeline_lib.encoding import EncodedSplit, Encoder, NumberTarget, Target
from pipeline_lib.fitting.automatic import chosen
from pipeline_lib.fitting.blended import BlendTraining, member_training
from pipeline_lib.fitting.budget import within_budget
from pipeline_lib.fitting.training import Training, TrainingInput
from pipeline_lib.fitting.warm_start import obstacle
from pipeline_lib.home import Home
from pipeline_lib.models import BlendKind, ModelKind, NetworkKind
from pipeline_lib.serving import FittedModel
from pipeline_lib.training.batches import EVAL_BATCH_ROWS
from pipeline_lib.training.devices import choose_device, describe_device
from pipeline_lib.training.metrics import why_undefined
from pipeline_lib.training.records import EpochRecord, Progress
from pipeline_lib.training.rows import Rows, TensorSplit, memory_budget, open_split


@dataclass(frozen=True)
class TrainingSession:
    """One training: iterate `epochs()` to its end, then take `fitted()`.

    `obstacle` says why a champion's weights are not what it starts from; `undefined` why the
    primary metric has no value on the validation rows; `reasons` what `model: {kind: auto}` has
    chosen, which `config` holds; `bought` what `training.budget_s` pays of it.
    """

    given: TrainingInput
    kind: ModelKind
    training: Training
    obstacle: str = ""
    undefined: str = ""
    reasons: tuple[Reason, ...] = ()
    bought: tuple[str, ...] = ()

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
        kind: ModelKind | None = None,
        home: Home | None = None,
        plan: Path | None = None,
    ) -> "TrainingSession":
        """Put splits, and a network with its first weights, on the device.

        Args:
            config: of the dataset.
            encoder: the one that made the splits.
            target: how it is encoded.
            train: the split, or its parquet file; a file larger than the budget is streamed.
            val: likewise.
            champion: gives the first weights where they fit; else `obstacle` says why not.
            kind: of the model; without it the one that `config.model` asks for.
            home: keeps compiled code; the working directory's without it.
            plan: the file that keeps what `training.budget_s` buys.

        Raises:
            DeviceError: the device asked for is not there.
            TrainingError: a split is too small, a weight is of a class that does not exist, or the
                budget of seconds is too small.
        """
        device = choose_device(config.training.device)
        budget = (config.training.memory_budget_mb or 0) * 2**20 or memory_budget(device)

        def rows_of(split: EncodedSplit | Path, budget_bytes: int) -> Rows:
            if isinstance(split, Path):
                return open_split(split, encoder, device, budget_bytes=budget_bytes)
            return TensorSplit.of(split, device)

        train_rows = rows_of(train, budget)
        val_rows = rows_of(val, budget - train_rows.size_bytes)
        config, kind, reasons = chosen(config, encoder, target, train_rows.n_rows, kind)
        given = TrainingInput(config, encoder, target, train_rows, val_rows, home)
        bought: tuple[str, ...] = ()
        if config.training.budget_s is not None:
            config, kind, bought = within_budget(given, kind, file=plan)
            given = replace(given, config=config)
        why_not = obstacle(champion, config, encoder, kind) if champion is not None else ""
        training = _training(given, kind, None if why_not else champion)
        undefined = why_undefined(config.primary, val_rows, n_classes=len(given.classes))
        return cls(given, kind, training, why_not, undefined, reasons, bought)

    def epochs(self, on_pulse: Callable[[Progress], None] | None = None) -> Iterator[EpochRecord]:
        """Train; yields a record after each epoch, if the kind has epochs. See `Training`."""
        yield from self.training.epochs(on_pulse)

    @property
    def config(self) -> PipelineConfig:
        """The config of the dataset."""
        return self.given.config

    @property
    def encoder(self) -> Encoder:
        """The encoder that made the splits."""
        return self.given.encoder

    @property
    def target(self) -> Target:
        """The target that made the splits."""
        return self.given.target

    @property
    def device_name(self) -> str:
        """The device's name, as `cuda (NVIDIA H200)`."""
        return describe_device(self.given.device)

    @property
    def is_streamed(self) -> bool:
        """Whether the training rows stay on the disk."""
        return not isinstance(self.given.train, TensorSplit)

    def sample(self) -> TensorSplit:
        """Return the first two training rows."""
        return next(iter(self.given.train.in_order(2)))

    def progress(self, record: EpochRecord) -> str:
        """Return one line about an epoch."""
        training = self.config.training
        n_members = training.n_members
        n_epochs = training.n_warm_epochs if self.training.carried else training.epochs
        member = f"member {record.member}/{n_members}  " if n_members > 1 else ""
        losses = self._losses(record.train_loss, record.val_loss, record.primary)
        return f"{member}epoch {record.epoch}/{n_epochs}  {losses}"

    def last_line(self) -> str:
        """Return a line about the last epoch; empty as long as none has ended."""
        return self.progress(last) if (last := self.training.last) else ""

    def closing_lines(self) -> list[tuple[int, str]]:
        """Return how it went, for the log, each line with its level: members' best epochs first.

        What `notes_before` has is not repeated.
        """
        lines = [(logging.INFO, f"best {self.progress(record)}") for record in self.training.best]
        if not lines or isinstance(self.kind, BlendKind):
            fit = self.training.figures
            losses = self._losses(fit.train_loss, fit.val_loss, fit.primary)
            lines = [(logging.INFO, f"fitted  {losses}")]
        notes = self.training.notes if self.undefined else self.notes_after()
        return lines + [(logging.WARNING, note) for note in notes]

    def _losses(self, train_loss: float, val_loss: float, primary: float | None) -> str:
        return (
            f"train loss {train_loss:.4f}  val loss {val_loss:.4f}  "
            f"val {self.config.primary} {_figure(primary)}"
        )

    def notes_before(self) -> tuple[str, ...]:
        """Return what can be foreseen: that the primary metric will have no value."""
        why = f"is not defined on the validation rows: {self.undefined}"
        return (self._undefined(why),) if self.undefined else ()

    def notes_after(self) -> tuple[str, ...]:
        """Return what was foreseen, or has come out: epochs whose primary metric has no value."""
        history = self.training.history
        missing = sum(record.primary is None for record in history)
        if self.undefined:
            return (*self.notes_before(), *self.training.notes)
        if missing:
            said = f"had no finite value in {missing} of {len(history)} epochs"
            return (self._undefined(said), *self.training.notes)
        is_lost = not history and self.training.figures.primary is None
        lost = (self._undefined("has no finite value"),) if is_lost else ()
        return (*lost, *self.training.notes)

    def _undefined(self, how: str) -> str:
        best = "the best epoch is the one with the lowest loss"
        if any(record.primary is not None for record in self.training.best):
            best = "none of these is the best epoch"
        chooses = isinstance(self.kind, NetworkKind) and self.config.training.monitor == "primary"
        return f"{self.config.primary} {how}" + (f"; {best}" if chooses else "")

    def best_metrics(self) -> dict[str, float]:
        """Return the figures of the best epochs, or of the fit, and the throughput, for MLflow.

        Of several members a figure is their mean.
        """
        found = self.training.figures
        figures = {"best/train_loss": found.train_loss, "best/val_loss": found.val_loss}
        if found.epoch is not None:
            figures["best/epoch"] = found.epoch
        seconds = max(found.seconds, 1e-9)
        figures["rows_per_s"] = self.given.train.n_rows * found.n_passes / seconds
        if self.config.primary != "log_loss" and found.primary is not None:
            figures[f"best/{self.config.primary}"] = found.primary
        return figures

    def facts(self) -> dict[str, str]:
        """Return what a report says of the training."""
        figures, n_members = self.training.figures, len(self.training.best)
        primary = self.config.primary
        metric = figures.val_loss if primary == "log_loss" else figures.primary
        mean = f" (mean of {n_members} members)" if n_members > 1 else ""
        title, course = self.training.course
        chosen = {"chosen by auto": "; ".join(map(str, self.reasons))} if self.reasons else {}
        if self.bought:
            chosen["budget"] = f"{self.config.training.budget_s:g} CPU s: {'; '.join(self.bought)}"
        weight = self.config.data.weight
        how = "" if weight is None else f", weighted by {weight}"
        target, of_log = self.target, " of the logarithm" if self.given.log is not None else ""
        return {
            "model": f"{self.kind.name}, {self.training.size}",
            **chosen,
            "device": self.device_name + (", rows streamed" if self.is_streamed else ""),
            "target": target.scale_said if isinstance(target, NumberTarget) else "",
            title: course,
            "validation": f"loss{of_log} {figures.val_loss:.4f}, {primary} {_figure(metric)}{mean}"
            + how,
        }

    def fitted(self) -> FittedModel:
        """Return the trained model; from the log scale it answers with its own factor."""
        given, model = self.given, self.training.model()
        name, task, target = self.config.name, self.config.data.task, given.target
        if isinstance(target, NumberTarget) and target.log is not None:
            batches = list(given.val.in_order(EVAL_BATCH_ROWS))
            y = torch.cat([batch.y.cpu() for batch in batches]).numpy()
            weights = [batch.weight.cpu() for batch in batches if batch.weight is not None]
            weight = torch.cat(weights).numpy() if weights else None
            target = target.with_factor(self.training.val_scores()[:, 0], y, weight)
        return FittedModel(name, task, self.kind, given.encoder, target, model)


def _training(given: TrainingInput, kind: ModelKind, champion: FittedModel | None) -> Training:
    if isinstance(kind, BlendKind):
        return BlendTraining(given, kind)
    return member_training(given, kind, champion)


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
