"""A checkpoint that loads may still hold the state of no training: it is not gone on from."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline_lib.training.checkpoint import save_checkpoint
from pipeline_lib.training.keeper import Keeper
from pipeline_lib.training.loop import TrainingLoop
from tests.unit.training.loops import small_loop

_SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"scheduler": {"kind": "onecycle"}},
    "sgd": {
        "optimizer": {"kind": "sgd", "momentum": 0.9},
        "scheduler": {"kind": "multistep", "milestones": [2]},
    },
    "averaged": {"scheduler": {"kind": "cosine_warmup", "warmup_epochs": 1}, "ema_decay": 0.9},
    "sparse": {"sparse_above": 10, "scheduler": {"kind": "plateau"}},
}
_ODD: tuple[object, ...] = (
    "evil",
    None,
    float("nan"),
    -7,
    10**30,
    {},
    torch.zeros(3, 5, 7),
    torch.zeros(2, dtype=torch.int64),
)


def _after_two_epochs(**settings: Any) -> TrainingLoop:
    loop = small_loop(epochs=3, **settings)
    epochs = loop.epochs()
    next(epochs)
    next(epochs)
    return loop


def _places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*path, key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _places(inner, (*path, number))
    yield path


def _put(tree: Any, path: tuple[Any, ...], value: object) -> Any:
    if not path:
        return value
    changed = list(tree) if isinstance(tree, tuple) else copy.copy(tree)
    changed[path[0]] = _put(changed[path[0]], path[1:], value)
    return changed


def _resumes(loop: TrainingLoop, state: Any) -> bool:
    try:
        loop.resume(state)
    except Exception:  # noqa: BLE001 - whatever it is, the keeper starts fresh then
        return False
    return True


@pytest.mark.parametrize("kind", _SETTINGS)
def test_a_state_with_an_odd_value_anywhere_is_refused_or_trains_to_the_end(kind: str) -> None:
    settings = _SETTINGS[kind]
    state = _after_two_epochs(**settings).state()

    for at, path in enumerate(_places(state)):
        loop = small_loop(epochs=3, **settings)
        if _resumes(loop, _put(state, path, _ODD[at % len(_ODD)])):
            assert len(list(loop.epochs())) <= 3


@pytest.mark.parametrize(
    "moments",
    [{"exp_avg": torch.zeros(1)}, {"exp_avg": torch.full((6, 42), float("nan"))}, {"step": "many"}],
    ids=["of another shape", "that are no numbers", "of no count"],
)
def test_moments_that_a_kernel_would_write_beyond_are_set_aside(
    tmp_path: Path, moments: dict[str, object]
) -> None:
    loop = _after_two_epochs()
    state = copy.deepcopy(loop.state())
    for kept in state["optimizers"][0]["state"].values():
        kept.update(moments)
    save_checkpoint(tmp_path, "k", state)
    plain, resumed = small_loop(epochs=3), small_loop(epochs=3)

    keeper = Keeper(resumed, tmp_path, key="k", every_s=1000)

    assert keeper.resumed_at == ""
    assert "set aside as checkpoint.damaged.pt" in keeper.notes[0]
    assert [r.val_loss for r in resumed.epochs()] == [r.val_loss for r in plain.epochs()]


@pytest.mark.parametrize("kind", _SETTINGS)
def test_a_state_as_it_was_given_is_gone_on_from(kind: str) -> None:
    state = copy.deepcopy(_after_two_epochs(**_SETTINGS[kind]).state())
    loop = small_loop(epochs=3, **_SETTINGS[kind])

    loop.resume(state)

    assert [record.epoch for record in loop.epochs()] == [3]
