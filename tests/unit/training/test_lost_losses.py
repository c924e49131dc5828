"""A loss or gradient that is not finite stops the training and says where and why."""

from collections import Counter

import pytest
import torch

from pipeline_lib.errors import NonFiniteLossError
from tests.unit.training.loops import toy_loop, toy_split


def test_a_number_that_is_nan_stops_the_training_at_the_step_that_held_it() -> None:
    steps: list[int] = []

    for row in range(12):
        train = toy_split(12)
        train.x_num[row, 0] = float("nan")
        with pytest.raises(NonFiniteLossError, match="training loss is not finite") as raised:
            list(toy_loop(train, toy_split(5), batch_size=4).epochs())
        assert raised.value.epoch == 1
        steps.append(raised.value.step)

    assert Counter(steps) == {1: 4, 2: 4, 3: 4}


def test_a_number_too_large_for_fp16_is_told_with_the_precision_to_set() -> None:
    train = toy_split(40)
    train.x_num[3, 0] = 7e4

    with pytest.raises(NonFiniteLossError, match=r"Set `training\.precision: float32`"):
        list(toy_loop(train, toy_split(5), precision="fp16").epochs())
    list(toy_loop(train, toy_split(5)).epochs())


def test_gradients_that_overflow_at_any_scale_are_not_told_as_a_loss() -> None:
    loop = toy_loop(toy_split(40), toy_split(5), precision="fp16", batch_size=2, epochs=4)
    for weight in loop.model.parameters():
        weight.register_hook(lambda gradient: torch.full_like(gradient, torch.inf))

    with pytest.raises(NonFiniteLossError, match=r"^gradients overflow at any scale at epoch 2"):
        list(loop.epochs())


def test_nan_among_the_validation_rows_is_told_as_such() -> None:
    val = toy_split(5)
    val.x_num[2, 1] = float("nan")

    with pytest.raises(NonFiniteLossError, match="validation loss is not finite at epoch 1") as e:
        list(toy_loop(toy_split(20), val).epochs())

    assert "'x_num[1]' holds NaN" in str(e.value)


def test_of_many_extreme_columns_those_that_are_lost_are_named_first() -> None:
    train = toy_split(20, n_numeric=8)
    train.x_num[:, :7] = torch.arange(101.0, 108.0)
    train.x_num[3, 7] = float("nan")

    with pytest.raises(NonFiniteLossError) as raised:
        list(toy_loop(train, toy_split(5, n_numeric=8), batch_size="full").epochs())

    assert "'x_num[7]' holds NaN, 'x_num[6]' up to 107, 'x_num[5]'" in str(raised.value)
    assert "'x_num[0]'" not in str(raised.value)
    assert len(raised.value.extremes) == 8


def test_a_learning_rate_that_explodes_is_told_with_the_setting_to_lower() -> None:
    train = toy_split(40, task="regression")
    train.y.mul_(1e18)
    loop = toy_loop(
        train,
        toy_split(5, task="regression"),
        task="regression",
        epochs=50,
        optimizer={"kind": "sgd", "learning_rate": 10.0},
    )

    with pytest.raises(NonFiniteLossError, match=r"`training\.optimizer\.learning_rate`") as raised:
        list(loop.epochs())

    assert raised.value.learning_rate == 10.0
    assert "Nothing was registered" in str(raised.value)
    assert raised.value.exit_code == 1
