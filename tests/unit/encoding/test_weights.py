"""Row weights on their way into the encoded splits; rows of weight 0 do not get there."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.check_snapshot import check_snapshot
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.data.splits.assign import SPLITS
from pipeline_lib.data.splits.split_rows import SplitRows, split_checked
from pipeline_lib.encoding import EncodedSplit, RowWeights, read_split
from pipeline_lib.encoding.encoded_splits import encode_splits
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.encoding.weights import WeightsFitter, counting
from pipeline_lib.errors import UnknownCategoryError
from pipeline_lib.home import find_home
from tests.conftest import MakeConfig, MakeTable
from tests.unit.encoding.in_memory import write_split


def _column(*weights: float) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(weights, pa.float64())])


def _weighted(table: pa.Table, weights: object) -> pa.Table:
    return table.append_column("w", pa.array(weights, pa.float64()))


def _split(config: PipelineConfig, table: pa.Table) -> SplitRows:
    place = find_home().dataset(config.name)
    snapshot = take_snapshot(place, RowStream.of(table, source="toy.csv"))
    return split_checked(config, check_snapshot(config, snapshot))


@given(
    weights=st.lists(st.floats(1e-3, 1e3) | st.just(0.0), min_size=1, max_size=50),
    factor=st.floats(1e-300, 1e300),
    cut=st.integers(0, 50),
)
def test_only_the_ratios_of_weights_count_and_their_mean_is_1(
    weights: list[float], factor: float, cut: int
) -> None:
    values = np.array([*weights, 1.0])
    whole, scaled = WeightsFitter("w"), WeightsFitter("w")
    whole.add(_column(*values))
    for part in (values[:cut], values[cut:]):
        scaled.add(_column(*(part * factor)))

    positive = values[values > 0]
    one = whole.finish().encode(_column(*positive))
    other = scaled.finish().encode(_column(*(positive * factor)))

    np.testing.assert_allclose(one, positive / positive.mean(), rtol=1e-6)
    np.testing.assert_allclose(one, other, rtol=1e-6)
    assert one.dtype == np.float32


def test_weights_beyond_what_a_sum_can_hold_stay_finite_and_above_0() -> None:
    train = pa.table({"w": _column(1.7e308, 1.7e308, 5e-324, 0.0)})

    weights = RowWeights.fit("w", train).encode(_column(1.7e308, 5e-324))

    assert weights[0] == pytest.approx(1.5)
    assert 0 < weights[1] < 1e-30


def test_encoded_weights_are_those_of_the_rows_in_units_of_the_training_rows_mean(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config, table = table_config(data={"weight": "w"}), toy_table(200)
    rows = _split(config, _weighted(table, np.arange(200.0) % 4))

    encoded = encode_splits(config, rows, today="2026-01-01")

    of_split = {name: rows.read(name)["w"].to_numpy().astype(float) for name in SPLITS}
    mean = of_split["train"][of_split["train"] > 0].mean()
    for name in SPLITS:
        weights = of_split[name]
        expected = weights[weights > 0] / mean
        split = encoded.read(name)
        assert split.weight is not None
        np.testing.assert_allclose(split.weight, expected, rtol=1e-6)
        file = encoded.open(name)
        assert file.is_weighted
        assert np.concatenate([part for part in file.weights() if part is not None]).tolist() == (
            split.weight.tolist()
        )


def test_rows_of_weight_0_leave_no_trace_in_encoder_target_and_splits(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config, table = table_config(data={"weight": "w"}), toy_table(200)
    some = np.arange(200) % 3 > 0
    colors = pa.array(
        [c if keep else "mauve" for c, keep in zip(table["color"].to_pylist(), some, strict=True)]
    )
    sizes = pa.array(np.where(some, table["size"].to_numpy(), 1e9))
    odd = table.set_column(0, "color", colors).set_column(1, "size", sizes)
    key = [str(number) for number in range(200)]
    odd, table = (part.append_column("id", pa.array(key)) for part in (odd, table))
    config = table_config(data={"weight": "w", "key": ["id"]})

    first = encode_splits(config, _split(config, _weighted(odd, some * 1.0)), today="2026-01-01")
    few = _weighted(table, np.ones(200)).filter(pa.array(some))
    second = encode_splits(config, _split(config, few), today="2026-01-01", grow=False)

    assert first.read_encoder().fingerprint() == second.read_encoder().fingerprint()
    assert first.read_target() == second.read_target()
    for name in SPLITS:
        one, other = first.read(name), second.read(name)
        assert one.x_cat.tolist() == other.x_cat.tolist()
        assert one.x_num.tolist() == other.x_num.tolist()
        assert one.y.tolist() == other.y.tolist()


def test_splits_without_weights_are_written_as_they_were(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config()

    encoded = encode_splits(config, _split(config, toy_table(200)), today="2026-01-01")

    assert pq.read_schema(encoded.path("train")).names == ["cat:color", "num:0", "y"]
    assert encoded.read("train").weight is None
    assert list(encoded.open("train").weights()) == [None]
    assert not encoded.open("train").is_weighted


def test_another_column_of_weights_is_encoded_anew(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = _weighted(toy_table(200), np.arange(1.0, 201.0))
    table = table.append_column("v", pa.array(np.ones(200)))
    folders = [
        encode_splits(config, _split(config, table), today="2026-01-01").folder
        for config in (
            table_config(data={"weight": "w"}),
            table_config(data={"weight": "v"}),
            table_config(),
        )
    ]

    assert len(set(folders)) == 3


def test_a_class_that_only_rows_of_weight_0_have_is_no_class(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(200)
    odd = np.arange(200) % 5 == 0
    labels = np.where(odd, "odd", np.array(table["label"].to_pylist())).tolist()
    table = _weighted(table.set_column(2, "label", pa.array(labels)), 1.0 - odd)
    config = table_config(data={"weight": "w"})

    encoded = encode_splits(config, _split(config, table), today="2026-01-01")

    assert "odd" not in str(encoded.read_target())


def test_a_category_of_a_predicted_row_is_refused_whatever_its_weight(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    columns = {"color": {"kind": "category", "on_unknown": "error"}, "size": {"kind": "number"}}
    config = table_config(data={"weight": "w", "key": ["id"]}, columns=columns)
    table = toy_table(200).append_column("id", pa.array([str(number) for number in range(200)]))
    splits = _split(config, _weighted(table, np.ones(200))).assignment()

    def encoded(split: str) -> None:
        row = int(np.flatnonzero(splits == SPLITS.index(split))[0])
        colors = table["color"].to_pylist()
        colors[row] = "mauve"
        rows = table.set_column(0, "color", pa.array(colors))
        rows = _weighted(rows, (np.arange(200) != row) * 1.0)
        encode_splits(config, _split(config, rows), today="2026-01-01", grow=False)

    with pytest.raises(UnknownCategoryError, match="mauve"):
        encoded("test")
    for split in ("train", "val"):
        encoded(split)


def test_a_written_weight_is_read_back_and_taken_with_its_row(
    tmp_path: Path, table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(data={"weight": "w"})
    rows = _split(config, _weighted(toy_table(60), np.arange(1.0, 61.0)))
    encoded = encode_splits(config, rows, today="2026-01-01")
    split, encoder = encoded.read("train"), encoded.read_encoder()
    write_split(tmp_path / "x.parquet", split, encoder, encoded.read_target())

    again = read_split(tmp_path / "x.parquet", encoder)
    file = SplitFile(tmp_path / "x.parquet", encoder)

    assert split.weight is not None
    for found, expected in (
        (again, split.weight),
        (again.take(np.array([3, 1])), split.weight[[3, 1]]),
        (again.slice(2, 5), split.weight[2:5]),
        (file.read([0], into=file.room(split.n_rows + 7)), split.weight),
    ):
        assert found.weight is not None
        assert found.weight.tolist() == expected.tolist()
    held = EncodedSplit(split.x_cat, split.x_num, split.y)
    assert file.size_bytes == split.n_rows * 4 + sum(
        part.nbytes for part in (held.x_cat, held.x_num, held.y)
    )


def test_counting_rows_are_those_above_0() -> None:
    table = pa.table({"w": _column(0.0, 2.0, 0.0, 1e-300)})

    assert counting(table, "w")["w"].to_pylist() == [2.0, 1e-300]
    assert counting(table, None) is table
