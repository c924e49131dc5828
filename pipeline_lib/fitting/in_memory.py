"""A table that lies in memory, from its raw rows to a fitted model."""

from datetime import UTC, datetime

import pyarrow as pa

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.checked import contract_checker
from pipeline_lib.data.prepared import split_columns, typed_to_split
from pipeline_lib.data.splits import assign_splits
from pipeline_lib.data.tabular import Rows, as_table
from pipeline_lib.encoding import EncodedSplit, Encoder, fit_target
from pipeline_lib.errors import UsageError
from pipeline_lib.fitting.session import TrainingSession
from pipeline_lib.serving import FittedModel


def fit(config: PipelineConfig, rows: Rows, *, champion: FittedModel | None = None) -> FittedModel:
    """Train a model on a table: check, split, encode, learn; the test rows stay untouched.

    Args:
        config: as `load_config` gives it; its `data.source` is not read.
        rows: raw, with features and target: a pandas DataFrame, a pyarrow Table, a list of dicts,
            or a dict of columns.
        champion: gives the first weights where they fit, as `training.start_from: champion` has
            it; without one they are fresh, whatever `start_from` says.

    Raises:
        UsageError: `config` or `rows` have another form.
        DataError: the rows break the contract.
        TrainingError: the loss is not finite, or there are too few rows.
        DeviceError: the device asked for is not there.
    """
    if not isinstance(config, PipelineConfig):  # pyright: ignore[reportUnnecessaryIsInstance]
        kind = type(config).__name__
        raise UsageError(f"`config` is of type {kind}; make one with load_config(PATH)")
    table = as_table(rows, source="the table")
    checker = contract_checker(config, source="the table")
    checker.check(table)
    kept = checker.finish(lambda: [table]).kept(table, 0)
    session = start_on_rows(config, typed_to_split(kept, config), champion=champion)
    for _ in session.epochs():
        pass
    return session.fitted()


def start_on_rows(
    config: PipelineConfig, rows: pa.Table, *, champion: FittedModel | None = None
) -> TrainingSession:
    """Split, encode and start a training; arguments as in `fit`, rows typed by the contract.

    Args:
        config: of the dataset.
        rows: features and target.
        champion: gives the first weights where they fit, and its categories keep their codes.
    """
    train, val, _ = split_rows(rows, config)
    today = datetime.now(UTC).date().isoformat()
    ledger = champion.encoder.vocabularies if champion else None
    encoder = Encoder.fit(
        train, config.columns, today=today, encoding=config.encoding, ledger=ledger
    )
    column = config.data.target
    target = fit_target(config.data, train[column], rows[column])
    splits = [EncodedSplit.of(part, encoder, target) for part in (train, val)]
    return TrainingSession.start(config, encoder, target, *splits, champion=champion)


def split_rows(rows: pa.Table, config: PipelineConfig) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the typed rows of train, val and test."""
    assigned = assign_splits(rows, split_columns(config), config.split, data=config.data)
    train, val, test = (rows.filter(pa.array(assigned == number)) for number in range(3))
    return train, val, test
