"""The nightly flow: take the rows, check them, learn, measure, decide, register, report."""

from datetime import date

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.outcome import Outcome, record_of, skipped
from flows.parameters import ConfigPath, refuse_strange_paths
from flows.tracked import due_date, only_run_of, run_name, tracked_run
from pipeline_lib.config import Overrides, load_config
from pipeline_lib.evaluation.journal import last_decision
from pipeline_lib.storage import in_project, project_of
from tasks.decide import decide
from tasks.encode import encode
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.register import register
from tasks.report import report
from tasks.split import split
from tasks.train import train
from tasks.validate import validate


@flow(name="retrain", flow_run_name=run_name)
def retrain(
    config: ConfigPath = "configs/car_evaluation.yaml",
    overrides: Overrides = Overrides(),  # noqa: B008 - frozen
    assignments: tuple[str, ...] = (),
    force: bool = False,
    run_date: date | None = None,
    resume: bool = True,
) -> State[Outcome]:
    """Retrain a dataset's model, and promote it if it is not worse than the one in use.

    The flow run ends as Promoted, Kept, Rejected or Skipped; all of these are Completed.

    Args:
        config: the dataset's YAML file.
        overrides: values that this run sets differently.
        assignments: any other value of the config, as `training.batch_size=32`.
        force: train even if rows and config are those of the last decision.
        run_date: the night's date, for sources with a file per day or a query by date; the day
            on which the run was due (UTC) without it.
        resume: go on with an interrupted training of the same rows, config and code.
    """
    refuse_strange_paths(config, assignments)
    settings = load_config(config, overrides, assignments=assignments)
    with in_project(project_of(config)), only_run_of(settings.name):
        today = run_date or due_date()
        snapshot = ingest(settings, today)
        past = last_decision(
            settings.name, data_digest=snapshot.digest, config_digest=settings.digest()
        )
        if past is not None and not force:
            return _ended(skipped(past))
        validated = validate(settings, snapshot, today)
        rows = split(settings, validated.rows)
        encoded = encode(settings, rows, today)
        with tracked_run(settings, snapshot) as run:
            trained = train(settings, rows, encoded, run, resume)
            result = evaluate(settings, rows, encoded, trained, run)
            verdict = decide(settings, rows, result, run)
            version = register(settings, rows, trained, verdict.decision, run)
            record = record_of(
                settings, validated, rows, encoded, trained, result, verdict, version, run
            )
            page = report(settings, record, run)
    return _ended(Outcome.of(record, page, run))


def _ended(outcome: Outcome) -> State[Outcome]:
    return Completed(name=outcome.decision.capitalize(), message=outcome.reason, data=outcome)
