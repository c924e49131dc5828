"""What a training tells of itself: a record per epoch, and where it is between two steps."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of a member did; both count from 1.

    `primary` is the validation metric, None if it is undefined on the validation rows.
    """

    epoch: int
    train_loss: float
    val_loss: float
    primary: float | None
    learning_rate: float
    epoch_s: float
    is_best: bool
    member: int = 1

    def to_json(self) -> Mapping[str, int | float | bool | None]:
        """Return the fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Progress:
    """Where a training is: `done` of `n_steps` steps of `epoch`; all times in seconds."""

    epoch: int
    n_epochs: int
    done: int
    n_steps: int
    rows_per_s: float
    left_s: float
    member: int = 1
    n_members: int = 1

    @property
    def share(self) -> float:
        """The share of all members' steps, 0 to 1."""
        return (self.member - 1 + self.of_member) / self.n_members

    @property
    def of_member(self) -> float:
        """The share of this member's steps, 0 to 1."""
        return (self.epoch - 1 + self.done / self.n_steps) / self.n_epochs
