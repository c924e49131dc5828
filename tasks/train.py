"""Train the network, with its curve in MLflow and TensorBoard; go on where a kill stopped it."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding.prepared import EncodedData
from pipeline_lib.storage import run_folder, writable_folder
from pipeline_lib.tracking.reference import RunReference


@dataclass(frozen=True)
class Trained:
    """Where the model lies, and how the training went."""

    model_folder: Path
    facts: dict[str, str]


@task(cache_policy=NO_CACHE)
def train(
    config: PipelineConfig, encoded: EncodedData, run: RunReference, resume: bool = True
) -> Trained:
    """Train until the last epoch or early stopping; keep the best epoch's weights."""
    from pipeline_lib.encoding.codebook import codebook
    from pipeline_lib.evaluation.plots import plot_losses
    from pipeline_lib.fitting import TrainingSession
    from pipeline_lib.tracking.epochs import EpochLog
    from pipeline_lib.tracking.runs import TrackedRun
    from pipeline_lib.tracking.tensorboard import TensorBoardLog
    from pipeline_lib.training.keeper import Keeper
    from pipeline_lib.training.loop import Progress
    from tasks.feedback import Feedback

    logger, tracked = get_run_logger(), TrackedRun.of(run)
    folder, settings = writable_folder(run_folder(run.run_key)), config.training
    encoder, target = encoded.read_encoder(), encoded.read_target()
    session = TrainingSession.start(
        config, encoder, target, encoded.path("train"), encoded.path("val")
    )
    loop, feedback, primary = session.loop, Feedback(config.name), config.primary
    keeper = Keeper(loop, folder, key=run.run_key, every_s=settings.checkpoint_s, resume=resume)
    tracked.log_json(codebook(encoder), "encoding/categories.json")
    tracked.set_tags({"device": session.device_name, "resumed_at": keeper.resumed_at})
    for note in keeper.notes:
        logger.warning("train     %s", note)
    logger.info("train     on %s, %d epochs", session.device_name, settings.epochs)
    if keeper.resumed_at:
        logger.info("train     resumes at %s", keeper.resumed_at)
    shutil.rmtree(folder / "tensorboard", ignore_errors=True)  # of a run of the same key
    with (
        EpochLog(folder / "epochs.jsonl", tracked, primary=primary, history=loop.history) as epochs,
        TensorBoardLog(folder / "tensorboard", primary=primary, history=loop.history) as board,
        keeper,
    ):
        board.add_graph(session.network, session.sample())

        def on_pulse(now: Progress) -> None:
            keeper.save_if_due()
            feedback.tell(now, session.progress(loop.history[-1]) if loop.history else "")

        for record in session.epochs(on_pulse):
            epochs.append(record)
            board.append(record)
            keeper.save_if_due()
    feedback.end()
    model, best = session.fitted(), loop.best
    model.save(folder / "model")
    epochs.flush()  # if MLflow was away: the model is safe by now
    tracked.log_folder(folder / "tensorboard", "tensorboard")
    figure = plot_losses(loop.history, best_epoch=best.epoch, primary=primary)
    tracked.log_figure(figure, "losses.png")
    tracked.log_metrics(session.best_metrics())
    logger.info("train     best %s", session.progress(best))
    return Trained(folder / "model", session.facts())
