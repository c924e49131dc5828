"""Encoded splits on disk: narrow, compressed, and of one encoder."""

import itertools
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_lib.config.columns import CategoryColumn, Column, NumberColumn
from pipeline_lib.encoding import (
    ClassTarget,
    EncodedSplit,
    Encoder,
    NumberTarget,
    Target,
    read_split,
    tensors,
)
from pipeline_lib.encoding.tensors import SplitFile, SplitWriter
from pipeline_lib.errors import StorageError
from tests.unit.encoding.in_memory import write_split


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


def _ordered(n_rows: int) -> tuple[Encoder, Target, EncodedSplit]:
    """Return a split whose rows are told apart by their label, and by their float."""
    rows = _rows(n_rows, 3)
    encoder = Encoder.fit(rows, COLUMNS, today="2026-01-01")
    target = NumberTarget("y", 0.0, 1.0)
    split = EncodedSplit.of(rows, encoder, target)
    return encoder, target, replace(split, y=np.arange(n_rows, dtype=np.float32))


def _write_groups(path: Path, sizes: Sequence[int]) -> tuple[Encoder, EncodedSplit]:
    """Write row groups of any sizes, as no `SplitWriter` would."""
    encoder, target, split = _ordered(max(sum(sizes), 1))
    with SplitWriter(path, encoder, target) as writer:
        writer.write(_columns(split.slice(0, 0)))
    schema, start = pq.read_schema(path), 0
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        for size in sizes:
            part = _columns(split.slice(start, start + size))
            arrays = [
                pa.array(column).cast(field.type)
                for column, field in zip(part, schema, strict=True)
            ]
            file.write_table(pa.table(arrays, schema))
            start += size
    return encoder, split.slice(0, sum(sizes))


def _columns(split: EncodedSplit) -> list[np.ndarray]:
    return [*split.x_cat.T, *split.x_num.T, split.y]


def _order(batches: Iterable[EncodedSplit]) -> list[int]:
    return [int(label) for batch in batches for label in batch.y]


def _group_sizes(path: Path) -> list[int]:
    metadata = pq.read_metadata(path)
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


@given(st.lists(st.integers(0, 25), max_size=12))
def test_row_groups_are_full_but_the_last_however_many_rows_come_at_a_time(
    tmp_path: Path, sizes: list[int]
) -> None:
    n_rows, start = sum(sizes), 0
    encoder, target, split = _ordered(max(n_rows, 1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "ROW_GROUP_ROWS", 8)
        with SplitWriter(tmp_path / "x.parquet", encoder, target) as writer:
            for size in sizes:
                writer.write(_columns(split.slice(start, start + size)))
                start += size

    full, rest = divmod(n_rows, 8)
    assert _group_sizes(tmp_path / "x.parquet") == [8] * full + ([rest] if rest else [])
    assert _order([read_split(tmp_path / "x.parquet", encoder)]) == list(range(n_rows))


def test_a_writer_that_is_left_by_an_error_writes_no_more(tmp_path: Path) -> None:
    encoder, target, split = _ordered(20)

    def write() -> None:
        with SplitWriter(tmp_path / "x.parquet", encoder, target) as writer:
            writer.write(_columns(split))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()

    assert _group_sizes(tmp_path / "x.parquet") == []


@pytest.mark.parametrize("n_bytes", [0, 4, 100, -1, -8, -500])
def test_a_split_that_was_cut_is_refused(tmp_path: Path, n_bytes: int) -> None:
    encoder, target, split = _ordered(1000)
    write_split(tmp_path / "x.parquet", split, encoder, target)
    data = (tmp_path / "x.parquet").read_bytes()

    (tmp_path / "x.parquet").write_bytes(data[:n_bytes])

    with pytest.raises(StorageError, match="encode again"):
        read_split(tmp_path / "x.parquet", encoder)


@given(st.data())
@settings(max_examples=300)
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path, data: st.DataObject) -> None:
    encoder, target, split = _ordered(400)
    path = tmp_path / "x.parquet"
    write_split(path, split, encoder, target)
    damaged = bytearray(path.read_bytes())
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)

    message, read = "", split
    try:
        read = read_split(path, encoder)
    except StorageError as error:
        message = str(error)

    assert message == "" or "encode again" in message
    for ours, theirs in zip(_columns(split), _columns(read), strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.tobytes() == theirs.tobytes()


def test_no_flipped_bit_of_the_footer_gives_other_rows(tmp_path: Path) -> None:
    # Page checksums do not cover it; few of its bits do harm, so all of them are flipped.
    encoder, target, split = _ordered(20)
    path = tmp_path / "x.parquet"
    write_split(path, split, encoder, target)
    whole, expected = path.read_bytes(), [column.tobytes() for column in _columns(split)]
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")

    for place, bit in itertools.product(range(start, len(whole)), range(8)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        with suppress(StorageError):
            read = read_split(path, encoder)
            assert [column.tobytes() for column in _columns(read)] == expected, (place, bit)


def test_row_groups_come_in_the_order_asked_for_and_as_often(tmp_path: Path) -> None:
    encoder, _ = _write_groups(tmp_path / "x.parquet", [2, 3, 1])

    file = SplitFile(tmp_path / "x.parquet", encoder)

    assert file.read([2, 0, 2]).y.tolist() == [5.0, 0.0, 1.0, 5.0]
    assert (file.n_rows, file.n_groups) == (6, 3)


def test_row_groups_fill_arrays_that_are_there_and_leave_the_rest_alone(tmp_path: Path) -> None:
    encoder, _ = _write_groups(tmp_path / "x.parquet", [2, 3, 1])
    file = SplitFile(tmp_path / "x.parquet", encoder)
    room = file.room(5)
    room.y[:] = -1.0

    read = file.read([1, 2], room)

    assert read.y.tolist() == [2.0, 3.0, 4.0, 5.0]
    assert room.y.tolist() == [2.0, 3.0, 4.0, 5.0, -1.0]


def test_a_file_goes_by_row_group_by_row_group_whole_or_its_target_alone(tmp_path: Path) -> None:
    encoder, _ = _write_groups(tmp_path / "x.parquet", [2, 3, 1])
    file = SplitFile(tmp_path / "x.parquet", encoder)

    groups, labels = [rows.y for rows in file.in_groups()], list(file.labels())

    assert [y.tolist() for y in groups] == [[0.0, 1.0], [2.0, 3.0, 4.0], [5.0]]
    assert [y.tolist() for y in labels] == [y.tolist() for y in groups]


@pytest.mark.parametrize("name", ["..", "cat:x", "y", "num:0", "a/b", "é", "a.b"])
def test_columns_may_be_called_as_the_files_own(tmp_path: Path, name: str) -> None:
    rows = _rows(50, 3).rename_columns(["few", name, "size", "label"])
    columns: dict[str, Column] = {
        name: CategoryColumn(),
        "few": CategoryColumn(),
        "size": NumberColumn(),
    }
    encoder = Encoder.fit(rows, columns, today="2026-01-01")
    target = ClassTarget("label", ("w000000", "w000001", "w000002"))
    split = EncodedSplit.of(rows, encoder, target)

    write_split(tmp_path / "x.parquet", split, encoder, target)
    encoder.save(tmp_path)

    read = read_split(tmp_path / "x.parquet", Encoder.load(tmp_path))
    assert [c.tobytes() for c in _columns(read)] == [c.tobytes() for c in _columns(split)]
