"""Several networks trained one after the other; one is the common case."""

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic

from pipeline_lib.errors import NonFiniteLossError
from pipeline_lib.training.loop import N, TrainingLoop
from pipeline_lib.training.records import EpochRecord, Progress


@dataclass(frozen=True)
class _Trained(Generic[N]):
    """A member with its best weights; its optimizer's memory is free again."""

    model: N
    history: list[EpochRecord]


class Members(Generic[N]):
    """Trains networks that differ in their seed alone, as one training.

    Args:
        make: gives the loop of a member, by its number from 1, with fresh weights.
        n_members: how many there are.
    """

    def __init__(self, make: Callable[[int], TrainingLoop[N]], n_members: int = 1) -> None:
        self._make, self._n = make, n_members
        self._trained: list[_Trained[N]] = []
        self._loop = make(1)

    @property
    def models(self) -> tuple[N, ...]:
        """The networks so far; the last one is being trained."""
        return (*(member.model for member in self._trained), self._loop.model)

    @property
    def history(self) -> list[EpochRecord]:
        """The records of all epochs of all members."""
        earlier = [record for member in self._trained for record in member.history]
        return [*earlier, *(self._noted(record) for record in self._loop.history)]

    @property
    def last(self) -> EpochRecord | None:
        """The record of the last epoch, if one has ended."""
        if self._loop.history:
            return self._noted(self._loop.history[-1])
        return self._trained[-1].history[-1] if self._trained else None

    @property
    def best(self) -> tuple[EpochRecord, ...]:
        """The record of each member's best epoch so far."""
        by_member = {record.member: record for record in self.history if record.is_best}
        return tuple(by_member.values())

    @property
    def batch_rows(self) -> int:
        """The number of rows of a full batch."""
        return self._loop.batch_rows

    @property
    def n_steps(self) -> int:
        """The number of steps of an epoch."""
        return self._loop.n_steps

    @property
    def place(self) -> str:
        """Where the training is, in words."""
        member = f"member {len(self._trained) + 1} of {self._n}, " if self._n > 1 else ""
        return member + self._loop.place

    @property
    def is_whole(self) -> bool:
        """Whether no step is half done, so that `state()` may be saved."""
        return self._loop.is_whole

    def state(self) -> dict[str, Any]:
        """Return everything that decides how the training goes on; see `TrainingLoop.state`."""
        trained = [
            {
                "history": [dict(record.to_json()) for record in member.history],
                "model": member.model.state_dict(),
            }
            for member in self._trained
        ]
        return {"trained": trained, "loop": self._loop.state()}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state()` gave, before the first epoch is asked for.

        If another state raises, the training begins as it would have without it.
        """
        first, fresh = self._loop, copy.deepcopy(self._loop.state())
        try:
            self._resume(state)
        except Exception:
            first.resume(fresh)
            self._trained, self._loop = [], first
            raise

    def _resume(self, state: Mapping[str, Any]) -> None:
        if len(state["trained"]) >= self._n:
            raise ValueError(f"{len(state['trained'])} members of {self._n} are trained")
        for member in state["trained"]:
            model = self._loop.model.eval()
            model.load_state_dict(member["model"])
            history = [EpochRecord.from_json(record) for record in member["history"]]
            if not history or not any(record.is_best is True for record in history):
                raise ValueError("a member that is trained has a best epoch")
            self._trained.append(_Trained(model, history))
            self._loop = self._make(len(self._trained) + 1)
        self._loop.resume(state["loop"])

    def epochs(self, on_pulse: Callable[[Progress], None] | None = None) -> Iterator[EpochRecord]:
        """Train, yielding a record after each epoch of each member; see `TrainingLoop.epochs`."""
        for member in range(len(self._trained) + 1, self._n + 1):
            pulse = None if on_pulse is None else self._pulse_of(member, on_pulse)
            try:
                for record in self._loop.epochs(pulse):
                    yield self._noted(record)
            except NonFiniteLossError as error:
                error.member = member if self._n > 1 else None
                raise
            if member < self._n:
                ended = _Trained(self._loop.model, [self._noted(r) for r in self._loop.history])
                # Both at once: an interruption while the network is made finds the member before.
                self._trained, self._loop = [*self._trained, ended], self._make(member + 1)

    def _noted(self, record: EpochRecord) -> EpochRecord:
        return replace(record, member=len(self._trained) + 1)

    def _pulse_of(
        self, member: int, on_pulse: Callable[[Progress], None]
    ) -> Callable[[Progress], None]:
        def pulse(now: Progress) -> None:
            left_s = now.left_s
            if left_s is not None:
                left_s += (self._n - member) * left_s / max(1 - now.of_member, 1e-9)
            on_pulse(replace(now, left_s=left_s, member=member, n_members=self._n))

        return pulse
