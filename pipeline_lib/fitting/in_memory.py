"""A table that lies in memory, from its raw rows to a fitted model."""

from datetime import UTC, datetime

import pyarrow as pa

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.checked import contract_checker
from pipeline_lib.data.prepared import split_columns, typed_to_split
from pipeline_lib.data.splits import assign_splits
from pipeline_lib.encoding import EncodedSplit, Encoder, fit_target
from pipeline_lib.fitting.session import TrainingSession
from pipeline_lib.serving import FittedModel


def fit(config: PipelineConfig, table: pa.Table) -> FittedModel:
    """Train a model on a table: check, split, encode, learn; the test rows stay untouched.

    Args:
        config: as `load_config` gives it; its `data.source` is not read.
        table: raw rows with features and target.

    Raises:
        DataError: the rows break the contract.
        TrainingError: the loss is not finite, or there are too few rows.
        DeviceError: the device asked for is not there.
    """
    checker = contract_checker(config, source="the table")
    checker.check(table)
    kept = checker.finish(lambda: [table]).kept(table, 0)
    rows = typed_to_split(kept, config)
    train, val, _ = split_rows(rows, config)
    today = datetime.now(UTC).date().isoformat()
    encoder = Encoder.fit(train, config.columns, today=today, encoding=config.encoding)
    column = config.data.target
    target = fit_target(config.data, train[column], rows[column])
    session = TrainingSession.start(
        config,
        encoder,
        target,
        EncodedSplit.of(train, encoder, target),
        EncodedSplit.of(val, encoder, target),
    )
    for _ in session.epochs():
        pass
    return session.fitted()


def split_rows(rows: pa.Table, config: PipelineConfig) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the typed rows of train, val and test."""
    assigned = assign_splits(rows, split_columns(config), config.split, data=config.data)
    train, val, test = (rows.filter(pa.array(assigned == number)) for number in range(3))
    return train, val, test
