"""Whether a contestant of the GPU benchmark learns what float64 on the CPU learns.

The same initial weights, the same rows in the same order, dropout 0. Adam's epsilon is 0.01 here
and its rate 0.01: with the usual 1e-8 a weight whose gradient is rounding noise moves by a full
step in either direction. What remains is ReLU: of millions of values some lie within rounding of 0
and fall on the other side, and the weights that follow differ. On a CPU in float32, three seeds and
batches of 1,024 to 65,536, the move of the weights differs by 1e-5 where no value changed sides; by
up to 0.0044 after one step and 0.015 after five where some did; with SiLU in its place by 4e-5
(2026-11). So the tolerances are wide. A rate 10 % off or a missing bias correction is past them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchmarks.gpu_rows import Rows
from benchmarks.gpu_step import Contestant, Learner, Setting

N_STEPS = 5
LOSS_TOLERANCE = 5e-4
WEIGHT_TOLERANCE = 5e-3
FIRST_MOVE_TOLERANCE = 0.02
MOVE_TOLERANCE = 0.05
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Difference:
    """What separates a contestant from the reference; NaN counts as wrong.

    Args:
        loss: largest absolute difference of a step's loss.
        weight: largest absolute difference of a weight or running statistic after the last step.
        first_move: norm of the weights' difference after one step over the norm of their move.
        move: the same after the last step.
    """

    loss: float
    weight: float
    first_move: float
    move: float

    @property
    def is_right(self) -> bool:
        """Whether every difference is within its tolerance."""
        return (
            self.loss <= LOSS_TOLERANCE
            and self.weight <= WEIGHT_TOLERANCE
            and self.first_move <= FIRST_MOVE_TOLERANCE
            and self.move <= MOVE_TOLERANCE
        )


class Reference:
    """The float64 run on the CPU that contestants of one batch size are held to.

    Args:
        setting: of the comparison; dropout, rate and epsilon are the check's own.
        rows: on the CPU.
        sparse: `SparseAdam` for long tables, which leaves rows alone that a batch does not hold.
    """

    def __init__(self, setting: Setting, rows: Rows, *, sparse: bool = False) -> None:
        self.setting = check_setting(setting)
        generator = torch.Generator().manual_seed(setting.seed + 1)
        n_rows = N_STEPS * setting.batch
        self.order = torch.randperm(rows.n_rows, generator=generator)[:n_rows]
        learner = Learner(self.setting, _CPU, dtype=torch.float64, sparse=sparse)
        self._start = _parameters(learner)
        self._losses: list[float] = []
        for chunk in self.order.split(setting.batch):
            x_cat, x_num, y = rows.take(chunk)
            self._losses.append(float(learner.learn(x_cat, x_num.double(), y)))
            if len(self._losses) == 1:
                self._first = _parameters(learner)
        self._last, self._state = _parameters(learner), _state(learner)

    def difference(self, contestant: Contestant, device: torch.device) -> Difference:
        """Let a contestant, built with `setting`, take the same steps; return how far it is off."""
        losses: list[Tensor] = []
        first_move = float("nan")
        for loss in contestant.steps(self.order.to(device)):
            losses.append(loss.clone())
            if len(losses) == 1:
                first_move = self._move(contestant.learner, self._first)
        off = torch.stack(losses).cpu().double() - torch.tensor(self._losses, dtype=torch.float64)
        pairs = zip(_state(contestant.learner), self._state, strict=True)
        return Difference(
            loss=float(off.abs().max()),
            # In torch, where NaN wins; Python's max may drop it.
            weight=float(torch.stack([(a - b).abs().max() for a, b in pairs]).max()),
            first_move=first_move,
            move=self._move(contestant.learner, self._last),
        )

    def _move(self, learner: Learner, reference: list[Tensor]) -> float:
        moves = zip(reference, self._start, strict=True)
        moved = torch.stack([torch.linalg.vector_norm(a - b) for a, b in moves])
        pairs = zip(_parameters(learner), reference, strict=True)
        off = torch.stack([torch.linalg.vector_norm(a - b) for a, b in pairs])
        return float(torch.linalg.vector_norm(off) / torch.linalg.vector_norm(moved))


def check_setting(setting: Setting) -> Setting:
    """Return the setting a contestant is checked with."""
    return replace(setting, dropout=0.0, learning_rate=1e-2, epsilon=1e-2)


def _parameters(learner: Learner) -> list[Tensor]:
    return [_on_cpu(weight) for weight in learner.model.parameters()]


def _state(learner: Learner) -> list[Tensor]:
    return list(_floats(learner.model.state_dict().values()))


def _floats(tensors: Iterator[Tensor]) -> Iterator[Tensor]:
    return (_on_cpu(tensor) for tensor in tensors if tensor.is_floating_point())


def _on_cpu(tensor: Tensor) -> Tensor:
    """Return a copy in float64."""
    return tensor.detach().to(_CPU, torch.float64, copy=True)
