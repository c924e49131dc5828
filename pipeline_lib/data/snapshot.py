"""The rows of one night, immutable, named by their content."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline_lib.storage import believed, dataset_folder, digest_json, publish

_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Snapshot:
    """Where a night's rows lie; `digest` is over their content, order included."""

    folder: Path
    digest: str
    n_rows: int
    source: str

    def read(self) -> pa.Table:
        """Return all rows."""
        return pq.read_table(self.folder / "rows.parquet")


def take_snapshot(name: str, table: pa.Table, *, source: str) -> Snapshot:
    """Keep the rows under `datasets/<name>/snapshots/<digest>/`; once, however often it is called.

    Raises:
        StorageError: the place cannot be written.
    """
    digest = content_digest(table)
    folder = dataset_folder(name) / "snapshots" / digest[:16]
    snapshot = Snapshot(folder, digest, table.num_rows, source)
    manifest = believed(folder)
    if manifest is None or manifest["digest"] != digest:
        facts = {
            "digest": digest,
            "n_rows": table.num_rows,
            "columns": {field.name: str(field.type) for field in table.schema},
            "source": source,
        }
        with publish(folder, facts) as scratch:
            pq.write_table(table, scratch / "rows.parquet", compression="zstd")
    return snapshot


def content_digest(table: pa.Table) -> str:
    """Return one sha256 over names, types and every value, row order included.

    How the table is chunked, sliced or dictionary-encoded does not count; what stands behind a
    null does not either.
    """
    columns = [
        {"name": field.name, "type": str(_plain_type(field.type)), "digest": _digest(column)}
        for field, column in zip(table.schema, table.columns, strict=True)
    ]
    return digest_json({"n_rows": table.num_rows, "columns": columns})


def _plain_type(arrow_type: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(arrow_type):
        arrow_type = arrow_type.value_type
    return pa.string() if pa.types.is_large_string(arrow_type) else arrow_type


def _digest(column: pa.ChunkedArray) -> str:
    plain = _plain_type(column.type)
    digest = hashlib.sha256()
    for start in range(0, len(column), _BLOCK_ROWS):
        block = column.slice(start, _BLOCK_ROWS).cast(plain).combine_chunks()
        digest.update(np.packbits(pc.is_valid(block).to_numpy(zero_copy_only=False)).tobytes())
        if pa.types.is_integer(plain) or pa.types.is_floating(plain):
            digest.update(block.fill_null(0).to_numpy(zero_copy_only=False).tobytes())
            continue
        words = _as_text(block).fill_null("")
        digest.update(pc.binary_length(words).to_numpy(zero_copy_only=False).tobytes())
        digest.update("".join(words.to_pylist()).encode())
    return digest.hexdigest()


def _as_text(block: pa.Array) -> pa.Array:
    """Return each value as text; nested and binary ones, which Arrow cannot cast, as Python's."""
    try:
        return block.cast(pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        return pa.array([None if v is None else repr(v) for v in block.to_pylist()], pa.string())
