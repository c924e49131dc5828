"""Parquet files that are damaged late, lie in their footer, or differ from their neighbors."""

import itertools
import struct
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.config.sources import ParquetFile
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.errors import SourceError

_N_ROWS = 12_345
# Reads a file again and again, each time with another byte of its footer flipped.
_FLIP_EACH = """
import sys
from pathlib import Path
from pipeline_lib.config.sources import ParquetFile
from pipeline_lib.errors import SourceError
from tests.unit.data.in_memory import read_source

folder = Path(sys.argv[1])
good = (folder / "good.parquet").read_bytes()
footer_bytes = int.from_bytes(good[-8:-4], "little")
n_read = n_refused = 0
for position in range(len(good) - 8 - footer_bytes, len(good) - 8):
    for flip in (1, 255):
        damaged = bytearray(good)
        damaged[position] ^= flip
        (folder / "bad.parquet").write_bytes(damaged)
        try:
            read_source(ParquetFile(path="bad.parquet"), root=folder)
            n_read += 1
        except SourceError:
            n_refused += 1
print(n_read, n_refused)
"""


def _open(folder: Path, path: str = "*.parquet") -> RowStream:
    return open_source(ParquetFile(path=path), root=folder, run_date=date(2026, 5, 1))


def _refused(folder: Path) -> str:
    with pytest.raises(SourceError) as raised:
        _open(folder).read()
    return str(raised.value)


def _write(folder: Path, **columns: object) -> None:
    """Write a.parquet, b.parquet, … with one column `x` each, as the keywords say."""
    for name, values in columns.items():
        table = values if isinstance(values, pa.Table) else pa.table({"x": values})
        pq.write_table(table, folder / f"{name}.parquet")


def test_a_huge_row_group_comes_in_small_batches(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).permutation(300_000)
    pq.write_table(pa.table({"x": numbers}), tmp_path / "a.parquet", row_group_size=300_000)

    batches = list(_open(tmp_path).batches())

    assert [batch.num_rows for batch in batches] == [131_072, 131_072, 37_856]
    assert np.array_equal(np.concatenate([batch["x"].to_numpy() for batch in batches]), numbers)


def test_damage_in_a_late_row_group_is_told_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"x": list(range(40_000))})
    pq.write_table(
        table,
        path,
        row_group_size=10_000,
        write_page_checksum=True,
        compression="none",
        use_dictionary=False,
    )
    start = pq.read_metadata(path).row_group(2).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start + 40_000] ^= 0xFF
    path.write_bytes(data)

    batches = _open(tmp_path).batches()

    assert [batch.num_rows for batch in itertools.islice(batches, 2)] == [10_000, 10_000]
    with pytest.raises(SourceError, match=r"a\.parquet: row group 2: .*CRC"):
        next(batches)


def _varint(number: int) -> bytes:
    """Return a number as the footer has it: zigzag, seven bits a byte."""
    number, out = number << 1, b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


@pytest.mark.parametrize("told", [_N_ROWS - 5, _N_ROWS + 5, 16_000])
@pytest.mark.parametrize("place", ["file", "row group", "both"])
def test_a_footer_that_lies_about_its_rows_is_refused(
    tmp_path: Path, place: str, told: int
) -> None:
    _write(tmp_path, a=list(range(_N_ROWS)))
    path = tmp_path / "a.parquet"
    data, true, false = path.read_bytes(), _varint(_N_ROWS), _varint(told)
    (size,) = struct.unpack("<I", data[-8:-4])
    body, footer, end = data[: -8 - size], data[-8 - size : -8], data[-8:]
    first, last = footer.index(true), footer.rindex(true)
    if place != "file":
        footer = footer[:last] + false + footer[last + len(true) :]
    if place != "row group":
        footer = footer[:first] + false + footer[first + len(true) :]
    path.write_bytes(body + footer + end)

    assert f"a.parquet: {'' if place == 'file' else 'row group 0: '}its footer says" in _refused(
        tmp_path
    )


def test_text_that_is_no_utf8_is_told_with_its_row_group(tmp_path: Path) -> None:
    offsets, content = struct.pack("<3i", 0, 1, 2), b"a\xff"
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    )
    _write(tmp_path, a=broken)

    assert "a.parquet: row group 0: " in _refused(tmp_path)


def test_a_file_that_declares_more_than_it_can_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_lib.data.sources.parquet_files._MAX_UNPACKED_BYTES", 100_000)
    monkeypatch.setattr("pipeline_lib.data.sources.parquet_files._MAX_RATIO", 10)
    table = pa.table({"x": ["same"] * 100_000})

    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=False)

    assert "unpacked; it is damaged or made to fill the memory" in _refused(tmp_path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"a,b\n1,2\n", "it does not begin with PAR1"),
        (b"PK\x03\x04rest", "a zip archive or a spreadsheet"),
        (b"\x1f\x8b\x08\0rest", "a gzip archive"),
        (b'{"a": 1}\n', "JSON"),
    ],
)
def test_another_format_is_told_by_its_name(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "a.parquet").write_bytes(content)

    message = _refused(tmp_path)

    assert "a.parquet is not a Parquet file: " in message
    assert what in message


def test_a_name_that_is_no_utf8_is_told(tmp_path: Path) -> None:
    _write(tmp_path, a=pa.table({"xé": [1]}))
    file = tmp_path / "a.parquet"
    file.write_bytes(file.read_bytes().replace("xé".encode(), b"x\xff\xff"))

    assert "a.parquet: " in _refused(tmp_path)


def test_binary_columns_pass_unread_and_nested_ones_are_left_out(tmp_path: Path) -> None:
    table = pa.table({"x": [1, 2], "l": [[1], None], "b": [b"\xff", None], "s": [{"k": 1}] * 2})
    _write(tmp_path, a=table)

    assert _open(tmp_path).read().to_pydict() == table.select(["x", "b"]).to_pydict()


def test_words_behind_a_dictionary_are_plain_words_in_every_batch(tmp_path: Path) -> None:
    table = pa.table({"x": pa.array(["a", "b", None, "c"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    _write(tmp_path, b=["d"])

    stream = _open(tmp_path)

    assert {batch.schema for batch in stream.batches()} == {pa.schema([("x", pa.string())])}
    assert stream.read()["x"].to_pylist() == ["a", "b", None, "c", "d"]


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        (pa.array([1], pa.int32()), pa.array([2**40], pa.int64()), pa.int64()),
        (pa.array([2**40], pa.int64()), pa.array([1], pa.int32()), pa.int64()),
        (pa.array([1], pa.int64()), pa.array([None, 2.0]), pa.float64()),
        (pa.array([0.5], pa.float32()), pa.array([0.1], pa.float64()), pa.float64()),
        (pa.array(["a"]), pa.array(["b"], pa.large_string()), pa.large_string()),
        (pa.nulls(2), pa.array(["b"]), pa.string()),
        (
            pa.array([1], pa.timestamp("ms")),
            pa.array([1], pa.timestamp("us")),
            pa.timestamp("us"),
        ),
    ],
    ids=str,
)
def test_types_that_one_type_can_hold_become_that_type(
    tmp_path: Path, one: pa.Array, other: pa.Array, common: pa.DataType
) -> None:
    _write(tmp_path, a=one, b=other)

    table = _open(tmp_path).read()

    assert table.schema.field("x").type == common
    assert table["x"].to_pylist() == one.to_pylist() + other.to_pylist()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1]), pa.array(["1"])),
        (pa.array([True]), pa.array([1])),
        (pa.array(["a"]), pa.array([b"a"])),
        (pa.array([0.5]), pa.array([1], pa.decimal128(5, 2))),
        (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("us", "UTC"))),
        (pa.array([1], pa.date32()), pa.array([1], pa.timestamp("us"))),
    ],
    ids=lambda array: str(array.type),
)
def test_types_that_no_type_can_hold_are_refused_with_both_files(
    tmp_path: Path, one: pa.Array, other: pa.Array
) -> None:
    _write(tmp_path, a=one, b=other)

    message = _refused(tmp_path)

    assert message.startswith(f"{tmp_path}/b.parquet: column 'x' is of type {other.type}")
    assert f"in {tmp_path}/a.parquet of type {one.type}" in message


def test_a_number_that_the_common_type_cannot_hold_is_told_with_row_group_and_column(
    tmp_path: Path,
) -> None:
    _write(tmp_path, a=[0.5], b=[2**53 + 1])

    assert "b.parquet: row group 0: column 'x': " in _refused(tmp_path)


@pytest.mark.parametrize(
    ("values", "plain"),
    [
        (pa.array(["a", None], pa.string_view()), pa.string()),
        (pa.array([Decimal("1.5"), None], pa.decimal32(5, 1)), pa.decimal128(5, 1)),
        (pa.array([b"a", None], pa.binary_view()), pa.binary()),
    ],
    ids=lambda value: str(value) if isinstance(value, pa.DataType) else "",
)
def test_values_come_in_types_that_everything_after_can_read(
    tmp_path: Path, values: pa.Array, plain: pa.DataType
) -> None:
    _write(tmp_path, a=values)

    column = _open(tmp_path).read()["x"]

    assert column.type == plain
    assert column.to_pylist() == values.to_pylist()


@pytest.mark.parametrize("zone", ["America/New_York", "+05:30", "Mars/Phobos"])
def test_an_instant_is_the_same_in_whatever_zone_its_file_shows_it(
    tmp_path: Path, zone: str
) -> None:
    instants = pa.array([0, 86_400_000_000], pa.int64())
    _write(
        tmp_path,
        a=instants.view(pa.timestamp("us", zone)),
        b=instants.view(pa.timestamp("us", "UTC")),
    )

    column = _open(tmp_path).read()["x"]

    assert column.type == pa.timestamp("us", "UTC")
    assert column.cast(pa.int64()).to_pylist() == instants.to_pylist() * 2


def test_times_in_96_bits_keep_their_year(tmp_path: Path) -> None:
    written = ["9999-12-31 23:59:00", "0001-01-01 00:00:00", "2026-05-01 08:30:00"]
    times = pa.array(written).cast(pa.timestamp("us"))
    pq.write_table(
        pa.table({"x": times}), tmp_path / "a.parquet", use_deprecated_int96_timestamps=True
    )

    assert _open(tmp_path).read()["x"].combine_chunks().equals(times)


def test_a_file_without_columns_is_refused_as_such(tmp_path: Path) -> None:
    pq.write_table(pa.table({}), tmp_path / "a.parquet")

    assert "a.parquet has no columns" in _refused(tmp_path)


def test_columns_may_stand_in_another_order(tmp_path: Path) -> None:
    _write(tmp_path, a=pa.table({"x": [1], "y": ["a"]}), b=pa.table({"y": ["b"], "x": [2]}))

    assert _open(tmp_path).read().to_pydict() == {"x": [1, 2], "y": ["a", "b"]}


def test_other_columns_are_refused_with_what_is_missing_and_what_is_more(tmp_path: Path) -> None:
    _write(tmp_path, a=pa.table({"x": [1], "y": [1]}), b=pa.table({"x": [1], "z": [1]}))

    message = _refused(tmp_path)

    assert message.startswith(f"{tmp_path}/b.parquet: other columns than {tmp_path}/a.parquet")
    assert "it lacks 'y' and has 'z' more" in message


def test_a_file_without_rows_beside_others_is_fine(tmp_path: Path) -> None:
    _write(tmp_path, a=pa.array([], pa.int64()), b=[1])

    assert _open(tmp_path).read()["x"].to_pylist() == [1]


def test_what_pandas_writes_into_a_schema_is_no_part_of_it(tmp_path: Path) -> None:
    _write(tmp_path, a=pa.table({"x": [1]}).replace_schema_metadata({"pandas": "{}"}), b=[2])

    stream = _open(tmp_path)

    assert stream.schema.metadata is None
    assert all(
        batch.schema.equals(stream.schema, check_metadata=True) for batch in stream.batches()
    )


def test_no_flipped_byte_of_a_footer_ends_the_process(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array([None, "x", "y"]), "b": pa.array([[1], [2], []])})
    pq.write_table(table, tmp_path / "good.parquet")

    # In a process of its own: what ends it cannot be caught.
    ended = subprocess.run(
        [sys.executable, "-c", _FLIP_EACH, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    n_read, n_refused = map(int, ended.stdout.split())
    assert n_read > 100
    assert n_refused > 100
