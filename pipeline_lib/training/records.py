"""What a training reports: a record per epoch, and where it is between two steps."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

# How good an epoch is, lower is better: whether the monitored figure is undefined, and the figure,
# turned so that lower is better; the loss where it is undefined. So an epoch with the figure is
# better than any without, and among those without the loss decides.
Level = tuple[bool, float]


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

    @classmethod
    def from_json(cls, fields: Mapping[str, object]) -> "EpochRecord":
        """Return the record that `to_json` described.

        Raises:
            TypeError: a field is missing, unknown, or of another type.
        """
        record = cls(**fields)  # pyright: ignore[reportArgumentType] - looked at below
        numbers = (record.train_loss, record.val_loss, record.learning_rate, record.epoch_s)
        if record.primary is not None:
            numbers = (*numbers, record.primary)
        is_whole = isinstance(record.epoch, int) and isinstance(record.member, int)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not is_whole or not all(isinstance(n, int | float) for n in numbers):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError("a record of an epoch holds numbers")
        return record


def level_of(
    record: EpochRecord, monitor: Literal["loss", "primary"], *, lower_is_better: bool
) -> Level:
    """Return how good an epoch is by what is monitored; `lower_is_better` is of the metric."""
    if monitor == "loss":
        return False, record.val_loss
    if record.primary is None:
        return True, record.val_loss
    return False, record.primary if lower_is_better else -record.primary


def improves(level: Level, before: Level, *, min_delta: float) -> bool:
    """Return whether an epoch is better than one before by more than `min_delta`.

    >>> improves((False, -0.5), (True, 0.1), min_delta=0.2)  # the metric is defined at last
    True
    """
    return level < (before[0], before[1] - min_delta)


@dataclass(frozen=True)
class Progress:
    """Where a training is: `done` of `n_steps` steps of `epoch`; all times in seconds.

    `left_s` is None where the number of passes over the rows, at most `n_epochs`, is open; `unit`
    is what they are called.
    """

    epoch: int
    n_epochs: int
    done: int
    n_steps: int
    rows_per_s: float
    left_s: float | None
    member: int = 1
    n_members: int = 1
    unit: str = "epoch"

    @property
    def place(self) -> str:
        """The member, if there are several, and the epoch, in words."""
        member = f"member {self.member}/{self.n_members}  " if self.n_members > 1 else ""
        return f"{member}{self.unit} {self.epoch}/{self.n_epochs}"

    @property
    def share(self) -> float:
        """The share of all members' steps, 0 to 1."""
        return (self.member - 1 + self.of_member) / self.n_members

    @property
    def of_member(self) -> float:
        """The share of this member's steps, 0 to 1."""
        return (self.epoch - 1 + self.done / self.n_steps) / self.n_epochs
