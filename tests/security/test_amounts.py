"""Small files and queries that unpack to far more than a machine holds."""

import sqlite3
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.config.sources import CsvFile, ParquetFile, Source, SqlQuery
from pipeline_lib.data.sources import amounts
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.errors import SourceError

PROJECT = Path(__file__).resolve().parents[2]
# In a process that gets no more memory than a few times what a batch may hold.
_READ = """
import resource, sys
from datetime import date
from pathlib import Path
from pipeline_lib.config.sources import ParquetFile
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.errors import SourceError

resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[2]), int(sys.argv[2])))
try:
    stream = open_source(ParquetFile(path=sys.argv[1]), root=Path("/"), run_date=date(2026, 5, 1))
    print(sum(batch.num_rows for batch in stream.batches()))
except SourceError as error:
    print(error)
"""
_MEMORY_BYTES = 1_000_000_000


def _words(word: str | bytes, n_rows: int, kind: pa.DataType) -> pa.Array:
    return pa.DictionaryArray.from_arrays(
        pa.array([0] * n_rows, pa.int32()), pa.array([word], kind)
    )


def _bomb(kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns of a small file that is a large table, and how it is written."""
    match kind:
        case "a long word":
            return {"x": _words("a" * 2_000_000, 1500, pa.string())}, {}
        case "many rows":
            return {"x": _words("a" * 100_000, 131_072, pa.string())}, {}
        case "bytes":
            return {"x": _words(b"a" * 2_000_000, 1500, pa.binary())}, {}
        case "large text":
            return {"x": _words("a" * 2_000_000, 1500, pa.large_string())}, {}
        case "many columns":
            return {f"x{n}": _words("a" * 1000, 131_072, pa.string()) for n in range(60)}, {}
        case "words told by those before":
            written = {"use_dictionary": False, "column_encoding": {"x": "DELTA_BYTE_ARRAY"}}
            return {"x": pa.repeat("a" * 500_000, 1000)}, written
        case "a list":
            numbers = pa.array(np.zeros(200 * 300_000, np.int64))
            ends = pa.array(range(0, 201 * 300_000, 300_000), pa.int32())
            return {"x": range(200), "l": pa.ListArray.from_arrays(ends, numbers)}, {}
        case "plain words, packed":
            return {"x": pa.repeat("a" * 500_000, 1000)}, {"use_dictionary": False}
        case _:
            return {"x": pa.array([b"a" * 2_000_000] * 300, pa.binary(2_000_000))}, {}


@pytest.mark.parametrize(
    "kind",
    [
        "a long word",
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in (
                "many rows",
                "bytes",
                "large text",
                "many columns",
                "words told by those before",
                "plain words, packed",
                "a list",
                "bytes of one width",
            )
        ),
    ],
)
def test_a_small_parquet_file_does_not_fill_the_memory(tmp_path: Path, kind: str) -> None:
    columns, written = _bomb(kind)
    pq.write_table(pa.table(columns), tmp_path / "x.parquet", compression="zstd", **written)
    assert (tmp_path / "x.parquet").stat().st_size < 1_000_000

    done = subprocess.run(
        [sys.executable, "-c", _READ, tmp_path / "x.parquet", str(_MEMORY_BYTES)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    told = ("Leave long values out", "made to fill the memory")
    assert done.stdout == "200\n" or any(text in done.stdout for text in told), done.stderr


def _read(path: str | Path, *, needed: tuple[str, ...] = ()) -> pa.Table:
    source = ParquetFile(path=str(path))
    return open_source(source, root=Path("/"), run_date=date(2026, 5, 1), needed=needed).read()


def test_a_list_that_no_config_names_is_not_unpacked(tmp_path: Path) -> None:
    table = pa.table({"x": range(100), "l": pa.array([[0] * 100_000] * 100)})
    pq.write_table(table, tmp_path / "x.parquet")

    stream = open_source(
        ParquetFile(path="x.parquet"), root=tmp_path, run_date=date(2026, 5, 1), needed=("x",)
    )

    assert [*stream.left_out] == ["l"]
    assert stream.read().column_names == ["x"]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1], [2]]),
        pa.array([{"k": 1}] * 2),
        pa.array([[("k", 1)]] * 2, pa.map_(pa.string(), pa.int64())),
        pa.array([[1], [2]], pa.list_(pa.int64(), 1)),
        pa.array([[1], [2]], pa.large_list(pa.int64())),
    ],
    ids=str,
)
def test_a_nested_column_that_the_config_names_is_refused_by_its_name(
    tmp_path: Path, values: pa.Array
) -> None:
    pq.write_table(pa.table({"x": [1, 2], "n": values}), tmp_path / "x.parquet")

    assert _read(tmp_path / "x.parquet").column_names == ["x"]
    with pytest.raises(SourceError, match=r"column 'n' is of type .*write its parts as columns"):
        _read(tmp_path / "x.parquet", needed=("n",))


def test_a_file_of_nothing_but_nested_columns_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [[1], [2]]}), tmp_path / "x.parquet")

    with pytest.raises(SourceError, match="no columns with one value in a row"):
        _read(tmp_path / "x.parquet")


def test_names_with_points_are_no_parts_of_one_another(tmp_path: Path) -> None:
    table = pa.table({"a": ["u", "v"], "a.b": ["w", None], "n": [{"k": 1}, {"k": 2}]})
    pq.write_table(table, tmp_path / "x.parquet")

    assert _read(tmp_path / "x.parquet").to_pydict() == {"a": ["u", "v"], "a.b": ["w", None]}


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", ""])
def test_honest_words_are_read_however_they_are_encoded(tmp_path: Path, encoding: str) -> None:
    words = [f"word {n % 777}" * (n % 5) if n % 11 else None for n in range(20_000)]
    table = pa.table({"x": words, "y": range(20_000)})
    how: dict[str, Any] = (
        {"use_dictionary": False, "column_encoding": {"x": encoding}} if encoding else {}
    )
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=7000, **how)

    assert _read(tmp_path / "x.parquet").equals(table)


def test_rows_that_are_long_by_their_number_are_refused_in_every_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amounts, "_MAX_WINDOW_BYTES", 100_000)
    rows = [(str(n), f"{n:0200}") for n in range(2000)]
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in rows))
    pq.write_table(pa.table({"b": [b for _, b in rows]}), tmp_path / "x.parquet")
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("CREATE TABLE t (a TEXT, b TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", rows)
    sources: list[Source] = [
        CsvFile(path="x.csv"),
        ParquetFile(path="x.parquet"),
        SqlQuery(url="sqlite:///x.db", query="SELECT * FROM t"),
    ]

    for source in sources:
        with pytest.raises(SourceError, match=r"hold .* bytes, more than 100,000. Leave long"):
            open_source(source, root=tmp_path, run_date=date(2026, 5, 1)).read()


@pytest.mark.parametrize(
    "value", ["replace(hex(zeroblob(9999999)), '0', 'xxxxxxxxx')", "zeroblob(900000000)"]
)
def test_a_value_that_a_database_makes_up_is_refused(tmp_path: Path, value: str) -> None:
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute(f"CREATE VIEW t AS SELECT 1 AS a, {value} AS b")

    source = SqlQuery(url="sqlite:///x.db", query="SELECT * FROM t")
    with pytest.raises(SourceError, match=r"x.db failed: .*too big"):
        open_source(source, root=tmp_path, run_date=date(2026, 5, 1)).read()


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.csv.zst"])
def test_a_packed_csv_is_told_and_not_unpacked(tmp_path: Path, name: str) -> None:
    codec = "zstd" if name.endswith("zst") else "gzip"
    packed = pa.compress(b"a,b\n" + b"1,2\n" * 1_000_000, codec=codec, asbytes=True)
    (tmp_path / name).write_bytes(packed)

    with pytest.raises(SourceError, match=f"a {codec} archive, not CSV: unpack it"):
        open_source(CsvFile(path=name), root=tmp_path, run_date=date(2026, 5, 1))
