"""Rows on their way to the encoder: checked, then split.

The split files hold the rows as they came, all columns of the source: each model that is asked
about them, tonight's or the champion, types them by its own contract.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract import check_rows, typed_rows
from pipeline_lib.data.snapshot import Snapshot
from pipeline_lib.data.splits import SPLITS, SplitName, assign_splits
from pipeline_lib.storage import believed, code_digest, dataset_folder, digest_json, publish


@dataclass(frozen=True)
class CheckedRows:
    """A snapshot that keeps the contract."""

    snapshot: Snapshot
    n_rows: int


@dataclass(frozen=True)
class SplitRows:
    """Rows as they came, one file per split; `rule` tells how the snapshot was split."""

    folder: Path
    digest: str
    snapshot_digest: str
    rule: str
    n_rows: dict[SplitName, int]

    def read(self, split: SplitName) -> pa.Table:
        """Return the rows of a split, all columns, untyped."""
        return pq.read_table(self.folder / f"{split}.parquet")

    def read_typed(self, split: SplitName, config: PipelineConfig) -> pa.Table:
        """Return features, target and key of a split, with their declared types."""
        return typed_rows(self.read(split), config.columns, config.data, source=f"{split} rows")


def check_snapshot(config: PipelineConfig, snapshot: Snapshot) -> CheckedRows:
    """Hold a snapshot against the contract.

    Raises:
        DataError: see `data.contract.check_rows`.
    """
    rows = check_rows(
        snapshot.read(), config.columns, config.data, config.validation, source=snapshot.source
    )
    return CheckedRows(snapshot, rows.num_rows)


def split_columns(config: PipelineConfig) -> list[str]:
    """Return the columns that decide a row's split: its key, else its features."""
    return list(config.data.key) or list(config.columns)


def split_checked(config: PipelineConfig, checked: CheckedRows) -> SplitRows:
    """Write the rows of each split to a file of its own.

    Raises:
        ContractError: a split is empty, or rows have no time to be split by.
    """
    by, snapshot = split_columns(config), checked.snapshot
    rule = digest_json([by, config.split.model_dump(mode="json")])
    typing = {name: column.model_dump(mode="json") for name, column in config.columns.items()}
    digest = digest_json([snapshot.digest, rule, typing, code_digest()])
    folder = dataset_folder(config.name) / "splits" / digest[:16]
    if believed(folder) is None:
        rows = snapshot.read()
        typed = typed_rows(rows, config.columns, config.data, source=snapshot.source)
        assigned = assign_splits(typed, by, config.split, data=config.data)
        with publish(folder, {"digest": digest}) as scratch:
            for number, name in enumerate(SPLITS):
                mine = rows.filter(pa.array(np.equal(assigned, number)))
                pq.write_table(mine, scratch / f"{name}.parquet", compression="zstd")
    counts: dict[SplitName, int] = {
        name: pq.read_metadata(folder / f"{name}.parquet").num_rows for name in SPLITS
    }
    return SplitRows(folder, digest, snapshot.digest, rule, counts)
