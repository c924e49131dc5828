"""A split none of whose rows counts is refused; weights move no row."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline_lib.data.splits.assign import SPLITS, SplitAssigner
from pipeline_lib.errors import ContractError
from tests.conftest import MakeConfig, MakeTable

BY = ["color", "size"]


def assigner_of(config: MakeConfig, **data: str) -> SplitAssigner:
    made = config(data=dict(data))
    return SplitAssigner(made.split, by=BY, data=made.data)


@pytest.mark.parametrize("empty", [["train"], ["val"], ["test"], ["val", "test"]])
def test_a_split_without_a_weight_above_0_is_named(
    table_config: MakeConfig, toy_table: MakeTable, empty: list[str]
) -> None:
    table = toy_table(100)
    plain, weighted = assigner_of(table_config), assigner_of(table_config, weight="w")
    plain.add(table)
    splits = plain.finish().splits
    numbers = [SPLITS.index(name) for name in SPLITS if name in empty]
    weights = np.where(np.isin(splits, numbers), 0.0, 3.0)

    for start in range(0, 100, 30):
        batch = table.append_column("w", pa.array(weights)).slice(start, 30)
        weighted.add(batch)
    with pytest.raises(ContractError) as raised:
        weighted.finish()

    assert f"column 'w': no row of {' and '.join(empty)} has a weight above 0" in str(raised.value)


def test_weights_move_no_row(table_config: MakeConfig, toy_table: MakeTable) -> None:
    table = toy_table(100)
    plain, weighted = assigner_of(table_config), assigner_of(table_config, weight="w")

    plain.add(table)
    weighted.add(table.append_column("w", pa.array(np.arange(100.0))))

    assert weighted.finish().splits.tolist() == plain.finish().splits.tolist()
