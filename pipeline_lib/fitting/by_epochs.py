"""The training of networks: members one after the other, from fresh or carried-over weights."""

from collections.abc import Callable, Iterator

import torch

from pipeline_lib.fitting.training import Figures, Floats, Part, TrainingInput, scores_of
from pipeline_lib.models import Network, NetworkKind, Networks
from pipeline_lib.models.carry_over import CarriedOver, Learned
from pipeline_lib.serving import FittedModel
from pipeline_lib.training.devices import suitable_threads
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.members import Members
from pipeline_lib.training.records import EpochRecord, Progress
from pipeline_lib.training.rows import count_codes


class NetworkTraining:
    """Trains the networks of a kind; see `Training`.

    Args:
        given: settings and rows.
        kind: builds the networks.
        champion: gives the first weights; it has none of the kind's obstacles.
    """

    def __init__(
        self, given: TrainingInput, kind: NetworkKind, champion: FittedModel | None = None
    ) -> None:
        self._given, self._kind, self._champion = given, kind, champion
        if champion is not None:
            update = {"epochs": given.training.n_warm_epochs}
            self._settings = given.training.model_copy(update=update)
        else:
            self._settings = given.training
        self._class_weights = given.class_weights()
        self.carried: CarriedOver | None = None
        self._members: Members[Network] = Members(self._loop, self._settings.n_members)

    def epochs(self, on_pulse: Callable[[Progress], None] | None = None) -> Iterator[EpochRecord]:
        """See `Members.epochs`."""
        n_macs = self._members.batch_rows * self.network.n_dense_weights
        with suitable_threads(n_macs, self._given.device):
            yield from self._members.epochs(on_pulse)

    def model(self) -> Networks:
        """Return the networks with the best epochs' weights."""
        counts = count_codes(self._given.train, self._given.encoder.cardinalities)
        for network in self._members.models:
            network.fill_untrained(counts)
        return self._model

    def val_scores(self) -> Floats:
        """See `Training.val_scores`."""
        return scores_of(self._model, self._given.val)

    @property
    def parts(self) -> tuple[Part, ...]:
        """See `Training.parts`."""
        return (Part(self._kind, self._model, self.figures.fit_s, "the new model itself"),)

    @property
    def notes(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def history(self) -> list[EpochRecord]:
        """See `Training.history`."""
        return self._members.history

    @property
    def last(self) -> EpochRecord | None:
        """See `Training.last`."""
        return self._members.last

    @property
    def best(self) -> tuple[EpochRecord, ...]:
        """See `Training.best`."""
        return self._members.best

    @property
    def figures(self) -> Figures:
        """See `Training.figures`."""
        best, history = self.best, self.history
        values = [record.primary for record in best if record.primary is not None]
        return Figures(
            _mean([record.train_loss for record in best]),
            _mean([record.val_loss for record in best]),
            _mean(values) if len(values) == len(best) else None,
            seconds=sum(record.epoch_s for record in history),
            n_passes=len(history),
            epoch=_mean([record.epoch for record in best]),
        )

    @property
    def plan(self) -> str:
        """See `Training.plan`."""
        settings, n_steps, rows = self._settings, self._members.n_steps, self._members.batch_rows
        members = f"{settings.n_members} members of " if settings.n_members > 1 else ""
        steps = (
            f"{n_steps:,} steps of {rows:,} rows" if n_steps > 1 else f"1 step of all {rows:,} rows"
        )
        asked = settings.batch_size
        fewer = f" (batch_size is {asked:,})" if asked != "full" and asked > rows else ""
        return f"{members}{settings.epochs} epochs of {steps}{fewer}"

    @property
    def course(self) -> tuple[str, str]:
        """See `Training.course`."""
        figures, epochs = self.figures, ", ".join(str(record.epoch) for record in self.best)
        return "epochs", f"{figures.n_passes} in {figures.seconds:.1f} s, the best was {epochs}"

    @property
    def size(self) -> str:
        """See `Training.size`."""
        return self._model.size

    @property
    def network(self) -> Network:
        """The network that is being trained."""
        return self._members.models[-1]

    @property
    def resumable(self) -> Members[Network]:
        """See `Training.resumable`."""
        return self._members

    @property
    def _model(self) -> Networks:
        return Networks(self._members.models, self._given.dimensions.n_classes)

    def _loop(self, member: int) -> TrainingLoop[Network]:
        """Return the loop of a member, by its number from 1."""
        given, settings = self._given, self._settings
        network, carried = self._first_weights(member)
        if member == 1:
            self.carried = carried
        if member == settings.n_members:  # the champion is needed no more
            self._champion = None
        return TrainingLoop(
            network.to(given.device),
            given.train,
            given.val,
            task=given.task,
            primary=given.config.primary,
            training=settings.model_copy(update={"seed": settings.seed + member - 1}),
            n_classes=len(given.classes),
            target_deviation=given.target_deviation,
            log=given.log,
            class_weights=self._class_weights,
            numeric_names=given.encoder.numeric_names,
            home=given.home,
        )

    def _first_weights(self, member: int) -> tuple[Network, CarriedOver | None]:
        given, champion = self._given, self._champion
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._settings.seed + member - 1)
            if champion is None:
                return self._kind.build(given.dimensions, given.train), None
            networks = champion.networks
            source = Learned(
                networks[(member - 1) % len(networks)], champion.encoder, champion.target
            )
            share = self._settings.warm_share
            return self._kind.build_from(source, given.encoder, given.target, share=share)


def _mean(values: list[float] | list[int]) -> float:
    return sum(values) / len(values)
