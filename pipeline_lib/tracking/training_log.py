"""What MLflow, TensorBoard and `epochs.jsonl` keep of a training."""

import shutil
from types import TracebackType

from pipeline_lib.encoding.codebook import codebook
from pipeline_lib.evaluation.plots import plot_losses
from pipeline_lib.fitting import Start
from pipeline_lib.home import RunFolder
from pipeline_lib.tracking.epochs import EpochLog
from pipeline_lib.tracking.runs import TrackedRun
from pipeline_lib.tracking.tensorboard import TensorBoardLog
from pipeline_lib.training.records import EpochRecord


class TrainingLog:
    """Takes a training's start, its epochs and its end; as a context it sends what is left.

    Args:
        start: the training; epochs that it has behind it are written first.
        run: the MLflow run.
        files: of the run.
        resumed_at: where an interrupted training goes on; empty if it begins.
    """

    def __init__(self, start: Start, run: TrackedRun, files: RunFolder, *, resumed_at: str) -> None:
        session = start.session
        self._session, self._run, self._board_folder = session, run, files.tensorboard
        run.log_json(codebook(session.encoder), "encoding/categories.json")
        tags = {"device": session.device_name}
        if start.first_weights:
            tags["first_weights"] = start.first_weights
        if resumed_at:
            tags["resumed_at"] = resumed_at
        run.set_tags(tags)
        if session.reasons or session.bought:
            run.log_chosen(session.config)
        primary, history = session.config.primary, session.training.history
        shutil.rmtree(self._board_folder, ignore_errors=True)  # of a run of the same key
        self._board = TensorBoardLog(self._board_folder, primary=primary, history=history)
        if (network := session.training.network) is not None:
            self._board.add_graph(network, session.sample())
        self._epochs = EpochLog(files.epochs, run, primary=primary, history=history)

    def __enter__(self) -> "TrainingLog":
        self._epochs.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._epochs.__exit__(kind, error, trace)

    def append(self, record: EpochRecord) -> None:
        """Take an epoch."""
        self._epochs.append(record)
        self._board.append(record)

    def finish(self) -> None:
        """Send what MLflow has not got yet; the model is safe by now."""
        self._epochs.flush()
        self._run.log_folder(self._board_folder, "tensorboard")
        if history := self._session.training.history:
            primary = self._session.config.primary
            self._run.log_figure(plot_losses(history, primary=primary), "losses.png")
        self._run.log_metrics(self._session.best_metrics())
