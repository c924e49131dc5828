"""What a night need not do again: encode the same rows, or number a part that has not changed."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import check_snapshot
from pipeline_lib.data.snapshots import snapshot as snapshot_module
from pipeline_lib.data.snapshots.snapshot import LastNight, Snapshot, take_snapshot
from pipeline_lib.data.sources.stream import Part, RowStream
from pipeline_lib.data.splits.assign import SPLITS
from pipeline_lib.data.splits.split_rows import split_checked
from pipeline_lib.encoding import EncodedSplit
from pipeline_lib.encoding import encoded_splits as encoded_splits_module
from pipeline_lib.encoding.encoded_splits import (
    EncodedData,
    encode_splits,
    read_ledger,
)
from pipeline_lib.errors import StorageError, UnknownCategoryError
from pipeline_lib.home import find_home

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let parts of a hundred rows be big, and come in several batches."""
    monkeypatch.setattr(encoded_splits_module, "_MIN_KEPT_ROWS", 100)
    monkeypatch.setattr(snapshot_module, "_ROW_GROUP_ROWS", 32)
    monkeypatch.setattr(snapshot_module, "_BATCH_ROWS", 64)


@dataclass(frozen=True)
class Night:
    """What a night has left."""

    snapshot: Snapshot
    encoded: EncodedData

    def vocabulary(self) -> list[str]:
        """Return the words of the column, by code."""
        return self.encoded.read_encoder().vocabularies["color"].categories.to_pylist()

    def last(self) -> LastNight:
        """Return what the next night knows of this one."""
        s = self.snapshot
        return LastNight(s.folder, s.digest, s.n_rows, s.reading, s.parts)


def _night(
    config: PipelineConfig,
    parts: dict[str, pa.Table],
    *,
    today: str = "2026-01-01",
    last: Night | None = None,
    fingerprints: dict[str, str] | None = None,
    reading: str = "",
) -> Night:
    prints = fingerprints or {}
    schema = next(iter(parts.values())).schema
    stream = RowStream("toy", schema, tuple(_part(n, t, prints) for n, t in parts.items()))
    snapshot = take_snapshot(
        find_home().dataset(config.name),
        stream,
        reading=reading,
        last=last.last() if last else None,
    )
    rows = split_checked(config, check_snapshot(config, snapshot))
    return Night(snapshot, encode_splits(config, rows, today=today))


def _part(name: str, table: pa.Table, fingerprints: dict[str, str]) -> Part:
    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches()

    return Part(name, fingerprints.get(name, f"print of {name}"), batches)


def _written(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of each file: equal ones were not written again."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stats = {path.relative_to(folder).as_posix(): path.stat() for path in files}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def _segments() -> Path:
    return find_home().dataset("toy").folder / "segments"


def _bits(split: EncodedSplit) -> list[bytes]:
    return [array.tobytes() for array in (split.x_cat, split.x_num, split.y)]


def _all_bits(night: Night) -> list[list[bytes]]:
    return [_bits(night.encoded.read(name)) for name in SPLITS]


@pytest.fixture
def parts(toy_table: MakeTable) -> dict[str, pa.Table]:
    """Three big parts and a small one between them."""
    sizes = {"a": 120, "b": 130, "small": 20, "c": 110}
    return {
        name: toy_table(n, seed=number) for number, (name, n) in enumerate(sizes.items(), start=1)
    }


def test_the_same_rows_are_encoded_once_also_on_another_day(
    table_config: MakeConfig, parts: dict[str, pa.Table]
) -> None:
    first = _night(table_config(), parts)
    places = [first.encoded.folder, find_home().dataset("toy").ledger, _segments()]
    written = [_written(place) for place in places]

    second = _night(table_config(), parts, today="2026-02-02", last=first)

    assert (first.encoded.is_new, second.encoded.is_new) == (True, False)
    assert second.encoded == first.encoded
    assert [str(change) for change in second.encoded.changes] == [
        "4 new ('blue', 'green', 'red', 'teal')"
    ]
    assert [_written(place) for place in places] == written


def test_big_parts_have_a_segment_each_that_is_not_written_again(
    table_config: MakeConfig, parts: dict[str, pa.Table], toy_table: MakeTable
) -> None:
    first = _night(table_config(), parts)
    written = _written(_segments())

    second = _night(table_config(), {**parts, "d": toy_table(150, seed=9)}, last=first)

    after = _written(_segments())
    assert len({name.split("/")[0] for name in written}) == 3
    assert len({name.split("/")[0] for name in after}) == 4
    assert {name: after[name] for name in written} == written
    assert second.encoded.is_new


def test_the_segment_of_a_part_that_is_gone_is_removed(
    table_config: MakeConfig, parts: dict[str, pa.Table]
) -> None:
    first = _night(table_config(), parts)
    before = _written(_segments())

    rest = {name: table for name, table in parts.items() if name != "b"}
    _night(table_config(), rest, last=first)

    after = _written(_segments())
    assert len({name.split("/")[0] for name in after}) == 2
    assert after.items() < before.items()


@pytest.mark.parametrize("why", ["fingerprint", "columns", "reading"])
def test_a_segment_is_written_again_where_its_rows_may_read_otherwise(
    table_config: MakeConfig, parts: dict[str, pa.Table], why: str
) -> None:
    _night(table_config(), parts)
    names = {path.name for path in _segments().iterdir()}
    columns = {"size": {"kind": "number"}, "color": {"kind": "category"}}
    config = table_config(columns=columns) if why == "columns" else table_config()
    fingerprints = {"a": "rewritten"} if why == "fingerprint" else {}
    # Something has to be new, or nothing is encoded at all.
    parts["small"] = parts["small"].slice(1)

    _night(config, parts, fingerprints=fingerprints, reading="new" if why == "reading" else "")

    kept = names & {path.name for path in _segments().iterdir()}
    assert len(kept) == (2 if why == "fingerprint" else 0)


@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
def test_a_damaged_segment_is_written_again(
    table_config: MakeConfig, parts: dict[str, pa.Table], damage: str, toy_table: MakeTable
) -> None:
    first = _night(table_config(), parts)
    path = next(_segments().glob("*/rows.arrow"))
    match damage:
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:-9])
        case _:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    parts["d"] = toy_table(10, seed=9)

    second = _night(table_config(), parts, last=first)

    assert sum(second.encoded.read(name).n_rows for name in SPLITS) == 390


def test_kept_segments_change_nothing_in_what_is_encoded(
    table_config: MakeConfig,
    parts: dict[str, pa.Table],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    toy_table: MakeTable,
) -> None:
    results: list[list[list[bytes]]] = []
    for least, home in ((100, "kept"), (10**9, "not kept")):
        monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / home))
        monkeypatch.setattr(encoded_splits_module, "_MIN_KEPT_ROWS", least)
        first = _night(table_config(), parts)
        grown = {"new": toy_table(140, seed=7), **parts}
        second = _night(table_config(), grown, last=first, today="2026-01-02")
        assert _segments().exists() is (least == 100)
        results += [_all_bits(first), _all_bits(second)]

    assert results[:2] == results[2:]


def test_a_table_in_one_part_is_encoded_as_it_is_in_many(
    table_config: MakeConfig,
    parts: dict[str, pa.Table],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = _night(table_config(), parts)
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "other"))

    one = _night(table_config(), {"all": pa.concat_tables(parts.values())})

    assert _all_bits(one) == _all_bits(many)
    assert not _segments().exists()


def test_codes_keep_their_meaning_over_growing_nights(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    random = np.random.default_rng(0)
    known: list[str] = []
    parts: dict[str, pa.Table] = {}
    last: Night | None = None
    for night in range(6):
        table = toy_table(120, seed=night)
        colors = [f"c{random.integers(0, 10 * (night + 1))}" for _ in range(120)]
        parts[f"day {night}"] = table.set_column(0, "color", pa.array(colors))
        if night == 3:
            del parts["day 0"]

        last = _night(table_config(), parts, last=last, today=f"2026-01-0{night + 1}")

        now = last.vocabulary()
        assert now[: len(known)] == known
        assert read_ledger(find_home().dataset("toy"))["color"].categories.to_pylist() == now
        rows = pa.concat_tables(parts.values())
        x_cat = np.concatenate([last.encoded.read(name).x_cat[:, 0] for name in SPLITS])
        decoded = last.encoded.read_encoder().vocabularies["color"].decode(x_cat.tolist())
        words = rows["color"].to_pylist()
        trained = {word for word in words if word in now}
        assert sorted(w for w in decoded if w is not None) == sorted(
            w for w in words if w in trained
        )
        known = now

    assert len(known) > 40


def test_where_the_ledger_began_anew_what_was_encoded_before_is_not_believed(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config, rows = table_config(), {"all": toy_table(200)}
    before = _night(config, rows).vocabulary()
    shutil.rmtree(find_home().dataset("toy").ledger)
    colors = ["zebra" if word == "blue" else word for word in rows["all"]["color"].to_pylist()]
    _night(config, {"all": rows["all"].set_column(0, "color", pa.array(colors))})

    again = _night(config, rows)

    assert before == ["blue", "green", "red", "teal"]
    assert again.encoded.is_new
    assert again.vocabulary() == ["green", "red", "teal", "zebra", "blue"]
    assert (
        again.vocabulary()
        == read_ledger(find_home().dataset("toy"))["color"].categories.to_pylist()
    )


def test_without_a_ledger_nothing_is_believed_and_it_is_made_again(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config, rows = table_config(), {"all": toy_table(200)}
    before = _night(config, rows).vocabulary()
    shutil.rmtree(find_home().dataset("toy").ledger)

    again = _night(config, rows)

    assert again.encoded.is_new
    assert again.vocabulary() == before
    assert set(read_ledger(find_home().dataset("toy"))) == {"color"}


def test_the_ledger_of_another_dataset_is_refused(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    _night(table_config(), {"all": toy_table(200)})
    other = find_home().dataset("other").folder
    other.mkdir(parents=True)
    find_home().dataset("toy").ledger.rename(other / "ledger")

    with pytest.raises(StorageError, match="is the ledger of 'toy', not of 'other'"):
        _night(table_config(name="other"), {"all": toy_table(200)})


@pytest.mark.parametrize("n_bytes", [0, 10, -1])
def test_a_ledger_that_was_cut_is_refused(
    table_config: MakeConfig, toy_table: MakeTable, n_bytes: int
) -> None:
    _night(table_config(), {"all": toy_table(200)})
    path = find_home().dataset("toy").ledger / "categories.parquet"
    path.write_bytes(path.read_bytes()[:n_bytes])

    with pytest.raises(StorageError, match="is damaged"):
        _night(table_config(), {"all": toy_table(210)})


def _words(n_rows: int) -> list[str]:
    """Return `often` for most rows, and a word for each of the others."""
    return [f"rare {n}" if n % 10 == 0 else "often" for n in range(n_rows)]


@pytest.mark.parametrize("setting", ["min_count", "max_size"])
@pytest.mark.parametrize("of_column", [True, False])
def test_words_without_a_code_are_told_with_their_rows(
    table_config: MakeConfig, toy_table: MakeTable, setting: str, of_column: bool
) -> None:
    value = {"min_count": 2, "max_size": 1}[setting]
    color: dict[str, Any] = {"kind": "category", **({setting: value} if of_column else {})}
    config = table_config(
        columns={"color": color, "size": {"kind": "number"}},
        encoding={} if of_column else {setting: value},
    )
    table = toy_table(300).set_column(0, "color", pa.array(_words(300)))

    night = _night(config, {"all": table})

    (change,) = night.encoded.changes
    vocabulary = night.encoded.read_encoder().vocabularies["color"]
    x_cat = night.encoded.read("train").x_cat
    n_rare = int((x_cat == 0).sum())
    assert vocabulary.categories.to_pylist() == ["often"]
    assert (change.n_rare, change.n_rare_rows) == (n_rare, n_rare)
    assert n_rare > 10


def test_another_min_count_is_another_encoding_and_makes_known_words_rare(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(300).set_column(0, "color", pa.array(_words(300)))
    first = _night(table_config(), {"all": table})

    second = _night(table_config(encoding={"min_count": 2}), {"all": table})

    assert second.encoded.folder != first.encoded.folder
    assert second.vocabulary() == first.vocabulary()
    assert (second.encoded.read("train").x_cat == 0).sum() == len(first.vocabulary()) - 1
    (change,) = second.encoded.changes
    assert change.n_rare == change.n_rare_rows == len(first.vocabulary()) - 1


def test_an_unknown_category_leaves_neither_splits_nor_a_grown_ledger(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    color = {"kind": "category", "on_unknown": "error"}
    config = table_config(columns={"color": color, "size": {"kind": "number"}})
    first = _night(config, {"all": toy_table(200)})
    ledger = _written(find_home().dataset("toy").ledger)
    words = [f"only {n}" for n in range(200)]

    with pytest.raises(UnknownCategoryError, match="column 'color'"):
        _night(config, {"all": toy_table(200).set_column(0, "color", pa.array(words))})

    assert _written(find_home().dataset("toy").ledger) == ledger
    assert list(first.encoded.folder.parent.iterdir()) == [first.encoded.folder]


def test_a_regression_is_encoded_in_parts_too(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(data={"task": "regression"})
    parts = {name: toy_table(120, task="regression", seed=ord(name)) for name in "abc"}

    night = _night(config, parts)

    train = night.encoded.read("train")
    assert train.y.dtype == np.float32
    assert train.y.mean() == pytest.approx(0.0, abs=1e-6)
    assert train.y.std() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", ["..", "cat:x", "y", "num:0", "a/b", "a.b", "split"])
def test_a_column_may_be_called_as_a_folder_or_as_a_files_own(
    table_config: MakeConfig, toy_table: MakeTable, name: str
) -> None:
    config = table_config(columns={name: {"kind": "category"}, "size": {"kind": "number"}})
    parts = {key: toy_table(120, seed=ord(key)) for key in "ab"}
    named = {k: t.rename_columns([name, "size", "label"]) for k, t in parts.items()}

    night = _night(config, named)

    encoder = night.encoded.read_encoder()
    expected = EncodedSplit.of(
        pa.concat_tables(named.values()), encoder, night.encoded.read_target()
    )
    assert sum(night.encoded.read(split).x_cat.sum() for split in SPLITS) == expected.x_cat.sum()
    assert set(read_ledger(find_home().dataset("toy"))) == {name}


def test_nothing_unpublished_is_left_beside_the_datasets_folders(
    table_config: MakeConfig, parts: dict[str, pa.Table]
) -> None:
    _night(table_config(), parts)

    names = [path.name for path in find_home().dataset("toy").folder.rglob("*")]
    assert [name for name in names if name.startswith(".")] == []
