"""The curve of a training: a local file first, MLflow in batches.

`epochs.jsonl` is the truth; a kill loses at most a line half written. MLflow gets the same
records every 25 epochs or 5 seconds. A record's step is its place among all epochs of all
members, its timestamp run start + step, so that sending a record twice changes nothing. MLflow
going away does not stop the training, nor slow it down: records wait for the next try, and a try
that took a second is not repeated for ten.
"""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mlflow.entities import Metric as MlflowMetric
from mlflow.exceptions import MlflowException

from pipeline_lib.config.metrics import Metric
from pipeline_lib.errors import StorageError
from pipeline_lib.storage.json_files import append_json_lines, read_json_lines
from pipeline_lib.tracking.runs import TrackedRun
from pipeline_lib.tracking.store import what_failed
from pipeline_lib.training.records import EpochRecord
from pipeline_lib.wording import refusal

FLUSH_EPOCHS = 25
FLUSH_S = 5.0
_PAUSE_PER_COST = 10
# MLflow takes at most 1000 metrics in one call, and a record makes five.
_MAX_RECORDS = 200

_logger = logging.getLogger(__name__)


class EpochLog:
    """Takes epoch records; as a context it sends what is left when the training has ended.

    Args:
        path: the local file; what it held is replaced.
        run: the MLflow run.
        primary: the validation metric's name.
        history: epochs that an interrupted training has behind it.
    """

    def __init__(
        self, path: Path, run: TrackedRun, *, primary: Metric, history: Sequence[EpochRecord] = ()
    ) -> None:
        self._path, self._run, self._primary = path, run, primary
        self._pending = list(enumerate(history, 1))
        self._n_records = len(history)
        self._unwritten: list[EpochRecord] = list(history)
        self._flushed_at = time.monotonic()
        self._barred_until, self._has_warned = 0.0, False
        self._is_silent = False
        self._forget_the_file()
        self._try_to_write()

    def __enter__(self) -> "EpochLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._is_silent or time.monotonic() >= self._barred_until:
            self._try_to_flush()

    def append(self, record: EpochRecord) -> None:
        """Write a record to the file, and to MLflow when it is time."""
        self._n_records += 1
        self._pending.append((self._n_records, record))
        self._unwritten.append(record)
        self._try_to_write()
        now = time.monotonic()
        due = now - self._flushed_at >= FLUSH_S or len(self._pending) >= FLUSH_EPOCHS
        if due and now >= self._barred_until:
            self._try_to_flush()

    def _forget_the_file(self) -> None:
        """Rewrite the file from the checkpoint; log what was wrong with the old one.

        Raises:
            StorageError: what is there cannot be removed.
        """

        def report(text: str) -> None:
            _logger.warning("%s. It is rewritten from the checkpoint", text)

        try:
            read_json_lines(self._path, _record, on_damage=report)
            self._path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{refusal(error, self._path)}. Move it away") from error
        except StorageError as error:
            raise StorageError(f"{error}. Move it away") from error

    def _try_to_write(self) -> None:
        try:
            append_json_lines(self._path, [record.to_json() for record in self._unwritten])
        except OSError as error:
            if not self._has_warned:
                why = error.strerror or error
                _logger.warning("%s cannot be written (%s); epochs wait", self._path.name, why)
            self._has_warned = True
        else:
            self._unwritten.clear()
            self._has_warned = False

    def _try_to_flush(self) -> None:
        started = time.monotonic()
        try:
            self.flush()
        except MlflowException as error:
            _logger.warning("%s; epochs wait", what_failed(self._run.client, error))
            ended = time.monotonic()
            self._is_silent = ended - started > FLUSH_S  # asked again, it would cost as much
            self._barred_until = ended + max(FLUSH_S, _PAUSE_PER_COST * (ended - started))

    def flush(self) -> None:
        """Send what waits.

        Raises:
            MlflowException: MLflow does not take it; the file still holds every epoch.
        """
        while self._pending:
            batch = self._pending[:_MAX_RECORDS]
            metrics = [metric for entry in batch for metric in self._metrics(*entry)]
            self._run.client.log_batch(self._run.run_id, metrics=metrics)
            del self._pending[: len(batch)]
        self._flushed_at = time.monotonic()

    def _metrics(self, step: int, record: EpochRecord) -> list[MlflowMetric]:
        values = {
            "train/loss": record.train_loss,
            "val/loss": record.val_loss,
            f"val/{self._primary}": record.primary,
            "learning_rate": record.learning_rate,
            "epoch_s": record.epoch_s,
        }
        if self._primary == "log_loss":
            del values["val/log_loss"]  # the loss itself
        at = self._run.reference.start_ms + step
        return [
            MlflowMetric(key, value, at, step) for key, value in values.items() if value is not None
        ]


def _record(line: dict[str, Any]) -> EpochRecord:
    return EpochRecord(**line)
