"""Encoded splits on disk: narrow, compressed, and of one encoder."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.config import CategoryColumn, Column, NumberColumn
from pipeline_lib.encoding import (
    ClassTarget,
    EncodedSplit,
    Encoder,
    NumberTarget,
    Target,
    read_split,
    write_split,
)
from pipeline_lib.errors import StorageError


def _rows(n_rows: int, n_words: int) -> pa.Table:
    words = [f"w{i % n_words:06}" for i in range(n_rows)]
    return pa.table(
        {
            "few": pa.array(["a", "b"] * (n_rows // 2) + ["a"] * (n_rows % 2)),
            "many": pa.array(words),
            "y": pa.array(np.linspace(-1.0, 1.0, n_rows)),
            "label": pa.array(words),
        }
    )


COLUMNS: dict[str, Column] = {
    "few": CategoryColumn(),
    "many": CategoryColumn(),
    "y": NumberColumn(nullable=True),
}


@pytest.mark.parametrize(
    ("n_words", "arrow_type"),
    [(254, pa.uint8()), (255, pa.uint16()), (65_534, pa.uint16()), (65_535, pa.uint32())],
)
def test_codes_are_kept_in_the_narrowest_type_that_holds_the_highest(
    tmp_path: Path, n_words: int, arrow_type: pa.DataType
) -> None:
    rows = _rows(n_words, n_words)
    encoder = Encoder.fit(rows, COLUMNS, today="2026-01-01")
    target = ClassTarget("label", tuple(sorted(set(rows["label"].to_pylist()))))
    split = EncodedSplit.of(rows, encoder, target)

    write_split(tmp_path / "train.parquet", split, encoder, target)

    schema = pq.read_schema(tmp_path / "train.parquet")
    assert schema.names == ["cat:few", "cat:many", "num:0", "num:1", "y"]
    assert schema.field("cat:few").type == pa.uint8()
    assert schema.field("cat:many").type == arrow_type
    assert schema.field("num:0").type == pa.float32()
    read = read_split(tmp_path / "train.parquet", encoder)
    assert int(read.x_cat.max()) == n_words + 1


@pytest.mark.parametrize(
    "target", [ClassTarget("label", ("w000000", "w000001", "w000002")), NumberTarget("y", 0.1, 0.5)]
)
def test_what_was_written_is_read_to_the_bit(tmp_path: Path, target: Target) -> None:
    rows = _rows(100, 3)
    encoder = Encoder.fit(rows, COLUMNS, today="2026-01-01")
    split = EncodedSplit.of(rows, encoder, target)

    write_split(tmp_path / "test.parquet", split, encoder, target)
    read = read_split(tmp_path / "test.parquet", encoder)

    for name in ("x_cat", "x_num", "y"):
        ours, theirs = getattr(split, name), getattr(read, name)
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()
    assert read.n_rows == 100


def test_a_split_without_rows_is_written_and_read(tmp_path: Path) -> None:
    rows = _rows(10, 3)
    encoder = Encoder.fit(rows, COLUMNS, today="2026-01-01")
    target = ClassTarget("label", ("w000000", "w000001", "w000002"))

    write_split(tmp_path / "x.parquet", EncodedSplit.of(rows[:0], encoder, target), encoder, target)

    read = read_split(tmp_path / "x.parquet", encoder)
    assert (read.x_cat.shape, read.x_num.shape, read.y.shape) == ((0, 2), (0, 2), (0,))
    assert read.y.dtype == np.int64


def test_files_are_zstd_with_row_groups_of_131072_rows_and_the_fingerprint(
    tmp_path: Path,
) -> None:
    rows = _rows(131_073, 3)
    encoder = Encoder.fit(rows, COLUMNS, today="2026-01-01")

    target = NumberTarget("y", 0.0, 1.0)
    split = EncodedSplit.of(rows, encoder, target)
    write_split(tmp_path / "train.parquet", split, encoder, target)

    metadata = pq.read_metadata(tmp_path / "train.parquet")
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [131_072, 1]
    columns = [group.column(i) for group in groups for i in range(metadata.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    kept = pq.read_schema(tmp_path / "train.parquet").metadata
    assert encoder.fingerprint().encode() in kept.values()


def test_a_file_of_another_encoder_is_refused(tmp_path: Path) -> None:
    rows = _rows(10, 3)
    encoder = Encoder.fit(rows, COLUMNS, today="2026-01-01")
    other = Encoder.fit(_rows(10, 4), COLUMNS, today="2026-01-01")
    target = NumberTarget("y", 0.0, 1.0)
    write_split(tmp_path / "x.parquet", EncodedSplit.of(rows, encoder, target), encoder, target)

    with pytest.raises(StorageError, match="encoded by another encoder"):
        read_split(tmp_path / "x.parquet", other)


def test_a_parquet_file_without_a_fingerprint_is_refused(tmp_path: Path) -> None:
    encoder = Encoder.fit(_rows(10, 3), COLUMNS, today="2026-01-01")
    pq.write_table(pa.table({"y": [1]}), tmp_path / "x.parquet")

    with pytest.raises(StorageError, match="encoded by another encoder"):
        read_split(tmp_path / "x.parquet", encoder)
