"""Take the rows of the night."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.snapshot import Snapshot, take_snapshot
from pipeline_lib.data.sources import read_source, source_name
from pipeline_lib.data.stream import RowStream


@task(cache_policy=NO_CACHE)
def ingest(config: PipelineConfig) -> Snapshot:
    """Read the source and keep its rows as a snapshot."""
    source = config.data.source
    stream = RowStream.of(
        read_source(source, root=config.root), source=source_name(source, root=config.root)
    )
    snapshot = take_snapshot(config.name, stream)
    get_run_logger().info(
        "ingest    %s rows from %s, snapshot %s",
        f"{snapshot.n_rows:,}",
        snapshot.source,
        snapshot.digest[:12],
    )
    return snapshot
