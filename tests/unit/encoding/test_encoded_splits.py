"""Night after night: encoded splits, and a ledger that grows and never forgets."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import check_snapshot
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.data.splits.split_rows import SplitRows, split_checked
from pipeline_lib.encoding import Encoder
from pipeline_lib.encoding.codebook import codebook, codes_of_dataset
from pipeline_lib.encoding.encoded_splits import (
    EncodedData,
    encode_splits,
    read_ledger,
)
from pipeline_lib.errors import StorageError, UsageError
from pipeline_lib.home import find_home

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


def _split(config: PipelineConfig, table: pa.Table) -> SplitRows:
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream.of(table, source="toy.csv")
    )
    return split_checked(config, check_snapshot(config, snapshot))


def _night(config: PipelineConfig, table: pa.Table, today: str = "2026-01-01") -> EncodedData:
    return encode_splits(config, _split(config, table), today=today)


def _written(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of each file: equal ones were not written again."""
    stats = {path.name: path.stat() for path in folder.iterdir()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def _recolored(table: pa.Table, old: str, new: str) -> pa.Table:
    colors = [new if word == old else word for word in table["color"].to_pylist()]
    return table.set_column(0, "color", pa.array(colors))


def test_encoded_splits_hold_every_row_and_name_new_categories(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config, table = table_config(), toy_table(200)
    rows = _split(config, table)

    encoded = encode_splits(config, rows, today="2026-01-01")

    assert encoded.read("train").n_rows == rows.n_rows["train"]
    assert encoded.read("val").n_rows == rows.n_rows["val"]
    assert encoded.read("test").n_rows == rows.n_rows["test"]
    assert [(c.column, c.new.n) for c in encoded.changes] == [("color", 4)]
    assert encoded.read_target().column == "label"


def test_codes_keep_their_meaning_when_an_earlier_word_in_the_alphabet_arrives(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config()
    first = _night(config, toy_table(200)).read_encoder().vocabularies["color"]

    encoded = _night(config, _recolored(toy_table(200), "blue", "amber"), "2026-01-02")

    second = encoded.read_encoder().vocabularies["color"]
    known = first.categories.to_pylist()
    assert second.categories.to_pylist() == [*known, "amber"]
    assert [str(change) for change in encoded.changes] == [
        "1 new ('amber'), 1 no longer seen ('blue')"
    ]
    assert second.first_seen.astype(str).tolist() == ["2026-01-01"] * 4 + ["2026-01-02"]
    assert second.counts[known.index("blue")] == 0


def test_encoding_the_same_rows_twice_changes_neither_splits_nor_ledger(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config()
    first = _night(config, toy_table(200))
    places = (first.folder, find_home().dataset(config.name).ledger)
    written = [_written(place) for place in places]

    second = _night(config, toy_table(200), "2026-01-02")

    assert second == first
    assert [_written(place) for place in places] == written


def test_a_column_that_the_config_leaves_out_for_a_night_keeps_its_codes(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(200).append_column("shape", pa.array(["round", "flat"] * 100))
    size, word = {"kind": "number"}, {"kind": "category"}
    both = {"color": word, "shape": word, "size": size}
    _night(table_config(columns=both), table)

    _night(table_config(columns={"shape": word, "size": size}), table, "2026-01-02")

    assert set(read_ledger(find_home().dataset("toy"))) == {"color", "shape"}
    shuffled = table.take(pa.array(range(199, -1, -1)))
    again = _night(table_config(columns=both), shuffled, "2026-01-03")
    assert again.changes == ()


def test_a_column_that_turns_from_words_to_numbers_leaves_a_ledger_that_can_be_read(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(200).append_column("doors", pa.array(["2", "4"] * 100))
    rest = {"color": {"kind": "category"}, "size": {"kind": "number"}}
    _night(table_config(columns={**rest, "doors": {"kind": "category"}}), table)

    _night(table_config(columns={**rest, "doors": {"kind": "number"}}), table, "2026-01-02")

    assert read_ledger(find_home().dataset("toy"))["doors"].categories.to_pylist() == ["2", "4"]
    again = _night(table_config(columns=rest), table, "2026-01-03")
    assert again.changes == ()


@pytest.mark.parametrize("file", ["categories.parquet", "encoder.json", "manifest.json"])
def test_a_damaged_ledger_is_refused_for_codes_would_change_their_meaning(
    table_config: MakeConfig, toy_table: MakeTable, file: str
) -> None:
    config = table_config()
    _night(config, toy_table(200))
    path = find_home().dataset(config.name).ledger / file
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    with pytest.raises(StorageError, match="is damaged"):
        _night(config, toy_table(210), "2026-01-02")


def test_the_first_night_has_no_ledger() -> None:
    assert read_ledger(find_home().dataset("toy")) == {}


def test_a_damaged_encoded_split_is_written_again(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config()
    first = _night(config, toy_table(200))
    before = first.read("test").x_cat
    (first.folder / "test.parquet").write_bytes(b"damaged")

    second = _night(config, toy_table(200))

    assert (second.read("test").x_cat == before).all()


def test_only_training_rows_get_codes(table_config: MakeConfig, toy_table: MakeTable) -> None:
    config = table_config()
    rows = _split(config, toy_table(200))

    encoder = encode_splits(config, rows, today="2026-01-01").read_encoder()

    train = rows.read("train")["color"].to_pylist()
    vocabulary = encoder.vocabularies["color"]
    assert sum(vocabulary.counts) == len(train)
    assert set(vocabulary.categories.to_pylist()) == set(train)


def test_the_codes_of_a_dataset_are_told_reserved_ones_first(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    _night(table_config(), toy_table(200))

    codes = codes_of_dataset(find_home().dataset("toy"), "color")

    assert [(c.code, c.category, c.meaning) for c in codes] == [
        (0, None, "unseen"),
        (1, None, "missing"),
        (2, "blue", "category"),
        (3, "green", "category"),
        (4, "red", "category"),
        (5, "teal", "category"),
    ]
    assert codes == codes_of_dataset(find_home().dataset("toy"))


def test_a_dataset_or_column_without_codes_is_told_with_the_nearest(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    _night(table_config(), toy_table(200))

    with pytest.raises(UsageError, match=r"'tooy' has no codes yet; did you mean toy\?"):
        codes_of_dataset(find_home().dataset("tooy"))
    with pytest.raises(UsageError, match=r"no category column 'colr'; did you mean color\?"):
        codes_of_dataset(find_home().dataset("toy"), "colr")


def test_the_codebook_keeps_column_names_as_values(toy_table: MakeTable) -> None:
    columns = PipelineConfig.model_validate(
        {
            "name": "toy",
            "data": {
                "source": {"kind": "csv", "path": "x.csv"},
                "target": "label",
                "task": "multiclass",
            },
            "columns": {"color": {"kind": "category"}},
        }
    ).columns
    encoder = Encoder.fit(toy_table(200), columns, today="2026-01-01")

    book = codebook(encoder)

    assert isinstance(book, dict)
    assert book["encoder"] == encoder.fingerprint()
    assert [entry["column"] for entry in book["columns"]] == ["color"]
    assert [code["code"] for code in book["columns"][0]["codes"]] == list(range(6))


LATER = "2999-01-01T00:00:00+00:00"


def test_a_night_that_is_done_again_lists_nothing_as_new(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config, rows = table_config(), _split(table_config(), toy_table(200))
    first = encode_splits(config, rows, today="2026-01-01")

    again = encode_splits(config, rows, today="2026-01-02", last_ended=LATER)

    assert [change.new.n for change in first.changes] == [4]
    assert (again.is_new, again.changes) == (False, ())


def test_a_night_that_goes_on_after_a_kill_tells_what_its_first_attempt_has_changed(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config, rows = table_config(), _split(table_config(), toy_table(200))
    killed = encode_splits(config, rows, today="2026-01-01", last_ended="2025-12-31T00:00:00+00:00")

    resumed = encode_splits(
        config, rows, today="2026-01-01", last_ended="2025-12-31T00:00:00+00:00"
    )

    assert resumed.changes == killed.changes
    assert [change.new.n for change in resumed.changes] == [4]


def test_rows_that_return_after_another_night_tell_what_that_night_did_not_have(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config, table = table_config(), toy_table(200)
    n_blue = _night(config, table).read_encoder().vocabularies["color"].counts[0]
    _night(config, _recolored(table, "blue", "amber"), "2026-01-02")

    again = encode_splits(config, _split(config, table), today="2026-01-03", last_ended=LATER)

    assert not again.is_new
    assert [str(change) for change in again.changes] == [
        "1 no longer seen ('amber'), 1 seen again ('blue')"
    ]
    of_word = {
        code.category: code for code in codes_of_dataset(find_home().dataset("toy"), "color")
    }
    assert (of_word["blue"].count, of_word["blue"].last_seen) == (n_blue, "2026-01-03")
    assert (of_word["amber"].count, of_word["amber"].state) == (0, "retired")
    assert of_word["amber"].code == 6


def test_words_too_rare_for_a_code_are_a_fact_of_the_rows_and_told_each_time(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(encoding={"min_count": 1000})
    rows = _split(config, toy_table(200))
    first = encode_splits(config, rows, today="2026-01-01")

    again = encode_splits(config, rows, today="2026-01-01", last_ended=LATER)

    assert first.changes[0].n_rare == 4
    assert again.changes == first.changes
