"""Every deliberate error, as one tree.

EvergreenError                 exit code of the command
├── UsageError                 2   a name or option that does not exist
├── ConfigError                2   a config file or an override is wrong
│   └── RuleError              2   a rule of `validation.rules` is invalid, or fails
├── DeviceError                2   the device asked for is not there
├── DataError                  3   the data broke its contract
│   ├── SourceError            3   a file is unreadable, empty or not what it should be
│   │   └── SourceNotFoundError    2   there is no such file
│   ├── ContractError          3   rows or columns are not what the config's `columns` say
│   │   ├── MissingColumnError 3   a column is not there
│   │   └── QuarantineBudgetError 3   more rows are bad than may be quarantined
│   ├── VolumeError            3   far fewer rows than in earlier runs
│   ├── DriftError             3   rows drifted, and the config says to stop then
│   └── UnknownCategoryError   3   a category was unseen in training and `on_unknown` is `error`
├── TrainingError              1   training cannot go on
│   ├── NonFiniteLossError     1   the loss is not a number any more
│   └── DeviceMemoryError      1   a step does not fit into the device's memory
├── StageTimeoutError          1   a stage took longer than its time-out
├── ModelError                 1   a saved model is damaged, foreign or of another version
├── StorageError               1   a place cannot be written or read
└── ServerError                1   a server is absent or refuses
    └── ServerLostError        1   a server has gone while it was needed

Messages say what was wrong, where, and what to do; they stay bounded, as `wording` has it, whatever
the size of the data. The data stands in attributes too.
"""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import ClassVar

from pipeline_lib.shown import hashed, shown
from pipeline_lib.wording import MAX_EXAMPLES, did_you_mean, examples, in_few_words, rows_that

_MAX_NEAR = 10  # missing columns for which the nearest one is looked up
# Columns that a lost loss names, and characters of a name.
_MAX_EXTREMES, _MAX_NAME = 5, 60


@contextmanager
def door(
    refused: "Callable[[str], EvergreenError]", own: "type[EvergreenError] | None" = None
) -> Generator[None]:
    """Let only errors of one kind out: any other exception is converted to it.

    For input that was made elsewhere: what a library raises for it cannot be listed.

    Args:
        refused: makes that error, given the exception in a few words.
        own: errors that pass as they are; every `EvergreenError` without it.
    """
    try:
        yield
    except EvergreenError as error:
        if own is None or isinstance(error, own):
            raise
        raise refused(str(error)) from error
    except Exception as error:
        raise refused(in_few_words(error)) from error


class EvergreenError(Exception):
    """Any mistake that Evergreen explains instead of showing a traceback.

    Its message is printable and holds no secret of an address, wherever it goes. `transient` says
    whether the same call may succeed in a while; None: what the error wraps decides.
    """

    exit_code: ClassVar[int] = 1
    transient: bool | None = None

    def __init__(self, *args: object) -> None:
        super().__init__(*(shown(each) if isinstance(each, str) else each for each in args))

    def __reduce__(self) -> "tuple[object, ...]":
        """Pickle message and attributes, whatever the arguments of `__init__`."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(
    cls: type[EvergreenError], args: tuple[object, ...], attributes: dict[str, object]
) -> EvergreenError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class UsageError(EvergreenError):
    """A name, an option or a combination of them that does not exist."""

    exit_code = 2


@dataclass(frozen=True)
class ConfigProblem:
    """One thing that is wrong in a config: where it stands, which key, which rule."""

    place: str
    key: str
    rule: str

    def __str__(self) -> str:
        """Return `configs/x.yaml:18: training.epochs: …`."""
        return (
            f"{self.place}: {self.key}: {self.rule}" if self.key else f"{self.place}: {self.rule}"
        )


class ConfigError(EvergreenError):
    """A config file or an override breaks a rule; `problems` lists each."""

    exit_code = 2

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class RuleError(ConfigError):
    """The rule `rule` cannot be evaluated: its expression or its function is wrong.

    `place` is where the config has it, as `configs/x.yaml:18`; empty if that is not known.
    """

    def __init__(self, rule: str, message: str, *, place: str = "") -> None:
        self.rule, self.message, self.place = rule, message, place
        where = f"{place}: rule {rule!r}" if place else f"rule {rule!r}"
        super().__init__([ConfigProblem(where, "validation.rules", message)])

    def at(self, place: str) -> "RuleError":
        """Return the same error with the place of the rule."""
        return RuleError(self.rule, self.message, place=place)


class DeviceError(EvergreenError):
    """The device asked for is not on this machine."""

    exit_code = 2


class DataError(EvergreenError):
    """The data is not what it was declared to be."""

    exit_code = 3


class SourceError(DataError):
    """A source cannot be read as the table it should be."""


class SourceNotFoundError(SourceError):
    """The source's file does not exist."""

    exit_code = 2


@dataclass(frozen=True)
class Violation:
    """One rule that rows or columns break: which, where, how many rows, and what to do.

    `column` is empty where a rule looks at whole rows. `severity` is what the rule's setting
    makes of them; `examples` are a few of the values, quoted; `change` says which setting lets
    such rows pass, and where it stands.
    """

    column: str
    rule: str
    n_rows: int
    message: str
    severity: str = "stop"
    examples: tuple[str, ...] = ()
    change: str = ""

    def __str__(self) -> str:
        """Return `column 'size': 3 rows …`."""
        text = f"{self.message}; {self.change}" if self.change else self.message
        return f"column {examples([self.column])}: {text}" if self.column else text


class ContractError(DataError):
    """Rows or columns break the contract; `violations` lists each."""

    def __init__(self, violations: Sequence[Violation], *, source: str = "the table") -> None:
        self.violations = tuple(violations)
        lines = [f"contract broken by {source}:"]
        lines += [f"  {violation}" for violation in self.violations[:20]]
        if len(self.violations) > 20:
            lines.append(f"  … and {len(self.violations) - 20} more")
        super().__init__("\n".join(lines))


class MissingColumnError(ContractError):
    """Columns that must be there are not; `columns` names them.

    `named` gives the setting that names a column, and its place.
    """

    def __init__(
        self,
        columns: Sequence[str],
        *,
        present: Sequence[str],
        source: str,
        named: Callable[[str], str] | None = None,
    ) -> None:
        self.columns = tuple(columns)
        few = [
            f"{f', named by {named(name)}' if named else ''}{did_you_mean(name, present)}"
            for name in columns[:_MAX_NEAR]
        ]
        super().__init__(
            [
                Violation(name, "missing", 0, f"is missing{near}")
                for name, near in zip_longest(columns, few, fillvalue="")
            ],
            source=source,
        )


class QuarantineBudgetError(ContractError):
    """More rows would be quarantined than `validation.quarantine` allows."""

    def __init__(
        self,
        n_quarantined: int,
        n_rows: int,
        violations: Sequence[Violation],
        *,
        budget: str,
        source: str,
    ) -> None:
        self.n_quarantined, self.n_rows = n_quarantined, n_rows
        message = (
            f"{n_quarantined} of {n_rows} rows ({n_quarantined / n_rows:.1%}) would go into "
            f"quarantine, more than `{budget}` allows. Nothing was trained. "
            "Fix the source, or raise the budget. Most frequent:"
        )
        over = Violation("", "quarantine", n_quarantined, message)
        most = sorted(violations, key=lambda v: -v.n_rows)[:MAX_EXAMPLES]
        super().__init__([over, *most], source=source)


class VolumeError(DataError):
    """Far fewer rows than in an earlier run, which `validation.volume.max_drop` does not allow."""

    def __init__(self, message: str, *, n_rows: int, n_before: int) -> None:
        self.n_rows, self.n_before = n_rows, n_before
        super().__init__(message)


class DriftError(DataError):
    """Rows drifted so far that `validation.drift.severity: stop` stops the run."""

    def __init__(self, name: str, sentences: Sequence[str]) -> None:
        self.sentences = tuple(sentences)
        lines = [f"the rows of {name} have drifted; nothing was trained:"]
        lines += [f"  {sentence}" for sentence in self.sentences[:20]]
        lines += ["Fix the source, or set `validation.drift.severity: warn` to train on them"]
        super().__init__("\n".join(lines))


class UnknownCategoryError(DataError):
    """A column holds categories unseen in training and its `on_unknown` is `error`.

    They are `unknown`, as hashes where the column hides its values.
    """

    def __init__(
        self,
        column: str,
        unknown: Sequence[str],
        n_rows: int,
        known: Sequence[str],
        *,
        hidden: bool = False,
    ) -> None:
        if hidden:
            unknown, known = (tuple(f"{hashed(w)}" for w in words) for words in (unknown, known))
        self.column, self.unknown, self.n_rows = column, tuple(unknown), n_rows
        noun = "category" if len(unknown) == 1 else "categories"
        super().__init__(
            f"column {column!r} has {len(unknown)} {noun} unseen in training: "
            f"{examples(unknown)} ({rows_that(n_rows)}). Known: {examples(known)}. "
            "Fix the source, or set `on_unknown: bucket` for this column."
        )


class TrainingError(EvergreenError):
    """Training cannot start or go on."""


class NonFiniteLossError(TrainingError):
    """The loss or a gradient became NaN or infinite at `epoch`, `step` (both count from 1).

    `extremes` are the inputs of that step's rows that stand out, with their largest magnitude, or
    NaN if they hold one;
    `overflows` says that only the gradients of half precision are lost; `member` is set where
    several networks are trained.
    """

    member: int | None = None

    def __init__(
        self,
        epoch: int,
        step: int,
        learning_rate: float,
        *,
        split: str,
        extremes: Sequence[tuple[str, float]] = (),
        precision: str = "float32",
        overflows: bool = False,
    ) -> None:
        self.epoch, self.step, self.learning_rate = epoch, step, learning_rate
        self.extremes = tuple(extremes)
        named = ", ".join(_extreme(*column) for column in self.extremes[:_MAX_EXTREMES])
        inputs = f" Extreme inputs, scaled: {named}." if named else ""
        lost = "gradients overflow at any scale" if overflows else f"{split} loss is not finite"
        is_half = precision == "fp16"  # it ends at 65,504
        first = "Set `training.precision: float32`, lower" if is_half else "Lower"
        super().__init__(
            f"{lost} at epoch {epoch}, step {step} (learning rate {learning_rate:.3g}).{inputs} "
            f"Nothing was registered. {first} `training.optimizer.learning_rate`, or look for "
            "extreme numbers in the data."
        )

    def __str__(self) -> str:
        return (f"member {self.member}: " if self.member else "") + super().__str__()


def _extreme(name: str, size: float) -> str:
    quoted = repr(name[:_MAX_NAME])
    return f"{quoted} holds NaN" if math.isnan(size) else f"{quoted} up to {size:.3g}"


class DeviceMemoryError(TrainingError):
    """The device has too little memory for a step, in however many parts."""

    def __init__(self, batch_rows: int, accumulation: int) -> None:
        self.batch_rows, self.accumulation = batch_rows, accumulation
        super().__init__(
            f"the GPU's memory is too small for a step of {batch_rows} rows even in "
            f"{accumulation} parts. Lower `training.batch_size` or `model.d_embedding_max`, "
            "or set `training.precision: bf16`"
        )


_TRAINS_ON = "a training goes on from its last checkpoint"
_GOES_ON: dict[str, str] = dict.fromkeys(
    ("register", "report"),
    "a champion that has moved already stays, and its decision is recorded then",
)


class StageTimeoutError(EvergreenError):
    """A stage took longer than `timeout_s` seconds, which `execution.timeout_s.<stage>` sets."""

    def __init__(self, stage: str, timeout_s: float) -> None:
        self.stage, self.timeout_s = stage, timeout_s
        super().__init__(
            f"{stage} took longer than {timeout_s:g} s and was ended. Raise "
            f"`execution.timeout_s.{stage}`, or set it to null for no limit, and run the same "
            f"again: {_GOES_ON.get(stage, _TRAINS_ON)}"
        )


class ModelError(EvergreenError):
    """A saved model is damaged, foreign, or of a version this code does not read."""


class StorageError(EvergreenError):
    """A file or folder cannot be written or read."""


class ServerError(EvergreenError):
    """A server is absent, refuses, or has the wrong version."""


class ServerLostError(ServerError):
    """A server has gone while it was needed."""
