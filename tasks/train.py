"""Train the model, with its curve in MLflow and TensorBoard; go on where a kill stopped it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.baselines import Baseline
from pipeline_lib.data.splits.split_rows import SplitRows
from pipeline_lib.encoding.encoded_splits import EncodedData
from pipeline_lib.evaluation.results import HeldBaseline
from pipeline_lib.tracking.reference import RunReference


@dataclass(frozen=True)
class Trained:
    """Where the model lies, how the training went, and whose weights it began with, if any's.

    `notes` are what a person should be warned of, `held` the baselines that the training has made
    as well, `fit_s` the seconds that it took.
    """

    model_folder: Path
    facts: dict[str, str]
    started_from: str = ""
    notes: tuple[str, ...] = ()
    held: Mapping[Baseline, HeldBaseline] = field(default_factory=dict[Baseline, HeldBaseline])
    fit_s: float | None = None


@task(cache_policy=NO_CACHE)
def train(
    config: PipelineConfig,
    rows: SplitRows,
    encoded: EncodedData,
    run: RunReference,
    resume: bool = True,
) -> Trained:
    """Train until the last epoch or early stopping; keep the best epoch's weights."""
    from pipeline_lib.fitting import save_held, start_training
    from pipeline_lib.tracking.registry import read_champion_to_start_from
    from pipeline_lib.tracking.runs import TrackedRun
    from pipeline_lib.tracking.training_log import TrainingLog
    from pipeline_lib.training.keeper import Keeper
    from pipeline_lib.training.records import Progress
    from tasks.feedback import Feedback

    logger = get_run_logger()
    tracked, files = TrackedRun.of(run), run.files
    folder = run.home.writable(files.folder)
    champion = None
    if config.training.start_from == "champion":
        champion = read_champion_to_start_from(
            tracked.client, config.name, run_key=run.run_key, split_rule=rows.rule
        )
    start = start_training(
        config,
        encoded,
        run_key=run.run_key,
        champion=champion,
        home=tracked.client.home,
        plan=files.plan,
    )
    del champion  # its weights are in the session's, or needed no more
    session, every_s = start.session, config.training.checkpoint_s
    keeper = Keeper(
        session.training.resumable, folder, key=start.key, every_s=every_s, resume=resume
    )
    for level, line in start.opening_lines(keeper):
        logger.log(level, "train     %s", line)
    feedback = Feedback(config.name)
    with TrainingLog(start, tracked, files, resumed_at=keeper.resumed_at) as log, keeper:

        def on_pulse(now: Progress) -> None:
            keeper.save_if_due()
            feedback.report(now, session.last_line())

        for record in session.epochs(on_pulse):
            log.append(record)
            keeper.save_if_due()
    feedback.end()
    session.fitted().save(files.model)
    held = save_held(session, files.model, files.baselines)
    log.finish()
    for level, line in session.closing_lines():
        logger.log(level, "train     %s", line)
    fit_s = session.training.figures.fit_s
    return Trained(files.model, start.facts(), start.version, session.notes_after(), held, fit_s)
