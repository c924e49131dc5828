"""Checked and split rows, published under what they follow from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import check_snapshot
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.stream import Part, RowStream
from pipeline_lib.data.splits.assign import SPLITS, SplitName
from pipeline_lib.data.splits.split_rows import SplitRows, shared_rows, split_checked
from pipeline_lib.errors import ContractError
from pipeline_lib.home import find_home

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


def _written(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of each file: equal ones were not written again."""
    stats = {path.name: path.stat() for path in folder.iterdir()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def test_every_checked_row_lands_in_exactly_one_split(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config, table = table_config(), toy_table(300)
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream.of(table, source="toy.csv")
    )

    split = split_checked(config, check_snapshot(config, snapshot))

    parts = [split.read(name) for name in SPLITS]
    key = [("size", "ascending")]
    assert pa.concat_tables(parts).sort_by(key).to_pydict() == table.sort_by(key).to_pydict()
    assert [part.num_rows for part in parts] == [split.n_rows[name] for name in SPLITS]
    assert min(split.n_rows.values()) > 0


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("n_rows", [1, 7, 1000])
def test_a_split_in_batches_is_the_split_cut_into_so_many_rows(
    table_config: MakeConfig, toy_table: MakeTable, name: SplitName, n_rows: int
) -> None:
    parts = [
        Part(str(seed), "", lambda seed=seed: iter(toy_table(90, seed=seed).to_batches()))
        for seed in range(3)
    ]
    config = table_config()
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream("toy", toy_table().schema, tuple(parts))
    )
    split = split_checked(config, check_snapshot(config, snapshot))

    batches = list(split.batches(name, n_rows))

    *first, last = [batch.num_rows for batch in batches]
    assert all(size == n_rows for size in first)
    assert 0 < last <= n_rows
    assert pa.concat_tables(batches).equals(split.read(name))


def test_preparing_twice_writes_nothing_the_second_time(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config()
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream.of(toy_table(), source="toy.csv")
    )
    first = split_checked(config, check_snapshot(config, snapshot))
    written = _written(first.folder)

    second = split_checked(config, check_snapshot(config, snapshot))

    assert second == first
    assert _written(second.folder) == written


def test_a_damaged_split_is_written_again(table_config: MakeConfig, toy_table: MakeTable) -> None:
    config = table_config()
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream.of(toy_table(), source="toy.csv")
    )
    first = split_checked(config, check_snapshot(config, snapshot))
    before = first.read("test")
    (first.folder / "test.parquet").write_bytes(b"damaged")

    second = split_checked(config, check_snapshot(config, snapshot))

    assert second.read("test").equals(before)


@pytest.mark.parametrize(
    ("section", "values", "same_rule", "same_split"),
    [
        ("training", {"epochs": 9}, True, True),
        ("validation", {"min_rows": 25}, True, True),
        ("split", {"seed": 1}, False, False),
        ("data", {"key": ["size"]}, False, False),
        ("columns", {"size": {"kind": "number"}}, False, False),
    ],
)
def test_digests_change_with_what_decides_the_split_and_with_nothing_else(
    table_config: MakeConfig,
    toy_table: MakeTable,
    section: str,
    values: dict[str, object],
    same_rule: bool,
    same_split: bool,
) -> None:
    config, other = table_config(), table_config(**{section: values})
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream.of(toy_table(), source="toy.csv")
    )

    split = [split_checked(each, check_snapshot(each, snapshot)) for each in (config, other)]

    assert (split[0].rule == split[1].rule) is same_rule
    assert (split[0].digest == split[1].digest) is same_split


@pytest.mark.parametrize("split", ["hash", "stratified", "group"])
def test_a_column_that_counts_as_another_type_is_another_rule_where_it_is_hashed(
    table_config: MakeConfig, toy_table: MakeTable, split: str
) -> None:
    table = toy_table().append_column("n", pa.array([i % 50 for i in range(200)]))
    snapshot = take_snapshot(find_home().dataset("toy"), RowStream.of(table, source="toy.csv"))
    settings = {"kind": split, **({"columns": ["n"]} if split == "group" else {})}

    def splits(kind: str, **others: dict[str, str]) -> SplitRows:
        columns = {"n": {"kind": kind}, **others}
        config = table_config(columns=columns, split=settings)
        return split_checked(config, check_snapshot(config, snapshot))

    as_words, as_numbers = splits("category"), splits("number")
    wider = splits("category", color={"kind": "category"})

    assert not np.array_equal(as_words.assignment(), as_numbers.assignment())
    assert as_words.rule != as_numbers.rule
    is_same = np.array_equal(as_words.assignment(), wider.assignment())
    assert is_same == (split == "group") == (as_words.rule == wider.rule)


def test_rows_of_one_key_land_in_one_split(table_config: MakeConfig, toy_table: MakeTable) -> None:
    config = table_config(data={"key": ["customer"]}, validation={"unique_key": "warn"})
    table = toy_table(300).append_column("customer", pa.array([i % 30 for i in range(300)]))
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream.of(table, source="toy.csv")
    )

    split = split_checked(config, check_snapshot(config, snapshot))

    customers = [set(split.read(name)["customer"].to_pylist()) for name in SPLITS]
    assert not customers[0] & customers[1]
    assert not customers[0] & customers[2]
    assert not customers[1] & customers[2]


def test_rows_that_break_the_contract_are_told_by_the_name_of_their_source(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(columns={"color": {"kind": "number"}})
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream.of(toy_table(), source="nightly/toy.csv")
    )

    with pytest.raises(ContractError, match=r"contract broken by nightly/toy\.csv"):
        check_snapshot(config, snapshot)


@pytest.mark.parametrize("types", [(pa.int64(), pa.float64()), (pa.int32(), pa.string())], ids=str)
def test_a_key_keeps_its_split_when_its_type_changes(
    table_config: MakeConfig, toy_table: MakeTable, types: tuple[pa.DataType, pa.DataType]
) -> None:
    config = table_config(data={"key": ["id"]}, columns={"color": {"kind": "category"}})
    ids = pa.array(range(300), pa.int64())

    splits: list[list[set[int]]] = []
    for arrow_type in types:
        table = toy_table(300).append_column("id", ids.cast(arrow_type))
        split = split_checked(
            config,
            check_snapshot(
                config,
                take_snapshot(
                    find_home().dataset(config.name), RowStream.of(table, source="toy.csv")
                ),
            ),
        )
        splits.append([{int(i) for i in split.read(name)["id"].to_pylist()} for name in SPLITS])

    assert splits[0] == splits[1]


def test_an_empty_split_is_told_before_anything_is_trained(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(
        data={"key": ["color"]}, split={"test": 0.0001}, validation={"unique_key": "warn"}
    )
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream.of(toy_table(), source="toy.csv")
    )

    with pytest.raises(ContractError, match=r"no row falls into .*by the hash of color"):
        split_checked(config, check_snapshot(config, snapshot))


def test_split_files_keep_columns_that_the_config_does_not_name(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(columns={"size": {"kind": "number"}})
    snapshot = take_snapshot(
        find_home().dataset(config.name), RowStream.of(toy_table(), source="toy.csv")
    )

    split = split_checked(config, check_snapshot(config, snapshot))

    assert "color" in split.read("test").column_names


@given(
    train=st.lists(st.lists(st.integers(0, 50))),
    test=st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 50))),
)
def test_shared_rows_are_those_of_the_other_split_that_train_has(
    train: list[list[int]], test: list[list[int]]
) -> None:
    blocks = [[np.array(b, np.uint64) for b in split] for split in (train, test)]

    known = {h for block in train for h in block}
    assert shared_rows(*blocks) == sum(h in known for block in test for h in block)
