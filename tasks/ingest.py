"""Take the rows of the run's date."""

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import named_columns
from pipeline_lib.data.snapshots.snapshot import Snapshot, take_snapshot
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.evaluation.journal import last_end
from pipeline_lib.home import Home
from pipeline_lib.monitoring.history import read_last_night
from pipeline_lib.storage.digests import code_digest, digest_json
from pipeline_lib.wording import examples


@task(cache_policy=NO_CACHE)
def ingest(config: PipelineConfig, home: Home, run_date: date) -> Snapshot:
    """Read the source and keep its rows as a snapshot."""
    source, logger = config.data.source, get_run_logger()
    dataset = home.dataset(config.name)
    needed = named_columns(config)
    stream = open_source(source, root=config.root, run_date=run_date, needed=needed, home=home)
    if stream.left_out:
        columns = examples(stream.left_out)
        logger.warning("ingest    columns of lists, structs or maps are not read: %s", columns)
    reading = digest_json([source.model_dump(mode="json"), code_digest()])
    last = read_last_night(dataset)
    snapshot = take_snapshot(dataset, stream, reading=reading, last=last)
    if last is not None and not last_end(dataset, snapshot.digest):
        snapshot = last.going_on(snapshot)
    logger.info(
        "ingest    %s rows from %s, snapshot %s",
        f"{snapshot.n_rows:,}",
        snapshot.source,
        snapshot.digest[:12],
    )
    for news in snapshot.news:
        logger.info("ingest    %s", news)
    return snapshot
