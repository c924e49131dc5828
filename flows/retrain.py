"""The nightly flow: take the rows, check them, train, measure, decide, register, report."""

from datetime import date

from prefect import flow
from prefect.client.schemas.objects import State

from flows.outcome import Decided, Outcome, skipped
from flows.parameters import ConfigPath, settings_of
from flows.results import SERIALIZER, never_read_results
from flows.run import run_of
from flows.tracked import due_date, run_name
from pipeline_lib.config import Overrides
from pipeline_lib.shown import show_log_lines
from tasks.decide import decide
from tasks.encode import encode
from tasks.evaluate import evaluate
from tasks.execution import Stages
from tasks.identify import identify
from tasks.ingest import ingest
from tasks.look_back import look_back
from tasks.register import register
from tasks.report import report
from tasks.split import split
from tasks.train import train
from tasks.validate import validate

never_read_results()  # here, for a worker imports nothing else


@flow(name="retrain", flow_run_name=run_name, persist_result=False, result_serializer=SERIALIZER)
def retrain(
    config: ConfigPath = "configs/car_evaluation.yaml",
    overrides: Overrides = Overrides(),  # noqa: B008 - frozen
    assignments: tuple[str, ...] = (),
    force: bool = False,
    promote: bool = False,
    experiment: bool = False,
    run_date: date | None = None,
    resume: bool = True,
) -> State[Outcome]:
    """Retrain a dataset's model, and promote it if it is better than the one in use.

    The flow run ends as Promoted, Kept, Rejected or Skipped, all of them Completed. A run with its
    own values, or another config than the dataset's, is an experiment: nothing is registered.

    Args:
        config: the dataset's YAML file.
        overrides: values that this run sets differently.
        assignments: any other value of the config, as `training.batch_size=32`.
        force: train even if rows and config are those of the last decision.
        promote: register the model although the run would be an experiment, and promote it
            although there is no champion to compare with, or one of newer rows. Scores still count.
        experiment: register nothing, whatever the outcome.
        run_date: the date for sources with a file per day or a query by date; without it the day
            on which the run was due (UTC).
        resume: go on with an interrupted training of the same rows, config and code.
    """
    show_log_lines()
    settings, plain = settings_of(config, overrides, assignments)
    stage = Stages(settings.execution)
    with run_of(settings) as current:
        today = run_date or due_date()
        standing = stage(identify)(settings, current.home, plain, today, promote, experiment)
        snapshot = stage(ingest)(settings, current.home, today)
        if (nothing_new := stage(look_back)(settings, snapshot, standing, force)) is not None:
            return current.ended(skipped(nothing_new, standing))
        with current.tracked(snapshot, standing) as run:
            validated = stage(validate)(settings, snapshot, today, standing)
            rows = stage(split)(settings, validated.rows)
            encoded = stage(encode)(settings, rows, today, standing)
            trained = stage(train)(settings, rows, encoded, run, resume)
            result = stage(evaluate)(settings, rows, encoded, trained, run)
            verdict = stage(decide)(settings, rows, trained, result, standing, run)
            settled = stage(register)(settings, rows, trained, result, verdict, standing, run)
            decided = Decided.of(
                settings, validated, rows, encoded, trained, result, settled, standing, run
            )
            page = stage(report)(settings, decided.record, decided.entry, run)
        return current.ended(decided.outcome(page))
