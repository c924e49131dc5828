"""Whether a training's state can be gone on from: torch looks at less than it needs.

`load_state_dict` of an optimizer takes moments of any shape, and a fused kernel then writes
beyond the memory they have (torch 2.13); that of a scheduler takes any value for any attribute.
A state is therefore compared with the one that the training itself would give.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, optim

# What moves while a schedule runs; all else in its state is its settings.
_COUNTS = ("last_epoch", "_step_count", "num_bad_epochs", "cooldown_counter")
_MOVING = ("_last_lr", "best", "_get_lr_called_within_step", "_is_initial")
_MOMENTS: Mapping[type[optim.Optimizer], tuple[str, ...]] = {
    optim.Adam: ("step", "exp_avg", "exp_avg_sq"),
    optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
    optim.SparseAdam: ("step", "exp_avg", "exp_avg_sq"),
    optim.SGD: ("momentum_buffer",),
}


def check_state(
    given: Mapping[str, Any],
    own: Mapping[str, Any],
    optimizers: Sequence[optim.Optimizer],
    *,
    n_epochs: int,
    n_steps: int,
    batch_rows: int,
) -> None:
    """Refuse a state that a training like this one would never have given.

    Args:
        given: what `TrainingLoop.state` is said to have given.
        own: what it gives of the training that shall go on.
        optimizers: of that training.
        n_epochs: the most that it has.
        n_steps: of an epoch.
        batch_rows: of a full batch.

    Raises:
        ValueError: it is another training's, or no training's.
    """
    done, at_step = len(given["history"]), given["step"]
    _require(_is_count(at_step, n_steps) and done <= n_epochs, "the place")
    numbers = [record["epoch"] for record in given["history"]]
    _require(numbers == list(range(1, done + 1)), "the epochs")
    records = [*given["history"], *([given["best"]] if given["best"] else [])]
    _require(bool(given["best"]) == bool(done) == bool(given["best_weights"]), "the best epoch")
    is_best = any(record["is_best"] is True for record in given["history"])
    _require(is_best == bool(done), "the best epoch")
    _require(all(_is_finite(value) for record in records for value in record.values()), "records")
    _require(_is_finite(given["seconds"]) and _is_finite(given["last_rate"]), "time and rate")
    _require(_is_count(given["progress"][0], done), "the progress")
    for name in ("losses", "masses"):
        _require(given[name].shape == (at_step,) and bool(given[name].isfinite().all()), name)
    _check_tensors(given["model"], own["model"], "the weights")
    _check_tensors(given["best_weights"], own["model"] if done else {}, "the best weights")
    _check_tensors(given["average"], own["average"], "the average")
    for saved, optimizer in zip(given["optimizers"], optimizers, strict=True):
        _check_optimizer(saved, optimizer)
    n_ticks = n_epochs * n_steps + 1
    _require(_is_like(given["schedules"], own["schedules"], n_ticks), "a schedule")
    stepper = given["stepper"]
    _require(_is_count(stepper["accumulation"], batch_rows), "the parts of a step")
    _require(stepper["accumulation"] >= own["stepper"]["accumulation"], "the parts of a step")
    _check_scaler(stepper["scaler"], own["stepper"]["scaler"])


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{what} cannot be this training's")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_finite(value: object) -> bool:
    """Tell whether a field of a record is none, a flag, or a number that is finite."""
    return value is None or (isinstance(value, int | float) and abs(value) < math.inf)


def _check_tensors(given: object, own: Mapping[str, Any], what: str) -> None:
    _require(isinstance(given, Mapping) and given.keys() == own.keys(), what)
    tensors = cast("Mapping[str, object]", given)
    _require(all(_is_filled(tensors[name], tensor) for name, tensor in own.items()), what)


def _is_filled(value: object, like: Tensor) -> bool:
    """Tell whether a value is a dense tensor of finite numbers, of that shape and type."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and (value.shape, value.dtype) == (like.shape, like.dtype)
        and bool(value.isfinite().all())
    )


def _check_optimizer(given: Mapping[str, Any], optimizer: optim.Optimizer) -> None:
    groups = cast("list[dict[str, Any]]", optimizer.state_dict()["param_groups"])
    what = "an optimizer's settings"
    _require(len(given["param_groups"]) == len(groups), what)
    for saved, group in zip(given["param_groups"], groups, strict=True):
        _require(isinstance(saved, Mapping) and saved.keys() == group.keys(), what)
        rate = saved["lr"]
        highest = max(group.get(name, 0.0) for name in ("lr", "initial_lr", "max_lr"))
        is_right = _is_number(rate) and 0 <= rate <= highest * (1 + 1e-6)  # no schedule rises
        _require(is_right, "the learning rate")
        same = (_is_like(saved[key], value, 0) for key, value in group.items() if key != "lr")
        _require(all(same), what)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    begun = {number for number, weight in enumerate(weights) if optimizer.state.get(weight)}
    _require(begun <= given["state"].keys() <= set(range(len(weights))), "the moments")
    names = set(_MOMENTS[type(optimizer)])
    for number, moments in given["state"].items():
        _require(isinstance(moments, dict) and set(moments) == names, "the moments")
        for name, value in moments.items():
            if name == "step":
                is_right = _is_step_count(value)
            else:
                is_right = _is_filled(value, weights[number])
            _require(is_right, "the moments")


def _is_step_count(value: object) -> bool:
    """Tell whether a value is a number from 0, or a tensor of one."""
    count: object = value.item() if isinstance(value, Tensor) and value.dim() == 0 else value
    return isinstance(count, int | float) and 0 <= count < math.inf


def _check_scaler(given: object, own: Mapping[str, object]) -> None:
    what = "the scale of half precision"
    _require(isinstance(given, Mapping) and given.keys() == own.keys(), what)
    numbers = cast("Mapping[str, object]", given)
    for name, value in own.items():
        moves = name in ("scale", "_growth_tracker")
        _require(numbers[name] == value or (moves and _is_number(numbers[name])), what)
        _require(_is_finite(numbers[name]), what)


def _is_like(given: object, own: object, n_ticks: int, name: str = "") -> bool:
    """Tell whether a schedule's state has the settings of another, and numbers where it moves."""
    if isinstance(own, Mapping):
        if not isinstance(given, Mapping):
            return False
        mine, theirs = cast("Mapping[Any, object]", own), cast("Mapping[Any, object]", given)
        return mine.keys() == theirs.keys() and all(
            _is_like(theirs[key], value, n_ticks, str(key)) for key, value in mine.items()
        )
    if isinstance(own, list | tuple):
        if not isinstance(given, list | tuple):
            return False
        pairs = list(zip(cast("list[object]", given), cast("list[object]", own), strict=False))
        return len(pairs) == len(given) == len(own) and all(
            _is_like(theirs, mine, n_ticks, name) for theirs, mine in pairs
        )
    if name in _COUNTS:
        return given == -1 or _is_count(given, n_ticks)  # one that has not begun is at -1
    if name in _MOVING:
        return isinstance(given, int | float) and not math.isnan(given)
    return type(given) is type(own) and given == own
