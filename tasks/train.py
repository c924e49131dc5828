"""Train the network, with its curve in MLflow and TensorBoard; go on where a kill stopped it."""

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.splits.split_rows import SplitRows
from pipeline_lib.encoding.encoded_splits import EncodedData
from pipeline_lib.tracking.reference import RunReference

if TYPE_CHECKING:
    from pipeline_lib.fitting import TrainingSession
    from pipeline_lib.tracking.runs import TrackedRun
    from pipeline_lib.training.keeper import Keeper


@dataclass(frozen=True)
class Trained:
    """Where the model lies, how the training went, and whose weights it began with, if any's.

    `notes` are what a person should be warned of.
    """

    model_folder: Path
    facts: dict[str, str]
    started_from: str = ""
    notes: tuple[str, ...] = ()


@task(cache_policy=NO_CACHE)
def train(
    config: PipelineConfig,
    rows: SplitRows,
    encoded: EncodedData,
    run: RunReference,
    resume: bool = True,
) -> Trained:
    """Train until the last epoch or early stopping; keep the best epoch's weights."""
    from pipeline_lib.tracking.epochs import EpochLog
    from pipeline_lib.tracking.runs import TrackedRun
    from pipeline_lib.tracking.tensorboard import TensorBoardLog
    from pipeline_lib.training.keeper import Keeper
    from pipeline_lib.training.records import Progress
    from tasks.feedback import Feedback

    tracked, files = TrackedRun.of(run), run.files
    run.home.writable(files.folder)
    start = _start(config, rows, encoded, tracked)
    session, members = start.session, start.session.members
    every_s = config.training.checkpoint_s
    keeper = Keeper(members, files.folder, key=start.key, every_s=every_s, resume=resume)
    _tell_the_start(session, keeper, tracked)
    feedback, primary, history = Feedback(config.name), config.primary, members.history
    shutil.rmtree(files.tensorboard, ignore_errors=True)  # of a run of the same key
    board = TensorBoardLog(files.tensorboard, primary=primary, history=history)
    board.add_graph(session.network, session.sample())
    with (
        EpochLog(files.epochs, tracked, primary=primary, history=history) as epochs,
        keeper,
    ):

        def on_pulse(now: Progress) -> None:
            keeper.save_if_due()
            feedback.tell(now, session.progress(members.last) if members.last else "")

        for record in session.epochs(on_pulse):
            epochs.append(record)
            board.append(record)
            keeper.save_if_due()
    feedback.end()
    session.fitted().save(files.model)
    epochs.flush()  # if MLflow was away: the model is safe by now
    tracked.log_folder(files.tensorboard, "tensorboard")
    _tell_the_end(session, tracked)
    facts = session.facts() | start.facts
    return Trained(files.model, facts, start.version, session.notes_after())


@dataclass(frozen=True)
class _Start:
    """A training about to begin, and the version its weights are from, if they are one's.

    `key` is all that decides its weights; a checkpoint belongs to it.
    """

    session: "TrainingSession"
    key: str
    version: str = ""
    facts: dict[str, str] = field(default_factory=dict[str, str])


def _start(
    config: PipelineConfig, rows: SplitRows, encoded: EncodedData, tracked: "TrackedRun"
) -> _Start:
    """Open the splits, and choose the first weights."""
    import torch

    from pipeline_lib.fitting import TrainingSession
    from pipeline_lib.tracking.registry import read_champion_to_start_from

    champion, wants_champion = None, config.training.start_from == "champion"
    if wants_champion:
        champion = read_champion_to_start_from(
            tracked.client, config.name, run_key=tracked.run_key, split_rule=rows.rule
        )
    encoder = encoded.read_encoder()
    session = TrainingSession.start(
        config,
        encoder,
        encoded.read_target(),
        encoded.path("train"),
        encoded.path("val"),
        champion=champion and champion.model,
        home=tracked.client.home,
    )
    key = f"{tracked.run_key} {encoder.fingerprint()} {torch.__version__}"
    if not wants_champion:
        return _Start(session, key)
    version, level = "", logging.INFO
    if champion is None:
        told = "fresh, for there is no champion yet"
    elif session.carried is not None:
        version, key = champion.version, f"{key} {champion.sha256}"
        share = config.training.warm_share
        mixed = f"{share:.0%} of " if share < 1 else ""
        told = f"{mixed}champion v{version}, {session.carried}"
    else:
        why_not = champion.problem or session.obstacle
        told = f"fresh, without champion v{champion.version}: {why_not}"
        level = logging.WARNING
    get_run_logger().log(level, "train     first weights: %s", told)
    tracked.set_tags({"first_weights": told})
    return _Start(session, key, version, {"first weights": told})


def _tell_the_start(session: "TrainingSession", keeper: "Keeper", tracked: "TrackedRun") -> None:
    from pipeline_lib.encoding.codebook import codebook

    logger = get_run_logger()
    tracked.log_json(codebook(session.encoder), "encoding/categories.json")
    tracked.set_tags({"device": session.device_name})
    for note in keeper.notes:
        logger.warning("train     %s", note)
    logger.info("train     on %s, %s", session.device_name, session.plan)
    for note in session.notes_before():
        logger.warning("train     %s", note)
    if keeper.resumed_at:
        tracked.set_tags({"resumed_at": keeper.resumed_at})
        logger.info("train     resumes at %s", keeper.resumed_at)


def _tell_the_end(session: "TrainingSession", tracked: "TrackedRun") -> None:
    from pipeline_lib.evaluation.plots import plot_losses

    figure = plot_losses(session.members.history, primary=session.config.primary)
    tracked.log_figure(figure, "losses.png")
    tracked.log_metrics(session.best_metrics())
    for best in session.members.best:
        get_run_logger().info("train     best %s", session.progress(best))
    if not session.undefined:  # else it was said before
        for note in session.notes_after():
            get_run_logger().warning("train     %s", note)
