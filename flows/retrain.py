"""The nightly flow: take the rows, check them, learn, measure, decide, register, report."""

from datetime import date

from prefect import flow
from prefect.client.schemas.objects import State

from flows.attempt import only_run_of
from flows.outcome import Outcome, entry_of, record_of, skipped
from flows.parameters import ConfigPath, refuse_strange_paths
from flows.results import SERIALIZER, never_read_results
from flows.tracked import due_date, night_of, run_name
from pipeline_lib.config import Overrides, load_config, load_plain
from pipeline_lib.home import find_home
from pipeline_lib.shown import show_log_lines
from tasks.decide import decide
from tasks.encode import encode
from tasks.evaluate import evaluate
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

    The flow run ends as Promoted, Kept, Rejected or Skipped; all of these are Completed. A run
    with values of its own, or with a config that is not the dataset's, is an experiment: it is
    scored and compared, but not registered.

    Args:
        config: the dataset's YAML file.
        overrides: values that this run sets differently.
        assignments: any other value of the config, as `training.batch_size=32`.
        force: train even if rows and config are those of the last decision.
        promote: register the model although the run would be an experiment, and promote it
            although there is no champion to compare with, or one of newer rows. Scores still count.
        experiment: register nothing, whatever comes of it.
        run_date: the night's date, for sources with a file per day or a query by date; the day
            on which the run was due (UTC) without it.
        resume: go on with an interrupted training of the same rows, config and code.
    """
    show_log_lines()
    refuse_strange_paths(config, assignments)
    settings, plain = load_config(config, overrides, assignments=assignments), load_plain(config)
    home = find_home(settings.project)
    dataset = home.dataset(settings.name)
    with only_run_of(dataset) as attempt, night_of(settings, dataset) as night:
        today = run_date or due_date()
        standing = identify(settings, home, plain, today, promote, experiment)
        snapshot = ingest(settings, home, today)
        if (nothing_new := look_back(settings, snapshot, standing, force)) is not None:
            return attempt.ended(skipped(nothing_new, standing))
        with night.tracked(snapshot, standing) as run:
            validated = validate(settings, snapshot, today, standing)
            rows = split(settings, validated.rows)
            encoded = encode(settings, rows, today, standing)
            trained = train(settings, rows, encoded, run, resume)
            result = evaluate(settings, rows, encoded, trained, run)
            verdict = decide(settings, rows, trained, result, standing, run)
            settled = register(settings, rows, trained, result, verdict, standing, run)
            record = record_of(
                settings, validated, rows, encoded, trained, result, settled, standing, run
            )
            entry = entry_of(settings, settled, standing, snapshot, run)
            page = report(settings, record, entry, run)
        return attempt.ended(Outcome.of(record, entry, page))
