"""Encode categories and numbers as Parquet."""

from datetime import date

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.splits.split_rows import SplitRows
from pipeline_lib.encoding.encoded_splits import EncodedData, encode_splits
from pipeline_lib.encoding.unranked import unranked_notes
from pipeline_lib.evaluation.journal import last_end
from pipeline_lib.evaluation.standing import Standing


@task(cache_policy=NO_CACHE)
def encode(
    config: PipelineConfig,
    rows: SplitRows,
    run_date: date,
    standing: Standing = Standing(),  # noqa: B008 - frozen
) -> EncodedData:
    """Fit the encoder on the training rows, encode all splits, let the ledger grow.

    An experiment leaves the ledger as it is.
    """
    choose_scale = None
    if config.data.target_scale == "auto":
        from pipeline_lib.fitting.target_scale import choose_scale  # brings torch

    encoded = encode_splits(
        config,
        rows,
        today=run_date.isoformat(),
        grow=not standing.experiment,
        last_ended=last_end(rows.snapshot.dataset, rows.snapshot.digest),
        choose_scale=choose_scale,
    )
    logger = get_run_logger()
    if not encoded.is_new:
        logger.info("encode    %d columns, as an earlier run has encoded them", len(config.columns))
    new = sum(change.new.n for change in encoded.changes)
    if encoded.is_new or new:
        where = "that an experiment keeps out of" if standing.experiment and new else "in"
        logger.info(
            "encode    %d columns, %s new %s %s the ledger",
            len(config.columns),
            f"{new:,}",
            "category" if new == 1 else "categories",
            where,
        )
    if said := encoded.scale_said():
        logger.info("encode    %s is %s", config.data.target, said)
    for note in unranked_notes(encoded.read_encoder()):
        logger.warning("encode    %s", note)
    for change in encoded.changes:
        if change.quiet.n or change.back.n or change.n_rare:
            logger.info("encode    %s: %s", change.column, change)
    return encoded
