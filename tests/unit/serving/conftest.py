"""A small model, and raw rows for it."""

from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.serving import FittedModel

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


@pytest.fixture(scope="module")
def model(table_config: MakeConfig, toy_table: MakeTable) -> FittedModel:
    """Return a small multiclass model of `color` and `size`."""
    return fit(table_config(training={"epochs": 15}), toy_table(400))


@pytest.fixture(scope="module")
def doors_model(table_config: MakeConfig) -> FittedModel:
    """Return a model whose category column holds words that are mostly whole numbers."""
    doors = ["2", "3", "4", "5more"] * 50
    table = pa.table(
        {
            "doors": doors,
            "size": [float(i) for i in range(200)],
            "label": ["few" if d in "23" else "many" for d in doors],
        }
    )
    columns = {"doors": {"kind": "category"}, "size": {"kind": "number"}}
    return fit(table_config(columns=columns, data={"task": "binary"}), table)


def rows_of(colors: list[Any], sizes: list[Any] | None = None) -> pd.DataFrame:
    """Return raw rows of the model's columns."""
    return pd.DataFrame({"color": colors, "size": sizes or [20.0 + i for i in range(len(colors))]})
