"""Decide whether a run may change the dataset's champion, or is an experiment."""

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.evaluation.standing import Standing
from pipeline_lib.home import Home


@task(cache_policy=NO_CACHE)
def identify(
    config: PipelineConfig,
    home: Home,
    plain: PipelineConfig | None,
    run_date: date,
    promote: bool = False,
    experiment: bool = False,
) -> Standing:
    """Return the run's standing; `plain` is its config without the run's own values."""
    from pipeline_lib.tracking.champions import standing_of
    from pipeline_lib.tracking.store import connect
    from pipeline_lib.tracking.unrecorded import record_late

    client = connect(home)
    record_late(client, config.name)
    standing = standing_of(
        client, config, plain, run_date=run_date, promote=promote, experiment=experiment
    )
    for note in standing.notes:
        get_run_logger().warning("identify  %s", note)
    return standing
