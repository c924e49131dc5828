"""The training of a blend: its members one after the other, then weights and a temperature.

What is chosen is chosen by the validation rows, with members that never learned from them; only
then those that are cheap to fit learn from the validation rows too.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import torch

from pipeline_lib.config.models import MemberSettings
from pipeline_lib.errors import TrainingError
from pipeline_lib.fitting.by_epochs import NetworkTraining
from pipeline_lib.fitting.in_one_call import EstimatorTraining
from pipeline_lib.fitting.training import Figures, Floats, Part, TrainingInput, scores_of
from pipeline_lib.models import (
    BlendKind,
    BlendModel,
    EstimatorKind,
    MemberKind,
    Model,
    Network,
    NetworkKind,
)
from pipeline_lib.models.blend import BlendMember, label_of, tempered
from pipeline_lib.models.blend_weights import choose_temperature, choose_weights
from pipeline_lib.scratch import scratch_folder
from pipeline_lib.serving import FittedModel
from pipeline_lib.serving.predictor import MODEL_VERSION
from pipeline_lib.storage.digests import digest_file
from pipeline_lib.training.batches import EVAL_BATCH_ROWS
from pipeline_lib.training.judging import Answered, judge_answers
from pipeline_lib.training.records import EpochRecord, Progress
from pipeline_lib.wording import first_line

_logger = logging.getLogger(__name__)


def member_training(
    given: TrainingInput, kind: MemberKind, champion: FittedModel | None = None
) -> NetworkTraining | EstimatorTraining:
    """Return the training of a model of a kind, a blend's member or one by itself."""
    match kind:
        case NetworkKind():
            return NetworkTraining(given, kind, champion)
        case EstimatorKind():
            return EstimatorTraining(given, kind)
        case _:
            assert_never(kind)


@dataclass(frozen=True)
class _Trained:
    """A member that has ended: its model, and what the blend needs of it.

    `val_scores` are of the model that never learned from validation rows; `model` is None where
    the training failed, for the reason in `problem`.
    """

    model: Model | None
    val_scores: Floats
    figures: Figures
    is_refit: bool = False
    problem: str = ""
    records: tuple[EpochRecord, ...] = ()


_NOTHING = Figures(0.0, 0.0, None, 0.0, 0)


class BlendTraining:
    """Trains the members of a blend; see `Training`.

    Args:
        given: settings and rows.
        kind: of the blend.

    Raises:
        TrainingError: a split is too small, or a weight is of a class that does not exist.
    """

    carried = None

    def __init__(self, given: TrainingInput, kind: BlendKind) -> None:
        self._given, self._kind = given, kind
        self._kinds, self._done = kind.members, list[_Trained]()
        rows = [(b.y.cpu(), b.weight) for b in given.val.in_order(EVAL_BATCH_ROWS)]
        self._y_of_rows = torch.cat([y for y, _ in rows])
        self._y: Floats = self._y_of_rows.double().numpy()
        weights = [weight.cpu() for _, weight in rows if weight is not None]
        self._weight_of_rows = torch.cat(weights) if weights else None
        self._packed = dict[int, dict[str, Any]]()
        self._current: NetworkTraining | EstimatorTraining | None = None
        self._current = member_training(given, self._kinds[0])
        self._blend: BlendModel | None = None
        self._figures: Figures | None = None
        self._val_scores: Floats | None = None

    def epochs(self, on_pulse: Callable[[Progress], None] | None = None) -> Iterator[EpochRecord]:
        """Train member after member; yields the records of those that learn by epochs.

        Raises:
            TrainingError: no member could be trained.
        """
        while len(self._done) < len(self._kinds):
            if self._current is None:
                self._current = self._begun(len(self._done))
            if self._current is not None:
                yield from self._of_member(self._current, on_pulse)
            # Both at once: an interruption finds the member that has ended, or the next one.
            self._current = None
        if all(member.model is None for member in self._done):
            raise TrainingError(f"no member could be trained: {self._done[-1].problem}")
        self._choose()

    def _begun(self, position: int) -> NetworkTraining | EstimatorTraining | None:
        try:
            return member_training(self._given, self._kinds[position])
        except TrainingError as error:
            self._failed(error)
            return None

    def _of_member(
        self,
        training: NetworkTraining | EstimatorTraining,
        on_pulse: Callable[[Progress], None] | None,
    ) -> Iterator[EpochRecord]:
        try:
            for record in training.epochs(self._pulse(on_pulse)):
                yield replace(record, member=self._n_networks + record.member)
            model, is_refit = training.model(), False
            judged = model
            if isinstance(training, EstimatorTraining):
                judged, is_refit = training.of_train(), training.is_refit
            val_scores = self._scores(judged)
        except TrainingError as error:
            self._failed(error)
            return
        self._done.append(
            _Trained(
                model,
                val_scores,
                training.figures,
                is_refit,
                records=tuple(training.history),
            )
        )

    def _failed(self, error: TrainingError) -> None:
        label = label_of(self._settings(len(self._done)))
        problem = f"{label} is not part of the blend: {first_line(error)}"
        _logger.warning(problem)
        self._done.append(_Trained(None, np.empty((0, 0)), _NOTHING, problem=problem))

    def _scores(self, model: Model) -> Floats:
        scores = scores_of(model, self._given.val)
        if not np.isfinite(scores).all():
            raise TrainingError("its answers are not finite")
        return scores

    def _choose(self) -> None:
        """Choose weights and temperature; keep the members that have a weight."""
        given, n_classes = self._given, len(self._given.classes)
        able = [position for position, member in enumerate(self._done) if member.model is not None]
        scores = [self._done[position].val_scores for position in able]
        of_rows = self._weight_of_rows
        row_weights = None if of_rows is None else of_rows.double().numpy()
        weights = choose_weights(scores, self._y, n_classes=n_classes, row_weights=row_weights)
        mean = np.tensordot(weights, np.stack(scores), axes=1)
        temperature = 1.0
        if n_classes and self._kind.settings.calibration == "temperature":
            temperature = choose_temperature(mean, self._y, row_weights=row_weights)
        members: list[BlendMember] = []
        for position, weight in zip(able, weights.tolist(), strict=True):
            model = self._done[position].model
            if weight and model is not None:
                members.append(BlendMember(position, weight, model))
        self._blend = BlendModel(tuple(members), n_classes, temperature)
        answers = tempered(mean, temperature) if n_classes else mean
        self._val_scores = answers
        val_loss, primary = judge_answers(
            [Answered(torch.from_numpy(answers), self._y_of_rows, of_rows)],
            n_classes=n_classes,
            settings=given.training.loss,
            metric=given.metric(),
        )
        parts = [self._done[position].figures for position in able]
        self._figures = Figures(
            # The loss of a mean is at most the mean of the losses.
            sum(w * part.train_loss for w, part in zip(weights.tolist(), parts, strict=True)),
            val_loss,
            primary,
            seconds=sum(part.seconds for part in parts),
            n_passes=sum(part.n_passes for part in parts),
            refit_s=sum(part.refit_s for part in parts),
        )

    def model(self) -> BlendModel:
        """Return the blend."""
        assert self._blend is not None, "it is not trained yet"
        return self._blend

    def val_scores(self) -> Floats:
        """See `Training.val_scores`."""
        assert self._val_scores is not None, "it is not trained yet"
        return self._val_scores

    @property
    def parts(self) -> tuple[Part, ...]:
        """See `Training.parts`."""
        weights, found = self._weights, list[Part]()
        for position, (kind, member) in enumerate(zip(self._kinds, self._done, strict=True)):
            if member.model is None:
                continue
            label, weight = label_of(self._settings(position)), weights.get(position, 0.0)
            name = f"member {position + 1} of the blend ({label}, weight {weight:.2f})"
            fit_s, is_refit = member.figures.fit_s, member.is_refit
            found.append(Part(kind, member.model, fit_s, name, is_refit, is_whole=False))
        return tuple(found)

    @property
    def history(self) -> list[EpochRecord]:
        """The records of all epochs of all networks; each network is a member."""
        found: list[EpochRecord] = []
        parts = [member.records for member in self._done]
        parts.append(tuple(self._current.history) if self._current is not None else ())
        for records in parts:
            before = max((record.member for record in found), default=0)
            found += [replace(record, member=before + record.member) for record in records]
        return found

    @property
    def last(self) -> EpochRecord | None:
        """The record of the last epoch, if one has ended."""
        return self._current.last if self._current is not None else None

    @property
    def best(self) -> tuple[EpochRecord, ...]:
        """The record of each network's best epoch so far."""
        by_member = {record.member: record for record in self.history if record.is_best}
        return tuple(by_member.values())

    @property
    def figures(self) -> Figures:
        """See `Training.figures`."""
        assert self._figures is not None, "it is not trained yet"
        return self._figures

    @property
    def plan(self) -> str:
        """See `Training.plan`."""
        labels = [label_of(settings) for settings in self._kind.settings.members]
        plan = f"a blend of {', '.join(labels)}"
        if self._current is None:
            return plan
        return f"{plan}; first {labels[len(self._done)]}: {self._current.plan}"

    @property
    def course(self) -> tuple[str, str]:
        """See `Training.course`."""
        weights = self._weights
        lines: list[str] = []
        for position, member in enumerate(self._done):
            if member.model is None:
                continue
            weight, again = weights.get(position, 0.0), ", fitted again" if member.is_refit else ""
            loss, seconds = member.figures.val_loss, member.figures.seconds
            label = label_of(self._settings(position))
            lines.append(f"{weight:.2f} {label} (loss {loss:.4f}, {seconds:.1f} s{again})")
        temperature = self.model().temperature
        chosen = f"; temperature {temperature:.2f}" if temperature != 1 else ""
        return "blend, by the validation rows", "; ".join(lines) + chosen

    @property
    def _weights(self) -> dict[int, float]:
        """The weights above 0 by position."""
        return {member.position: member.weight for member in self.model().members}

    @property
    def size(self) -> str:
        """See `Training.size`."""
        return self.model().size

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Training.notes`: the members that could not be trained."""
        return tuple(member.problem for member in self._done if member.problem)

    @property
    def network(self) -> Network | None:
        """The network that is being trained, if it is one."""
        return self._current.network if self._current is not None else None

    @property
    def resumable(self) -> "BlendTraining":
        """See `Training.resumable`."""
        return self

    @property
    def is_whole(self) -> bool:
        """Whether no step is half done."""
        inner = self._current.resumable if self._current is not None else None
        return inner is None or inner.is_whole

    @property
    def place(self) -> str:
        """Where the training is, in words."""
        n_done, inner = len(self._done), None
        if n_done == len(self._kinds):
            return "the end"
        if self._current is not None:
            inner = self._current.resumable
        label = label_of(self._settings(n_done))
        place = f"member {n_done + 1} of {len(self._kinds)}, {label}"
        return place + (f", {inner.place}" if inner is not None else "")

    def state(self) -> dict[str, Any]:
        """Return the members that have ended, as their files, and the state of the current one."""
        inner = self._current.resumable if self._current is not None else None
        return {
            "members": [self._packed_member(position) for position in range(len(self._done))],
            "current": inner.state() if inner is not None else None,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state()` gave; another state raises, and changes nothing."""
        members, current = state["members"], state["current"]
        if len(members) > len(self._kinds):
            raise ValueError(f"{len(members)} members of {len(self._kinds)} are trained")
        done = [
            self._unpacked(member, kind)
            for member, kind in zip(members, self._kinds[: len(members)], strict=True)
        ]
        training = self._current
        if done:
            training = None
            if len(done) < len(self._kinds):
                training = member_training(self._given, self._kinds[len(done)])
        if current is not None:
            if training is None or training.resumable is None:
                raise ValueError("a member that starts over has a state")
            training.resumable.resume(current)
        self._done, self._current = done, training

    def _packed_member(self, position: int) -> dict[str, Any]:
        if position not in self._packed:
            with scratch_folder(self._given.home) as place:
                self._packed[position] = _packed(self._done[position], place)
        return self._packed[position]

    def _unpacked(self, packed: Mapping[str, Any], kind: MemberKind) -> _Trained:
        given, figures = self._given, Figures(**packed["figures"])
        records = tuple(EpochRecord.from_json(record) for record in packed["records"])
        if packed["problem"]:
            return _Trained(None, np.empty((0, 0)), figures, problem=str(packed["problem"]))
        scores = packed["val_scores"].double().numpy()
        if scores.shape != (len(self._y), max(len(given.classes), 1)):
            raise ValueError("the answers of a member are of other rows")
        with scratch_folder(self._given.home) as place:
            for name, content in packed["files"].items():
                if name not in kind.files:
                    raise ValueError("a member has files of another kind")
                (place / name).write_bytes(content.numpy().tobytes())
                if digest_file(place / name) != packed["digests"][name]:
                    raise ValueError("a member's file is damaged")
            model = kind.load(
                place, {**json.loads(packed["spec"]), "version": MODEL_VERSION}, given.dimensions
            )
        return _Trained(model, scores, figures, bool(packed["is_refit"]), records=records)

    def _settings(self, position: int) -> MemberSettings:
        return self._kind.settings.members[position]

    @property
    def _n_networks(self) -> int:
        """The number of networks that have ended; each has its own records."""
        return sum(len({record.member for record in member.records}) for member in self._done)

    def _pulse(
        self, on_pulse: Callable[[Progress], None] | None
    ) -> Callable[[Progress], None] | None:
        if on_pulse is None:
            return None
        number, n = len(self._done) + 1, len(self._kinds)

        def pulse(now: Progress) -> None:
            on_pulse(replace(now, left_s=None, member=number, n_members=n))

        return pulse


def _packed(member: _Trained, place: Path) -> dict[str, Any]:
    """Return a member that has ended as tensors and plain values."""
    files, digests, spec = dict[str, torch.Tensor](), dict[str, str](), "{}"
    if member.model is not None:
        spec = json.dumps(member.model.save(place))
        for path in sorted(place.iterdir()):
            content = np.frombuffer(path.read_bytes(), np.uint8)
            files[path.name] = torch.from_numpy(content.copy())
            digests[path.name] = digest_file(path)
    return {
        "files": files,
        "digests": digests,
        "spec": spec,
        "val_scores": torch.from_numpy(member.val_scores),
        "figures": asdict(member.figures),
        "records": [dict(record.to_json()) for record in member.records],
        "is_refit": member.is_refit,
        "problem": member.problem,
    }
