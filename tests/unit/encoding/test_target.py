"""Labels as class numbers, numbers as standardized floats, and back."""

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding import (
    ClassTarget,
    NumberTarget,
    fit_target,
    target_from_json,
    target_to_json,
)
from pipeline_lib.errors import ContractError

MakeConfig = Callable[..., PipelineConfig]


def _column(values: list[str] | list[float] | list[str | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values)])


def test_classes_are_sorted_unless_the_config_orders_them(table_config: MakeConfig) -> None:
    labels = _column(["b", "c", "a"])

    by_name = fit_target(table_config().data, labels, labels)
    declared = fit_target(table_config(data={"classes": ["c", "a", "b"]}).data, labels, labels)

    assert by_name == ClassTarget("label", ("a", "b", "c"))
    assert declared == ClassTarget("label", ("c", "a", "b"))
    assert isinstance(declared, ClassTarget)
    assert declared.encode(labels).tolist() == [2, 0, 1]


@pytest.mark.parametrize(("n_classes", "d_out"), [(2, 1), (3, 3), (10, 10)])
def test_two_classes_take_one_logit_and_more_take_one_each(n_classes: int, d_out: int) -> None:
    assert ClassTarget("label", tuple("abcdefghij"[:n_classes])).d_out == d_out


def test_a_class_without_a_training_row_is_told(table_config: MakeConfig) -> None:
    train, every = _column(["a", "b"]), _column(["a", "b", "c"])

    with pytest.raises(ContractError, match=r"classes without a training row: 'c'.*`split\.seed`"):
        fit_target(table_config().data, train, every)


def test_a_label_that_is_null_or_no_class_is_told() -> None:
    with pytest.raises(ContractError, match="2 rows hold 'c', None; the classes are 'a', 'b'"):
        ClassTarget("label", ("a", "b")).encode(_column(["a", "c", None]))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_a_number_comes_back_in_its_own_unit(values: list[float]) -> None:
    data = PipelineConfig.model_validate(
        {
            "name": "toy",
            "data": {
                "source": {"kind": "csv", "path": "x.csv"},
                "target": "y",
                "task": "regression",
            },
            "columns": {"x": {"kind": "number"}},
        }
    ).data
    target = fit_target(data, _column(values), _column(values))

    assert isinstance(target, NumberTarget)
    again = target.decode(target.encode(_column(values)))

    span = max(abs(value) for value in values)
    np.testing.assert_allclose(again, values, rtol=1e-5, atol=1e-5 * span + 1e-30)


def test_a_number_is_standardized_by_the_training_rows_alone(table_config: MakeConfig) -> None:
    data = table_config(data={"task": "regression"}).data

    target = fit_target(data, _column([1.0, 3.0]), _column([1.0, 3.0, 1e6]))

    assert target == NumberTarget("label", 2.0, 1.0)


@pytest.mark.parametrize(
    "target", [ClassTarget("label", ("a", "é", "2")), NumberTarget("price", 1 / 3, 2.5e-7)]
)
def test_a_target_survives_json_to_the_bit(target: ClassTarget | NumberTarget) -> None:
    text = json.dumps(target_to_json(target))

    assert target_from_json(json.loads(text)) == target
