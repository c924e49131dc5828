"""Rows on their way to the encoder: checked, then split; each step published under its digest."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract import check_rows
from pipeline_lib.data.snapshot import Snapshot
from pipeline_lib.data.splits import SPLITS, SplitName, assign_splits
from pipeline_lib.storage import Json, believed, dataset_folder, digest_json, publish


@dataclass(frozen=True)
class CheckedRows:
    """A snapshot's key, features and target: typed, every rule kept."""

    folder: Path
    digest: str
    n_rows: int


@dataclass(frozen=True)
class SplitRows:
    """Checked rows as one file per split."""

    folder: Path
    digest: str
    n_rows: dict[SplitName, int]

    def read(self, split: SplitName) -> pa.Table:
        """Return the rows of a split."""
        return pq.read_table(self.folder / f"{split}.parquet")


def check_snapshot(config: PipelineConfig, snapshot: Snapshot) -> CheckedRows:
    """Hold a snapshot against the contract and keep the rows that training may see.

    Raises:
        DataError: see `data.contract.check_rows`.
    """
    columns: Json = [[name, c.model_dump(mode="json")] for name, c in config.columns.items()]
    rules: Json = [config.data.model_dump(mode="json"), config.validation.model_dump(mode="json")]
    digest = digest_json([snapshot.digest, columns, rules])
    folder = dataset_folder(config.name) / "checked" / digest[:16]
    manifest = believed(folder)
    if manifest is None:
        rows = check_rows(
            snapshot.read(),
            config.columns,
            config.data,
            config.validation,
            source=snapshot.source,
        )
        manifest = {"digest": digest, "n_rows": rows.num_rows}
        with publish(folder, manifest) as scratch:
            pq.write_table(rows, scratch / "rows.parquet", compression="zstd")
    return CheckedRows(folder, digest, int(str(manifest["n_rows"])))


def split_checked(config: PipelineConfig, checked: CheckedRows) -> SplitRows:
    """Write the rows of each split to a file of its own."""
    by = list(config.data.key) or list(config.columns)
    digest = digest_json([checked.digest, by, config.split.model_dump(mode="json")])
    folder = dataset_folder(config.name) / "splits" / digest[:16]
    if believed(folder) is None:
        rows = pq.read_table(checked.folder / "rows.parquet")
        assigned = assign_splits(rows, by, config.split)
        with publish(folder, {"digest": digest}) as scratch:
            for number, name in enumerate(SPLITS):
                mine = rows.filter(pa.array(np.equal(assigned, number)))
                pq.write_table(mine, scratch / f"{name}.parquet", compression="zstd")
    counts: dict[SplitName, int] = {
        name: pq.read_metadata(folder / f"{name}.parquet").num_rows for name in SPLITS
    }
    return SplitRows(folder, digest, counts)
