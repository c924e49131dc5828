"""Train the network, with its curve in MLflow and TensorBoard."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding.prepared import EncodedData
from pipeline_lib.storage import run_folder, writable_folder
from pipeline_lib.tracking.reference import RunReference

_LOG_EVERY_S = 5.0


@dataclass(frozen=True)
class Trained:
    """Where the model lies, and how the training went."""

    model_folder: Path
    facts: dict[str, str]


@task(cache_policy=NO_CACHE)
def train(config: PipelineConfig, encoded: EncodedData, run: RunReference) -> Trained:
    """Train until the last epoch or early stopping; keep the best epoch's weights."""
    from pipeline_lib.encoding.codebook import codebook
    from pipeline_lib.evaluation.plots import plot_losses
    from pipeline_lib.fitting import TrainingSession
    from pipeline_lib.tracking.epochs import EpochLog
    from pipeline_lib.tracking.runs import TrackedRun
    from pipeline_lib.tracking.tensorboard import TensorBoardLog
    from pipeline_lib.training.loop import EpochRecord

    logger, tracked = get_run_logger(), TrackedRun.of(run)
    folder = writable_folder(run_folder(run.run_key))
    encoder, target = encoded.read_encoder(), encoded.read_target()
    session = TrainingSession.start(
        config, encoder, target, encoded.read("train"), encoded.read("val")
    )
    tracked.log_json(codebook(encoder), "encoding/categories.json")
    tracked.set_tags({"device": session.device_name})
    logger.info("train     on %s, %d epochs", session.device_name, config.training.epochs)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)  # of a run of the same key
    history: list[EpochRecord] = []
    said_at = time.monotonic()
    with (
        EpochLog(folder / "epochs.jsonl", tracked, primary=config.primary) as epochs,
        TensorBoardLog(folder / "tensorboard", primary=config.primary) as board,
    ):
        board.add_graph(session.network, session.train)
        for record in session.epochs():
            history.append(record)
            epochs.append(record)
            board.append(record)
            if time.monotonic() - said_at >= _LOG_EVERY_S:
                said_at = time.monotonic()
                logger.info("train     %s", session.progress(record))
    model, best = session.fitted(), session.loop.best
    model.save(folder / "model")
    epochs.flush()  # if MLflow was away: the model is safe by now
    tracked.log_folder(folder / "tensorboard", "tensorboard")
    figure = plot_losses(history, best_epoch=best.epoch, primary=config.primary)
    tracked.log_figure(figure, "losses.png")
    tracked.log_metrics(session.best_metrics(history))
    logger.info("train     best %s", session.progress(best))
    return Trained(folder / "model", session.facts(history))
