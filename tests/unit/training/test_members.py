"""Several networks as one training: each as it would be alone, resumed from any place."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from pipeline_lib.errors import NonFiniteLossError
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.members import Members
from pipeline_lib.training.records import EpochRecord, Progress
from tests.unit.training.loops import small_loop

EPOCHS = 3


def _members(n: int = 3) -> Members:
    return Members(lambda member: small_loop(seed=10 + member, epochs=EPOCHS), n)


def _weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def _timeless(history: list[EpochRecord]) -> list[dict[str, Any]]:
    return [{**record.to_json(), "epoch_s": 0} for record in history]


def test_each_member_is_the_network_that_its_seed_gives_alone() -> None:
    members = _members()
    records = list(members.epochs())

    assert [(r.member, r.epoch) for r in records] == [(m, e) for m in (1, 2, 3) for e in (1, 2, 3)]
    for number, model in enumerate(members.models, 1):
        alone = small_loop(seed=10 + number, epochs=EPOCHS)
        for _ in alone.epochs():
            pass
        pairs = zip(_weights(model), _weights(alone.model), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)


def test_the_best_is_told_of_each_member() -> None:
    members = _members()
    for _ in members.epochs():
        pass

    assert [record.member for record in members.best] == [1, 2, 3]
    for record in members.best:
        losses = [r.val_loss for r in members.history if r.member == record.member]
        assert record.val_loss == min(losses)


@pytest.mark.parametrize("stop_after", range(1, 3 * EPOCHS + 1))
def test_members_resumed_after_any_epoch_are_those_of_an_unbroken_training(stop_after: int) -> None:
    unbroken, broken, resumed = _members(), _members(), _members()
    for _ in unbroken.epochs():
        pass
    epochs: Iterator[EpochRecord] = broken.epochs()
    for _ in range(stop_after):
        next(epochs)

    resumed.resume(broken.state())
    for _ in resumed.epochs():
        pass

    assert _timeless(resumed.history) == _timeless(unbroken.history)
    for one, other in zip(resumed.models, unbroken.models, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(_weights(one), _weights(other), strict=True))


@pytest.mark.parametrize(("n", "told"), [(1, "training loss"), (3, "member 2: training loss")])
def test_a_lost_loss_names_its_member_where_there_are_several(n: int, told: str) -> None:
    lost = min(n, 2)

    def made(member: int) -> TrainingLoop:
        loop = small_loop(seed=10 + member, epochs=EPOCHS)
        if member == lost:
            with torch.no_grad():
                next(loop.model.parameters()).fill_(float("nan"))
        return loop

    with pytest.raises(NonFiniteLossError) as raised:
        list(Members(made, n).epochs())

    assert str(raised.value).startswith(f"{told} is not finite at epoch 1, step 1")


def test_an_interruption_while_the_next_network_is_made_copies_no_member() -> None:
    def interrupted(member: int) -> TrainingLoop:
        if member == 2:
            raise KeyboardInterrupt
        return small_loop(seed=10 + member, epochs=EPOCHS)

    unbroken, broken, resumed = _members(), Members(interrupted, 3), _members()
    list(unbroken.epochs())
    with pytest.raises(KeyboardInterrupt):
        list(broken.epochs())

    resumed.resume(broken.state())
    list(resumed.epochs())

    assert broken.place == "member 1 of 3, the end, epoch 3"
    assert _timeless(resumed.history) == _timeless(unbroken.history)


def test_the_place_names_the_member_only_if_there_are_several() -> None:
    assert _members(1).place == "epoch 1"
    members = _members(2)
    epochs = members.epochs()
    for _ in range(EPOCHS + 1):
        next(epochs)

    assert members.place == "member 2 of 2, epoch 2"


def test_the_share_of_the_work_rises_from_member_to_member(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline_lib.training.loop._PULSE_S", 0.0)
    pulses: list[Progress] = []

    for _ in _members(2).epochs(pulses.append):
        pass

    shares = [pulse.share for pulse in pulses]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {pulse.member for pulse in pulses} == {1, 2}
    first = next(p for p in pulses if p.member == 1)
    assert first.left_s > 0
