"""The losses are torch's, and probabilities are scipy's."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torch.nn import functional

from pipeline_lib.training.losses import build_loss, probabilities


def test_the_multiclass_loss_is_cross_entropy() -> None:
    logits, y = torch.randn(20, 4), torch.randint(0, 4, (20,))

    assert build_loss("multiclass")(logits, y) == functional.cross_entropy(logits, y)


def test_the_binary_loss_is_cross_entropy_of_the_sigmoid() -> None:
    logits, y = torch.randn(20, 1), torch.randint(0, 2, (20,))

    loss = build_loss("binary")(logits, y)

    two = torch.cat([torch.zeros(20, 1), logits], dim=1)
    torch.testing.assert_close(loss, functional.cross_entropy(two, y))


def test_the_regression_loss_is_the_mean_squared_error() -> None:
    outputs, y = torch.randn(20, 1), torch.randn(20)

    assert build_loss("regression")(outputs, y) == functional.mse_loss(outputs[:, 0], y)


@pytest.mark.parametrize("n_logits", [1, 2, 5])
def test_probabilities_are_those_of_scipy_and_sum_to_1(n_logits: int) -> None:
    logits = torch.randn(20, n_logits, dtype=torch.float64) * 10

    probs = probabilities(logits).numpy()

    positive = expit(logits.numpy())
    expected = (
        np.hstack([1 - positive, positive]) if n_logits == 1 else softmax(logits.numpy(), axis=1)
    )
    np.testing.assert_allclose(probs, expected, atol=1e-12)
    np.testing.assert_allclose(probs.sum(axis=1), 1)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_extreme_logits_give_a_finite_loss(task: str) -> None:
    logits = torch.full((4, 1 if task == "binary" else 3), 1e4)
    logits[:, 0] *= -1

    loss = build_loss(task)(logits, torch.tensor([0, 1, 0, 1]))  # type: ignore[arg-type]

    assert torch.isfinite(loss)
