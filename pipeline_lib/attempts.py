"""Runs of a dataset that have begun: which of them a process still runs, how the others ended.

Each has a file that its process keeps locked for as long as it lives: a file without a lock is of
a run that is over. Its lines hold the outcome of the run, if it got so far.
"""

import fcntl
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.errors import StorageError
from pipeline_lib.home import DatasetFolder
from pipeline_lib.storage.json_files import Json, append_json_line, read_json_lines
from pipeline_lib.wording import refusal

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OLD_S = 30 * 86_400
# Locked until the process ends: the server hears of a run's end after its last line.
_held: dict[Path, int] = {}
_ended: set[Path] = set()


@dataclass(frozen=True)
class Attempt:
    """One run of a dataset, known by the id of its flow run."""

    path: Path

    @classmethod
    def begin(cls, dataset: DatasetFolder, flow_run_id: str) -> "Attempt":
        """Register a run that this process is about to make, until the process ends.

        Args:
            dataset: of the run.
            flow_run_id: of the run.

        Raises:
            StorageError: the file cannot be written.
        """
        for path in _ended & _held.keys():  # earlier runs of this process
            os.close(_held.pop(path))
        attempt = cls(_place(dataset, flow_run_id))
        if attempt.path in _held:  # tried again in this process
            return attempt
        folder = dataset.home.writable(dataset.attempts)
        unlocked = folder / f".{flow_run_id}"  # by its own name it is never seen unlocked
        try:
            file = _open(unlocked, os.O_CREAT | os.O_TRUNC)
            fcntl.flock(file, fcntl.LOCK_EX)
            unlocked.replace(attempt.path)
        except OSError as error:
            raise StorageError(refusal(error, attempt.path)) from error
        _held[attempt.path] = file
        return attempt

    @property
    def flow_run_id(self) -> str:
        """Return the id of its flow run."""
        return self.path.stem

    def end(self, facts: Mapping[str, Json]) -> None:
        """Note the outcome of the run; what is noted last counts."""
        self.note(facts)
        _ended.add(self.path)

    def note(self, facts: Mapping[str, Json]) -> None:
        """Note what the run that finds it later has to do; a full disk stops nothing here."""
        with suppress(OSError):
            append_json_line(self.path, facts)

    def facts(self) -> dict[str, Json]:
        """Return all that was noted; nothing if a line is damaged."""
        try:
            lines = read_json_lines(self.path)
        except StorageError:
            return {}
        return {key: value for line in lines for key, value in line.items()}

    def is_old(self) -> bool:
        """Return whether it is too old to matter."""
        try:
            return time.time() - self.path.stat().st_mtime > _OLD_S
        except OSError:
            return True

    def forget(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self.path.unlink()


def abandoned(dataset: DatasetFolder) -> list[Attempt]:
    """Return the runs of a dataset whose process has gone, the oldest first."""
    found: list[tuple[float, Attempt]] = []
    for path in dataset.attempts.glob("*.jsonl"):
        if path in _held or not _ID.fullmatch(path.stem):
            continue
        try:
            file = _open(path)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.append((os.fstat(file).st_mtime, Attempt(path)))
            finally:
                os.close(file)
        except OSError:  # a process holds it, or it has been removed
            continue
    return [attempt for _, attempt in sorted(found, key=lambda each: each[0])]


def is_registered(dataset: DatasetFolder, flow_run_id: str) -> bool:
    """Report whether a run has a file, whether its process lives or not."""
    return _place(dataset, flow_run_id).exists()


def attempt_of(dataset: DatasetFolder, flow_run_id: str) -> Attempt:
    """Return a run that was registered."""
    return Attempt(_place(dataset, flow_run_id))


def _place(dataset: DatasetFolder, flow_run_id: str) -> Path:
    assert _ID.fullmatch(flow_run_id)
    return dataset.attempts / f"{flow_run_id}.jsonl"


def _open(path: Path, flags: int = 0) -> int:
    return os.open(
        path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o666
    )  # the umask decides
