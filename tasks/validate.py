"""Hold the rows against the contract."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.checked import CheckedRows, check_snapshot
from pipeline_lib.data.snapshot import Snapshot


@task(cache_policy=NO_CACHE)
def validate(config: PipelineConfig, snapshot: Snapshot) -> CheckedRows:
    """Stop the night if a row or column is not what the config's `columns` say."""
    checked = check_snapshot(config, snapshot)
    get_run_logger().info(
        "validate  all %s rows keep the contract of %d columns",
        f"{checked.n_rows:,}",
        len(config.columns),
    )
    return checked
