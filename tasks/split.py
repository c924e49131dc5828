"""Assign the rows to train, val and test."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import CheckedRows
from pipeline_lib.data.splits.split_rows import SplitRows, split_checked


@task(cache_policy=NO_CACHE)
def split(config: PipelineConfig, checked: CheckedRows) -> SplitRows:
    """Write the rows of train, val and test; a row keeps its split in all runs."""
    rows = split_checked(config, checked)
    counts = ", ".join(f"{name} {n:,}" for name, n in rows.n_rows.items())
    logger = get_run_logger()
    logger.info("split     %s", counts)
    if rows.n_unused:
        logger.info("split     %s rows are in no split", f"{rows.n_unused:,}")
    for warning in rows.warnings:
        logger.warning("split     %s", warning)
    return rows
