"""A table that lies in memory, from its raw rows to a fitted model."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import contract_checker
from pipeline_lib.data.sources.tabular import TableLike, as_table
from pipeline_lib.data.splits.assign import assign_splits
from pipeline_lib.data.splits.split_rows import split_columns, typed_to_split
from pipeline_lib.data.values.casts import read_columns
from pipeline_lib.encoding import EncodedSplit, Encoder, NumberTarget, RowWeights, fit_target
from pipeline_lib.encoding.weights import counting
from pipeline_lib.errors import UsageError
from pipeline_lib.fitting.session import TrainingSession
from pipeline_lib.fitting.target_scale import scaled_in_memory
from pipeline_lib.models import ModelKind
from pipeline_lib.serving import FittedModel

_logger = logging.getLogger(__name__)


def fit(
    config: PipelineConfig,
    rows: TableLike,
    *,
    champion: FittedModel | None = None,
    kind: ModelKind | None = None,
) -> FittedModel:
    """Train a model on a table: check, split, encode, learn; the test rows stay untouched.

    Args:
        config: as `load_config` gives it; its `data.source` is not read.
        rows: raw, with features, target and, if there is one, the weight: a pandas DataFrame, a
            pyarrow Table, a list of dicts, or a dict of columns.
        champion: gives the first weights where they fit, as `training.start_from: champion` has
            it; without one they are fresh, whatever `start_from` says.
        kind: a kind of model of your own, in place of the one that `config.model` asks for.

    Raises:
        UsageError: `config` or `rows` have another form.
        DataError: the rows break the contract.
        TrainingError: the loss is not finite, or there are too few rows.
        DeviceError: the device asked for is not there.
    """
    if not isinstance(config, PipelineConfig):  # pyright: ignore[reportUnnecessaryIsInstance]
        kind = type(config).__name__
        raise UsageError(f"`config` is of type {kind}; make one with load_config(PATH)")
    table = as_table(rows, source="the table", features=config.columns)
    checker = contract_checker(config, source="the table")
    checker.check(table)
    report = checker.finish(lambda: [table])
    for note in report.zone_notes:
        _logger.warning(note)
    kept = report.kept(table, 0)
    typed = typed_to_split(kept, config)
    session = start_on_rows(
        config, typed, champion=champion, zones=report.zones, raw=kept, kind=kind
    )
    for _ in session.epochs():
        pass
    for note in session.notes_after():
        _logger.warning(note)
    return session.fitted()


def start_on_rows(
    config: PipelineConfig,
    rows: pa.Table,
    *,
    champion: FittedModel | None = None,
    zones: Mapping[str, str] | None = None,
    raw: pa.Table | None = None,
    kind: ModelKind | None = None,
) -> TrainingSession:
    """Split, encode and start a training; arguments as in `fit`, rows typed by the contract.

    Args:
        config: of the dataset.
        rows: features, target and, if there is one, the weight.
        champion: gives the first weights where they fit, and its categories keep their codes.
        zones: the time zones of columns of times that have one.
        raw: the same rows as they came, where values have types; without them all words count
            as text.
        kind: as in `fit`.
    """
    column, known = config.data.target, champion.encoder.known if champion else {}
    spelled = rows
    if raw is not None and known:
        # Rows are split without the champion's spelling: they stay where they are.
        features = read_columns(raw, config.columns, known=known)
        for name in features.column_names:
            spelled = spelled.set_column(rows.column_names.index(name), name, features[name])
    masks, weight = _masks(rows, config, zones), config.data.weight
    train, val = (counting(spelled.filter(pa.array(mask)), weight) for mask in masks[:2])
    today = datetime.now(UTC).date().isoformat()
    ledger = champion.encoder.vocabularies if champion else None
    encoder = Encoder.fit(
        train,
        config.columns,
        today=today,
        encoding=config.encoding,
        ledger=ledger,
        zones=zones,
    )
    field = None if raw is None else raw.schema.field(column)
    every = counting(rows, weight)[column]
    target = fit_target(config.data, train[column], every, raw=field)
    if isinstance(target, NumberTarget) and config.data.target_scale != "linear":
        target = scaled_in_memory(config.data, target, encoder, train, val)
    weights = None if weight is None else RowWeights.fit(weight, train)
    splits = [EncodedSplit.of(part, encoder, target, weights) for part in (train, val)]
    return TrainingSession.start(config, encoder, target, *splits, champion=champion, kind=kind)


def split_rows(
    rows: pa.Table, config: PipelineConfig, zones: Mapping[str, str] | None = None
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the typed rows of train, val and test; `zones` as in `start_on_rows`."""
    train, val, test = (rows.filter(pa.array(mask)) for mask in _masks(rows, config, zones))
    return train, val, test


def _masks(
    rows: pa.Table, config: PipelineConfig, zones: Mapping[str, str] | None
) -> list[npt.NDArray[np.bool_]]:
    zone = (zones or {}).get(config.data.time or "")
    by = split_columns(config)
    assigned = assign_splits(rows, by, config.split, data=config.data, zone=zone)
    return [assigned == number for number in range(3)]
