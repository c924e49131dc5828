"""When a training is saved, and where it goes on after an interruption."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import torch

from pipeline_lib.errors import TrainingError
from pipeline_lib.training.checkpoint import (
    discard_checkpoints,
    discard_scratch,
    load_checkpoint,
    save_checkpoint,
    set_aside,
)
from pipeline_lib.wording import first_line

# A save that took a second is not repeated for twenty: at most 5 % of the time goes there.
_PAUSE_PER_COST = 20

_logger = logging.getLogger(__name__)


class Resumable(Protocol):
    """A training that can be saved between two steps: a `TrainingLoop`, or `Members`."""

    @property
    def is_whole(self) -> bool:
        """Whether no step is half done."""
        ...

    @property
    def place(self) -> str:
        """Where the training is, in words."""
        ...

    def state(self) -> dict[str, Any]:
        """Return everything that decides how it goes on."""
        ...

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state()` gave; if it cannot be, stay as it was and raise."""
        ...


class Keeper:
    """Keeps a training's checkpoints; as a context it saves what an interruption would lose.

    Args:
        loop: the training; None for one that starts over after an interruption.
        folder: where `checkpoint.pt` lies.
        key: what a checkpoint must belong to.
        every_s: seconds between two saves, at least.
        resume: whether a checkpoint that is there is gone on from, or discarded.
    """

    def __init__(
        self,
        loop: Resumable | None,
        folder: Path,
        *,
        key: str,
        every_s: float,
        resume: bool = True,
    ) -> None:
        self._loop, self._folder, self._key, self._every_s = loop, folder, key, every_s
        self._due_at, self._has_warned = 0.0, False
        self.notes: tuple[str, ...] = ()
        self.resumed_at = ""
        if loop is not None and resume:
            discard_scratch(folder)
            self._resume(loop)
        else:
            discard_checkpoints(folder)

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Save, unless the training itself went wrong or a step is half done."""
        is_whole = self._loop is not None and self._loop.is_whole
        if is_whole and not isinstance(error, TrainingError):
            self.save()

    def save_if_due(self) -> None:
        """Save when the last time is long enough ago."""
        if time.monotonic() >= self._due_at:
            self.save()

    def save(self) -> None:
        """Save now; a disk that refuses does not stop the training."""
        if self._loop is None:
            return
        started = time.monotonic()
        try:
            save_checkpoint(self._folder, self._key, self._loop.state())
        except TrainingError:
            return  # what is lost is not kept: the last good checkpoint stays
        except OSError as error:
            if not self._has_warned:
                why = error.strerror or first_line(error)
                _logger.warning(
                    "no checkpoint in %s (%s); training goes on without", self._folder, why
                )
            self._has_warned = True
        else:
            self._has_warned = False
        ended = time.monotonic()
        self._due_at = ended + max(self._every_s, _PAUSE_PER_COST * (ended - started))

    def _resume(self, loop: Resumable) -> None:
        """Go on from the newest checkpoint that can be used; without one the training is fresh."""
        while True:
            found = load_checkpoint(self._folder, self._key)
            self.notes += found.notes
            if found.state is None:
                return
            try:
                loop.resume(found.state)
                self.resumed_at = loop.place
            except (MemoryError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # noqa: BLE001 - whole, but its writer is unknown
                why = f"it holds no such training, {type(error).__name__}"
                self.notes += (set_aside(self._folder, found.file, why),)
            else:
                return
