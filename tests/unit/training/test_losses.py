"""The losses are torch's, and probabilities are scipy's."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.data import Task
from pipeline_lib.config.training import (
    CrossEntropy,
    Huber,
    LossSettings,
    SquaredError,
    TrainingSettings,
)
from pipeline_lib.errors import TrainingError
from pipeline_lib.fitting import fit
from pipeline_lib.models import EmbeddingMLP, probabilities
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.losses import TaskLoss, build_loss, class_weights
from pipeline_lib.training.rows import TensorSplit

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


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


def _batch(n_rows: int, n_classes: int, seed: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n_rows, n_classes, generator=random, dtype=torch.float64)
    return logits, torch.randint(0, n_classes, (n_rows,), generator=random)


@given(
    weights=st.none() | st.lists(st.floats(0.01, 100), min_size=2, max_size=6),
    smoothing=st.floats(0, 0.99),
    seed=st.integers(0, 2**31),
)
def test_weights_and_smoothing_of_many_classes_are_those_of_torch(
    weights: list[float] | None, smoothing: float, seed: int
) -> None:
    logits, y = _batch(20, len(weights or range(4)), seed)
    weight = torch.tensor(weights, dtype=torch.float64) if weights else None

    loss = TaskLoss("multiclass", CrossEntropy(label_smoothing=smoothing), weight)(logits, y)

    theirs = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
    torch.testing.assert_close(loss, theirs(logits, y))


@given(
    weights=st.none() | st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)),
    smoothing=st.floats(0, 0.99),
    seed=st.integers(0, 2**31),
)
def test_one_logit_has_the_loss_and_the_gradient_of_two(
    weights: tuple[float, float] | None, smoothing: float, seed: int
) -> None:
    logits, y = _batch(20, 2, seed)
    one = logits[:, :1].clone().requires_grad_()
    other = logits[:, :1].clone().requires_grad_()
    weight = torch.tensor(weights, dtype=torch.float64) if weights else None

    loss = TaskLoss("binary", CrossEntropy(label_smoothing=smoothing), weight)(one, y)
    loss.backward()

    theirs = nn.CrossEntropyLoss(weight=weight, label_smoothing=smoothing)
    expected = theirs(torch.cat([torch.zeros_like(other), other], dim=1), y)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("delta", [0.1, 1.0, 2.5])
def test_the_huber_loss_is_torchs(delta: float) -> None:
    outputs, y = 3 * torch.randn(50, 1), torch.randn(50)

    for loss in (
        TaskLoss("regression", Huber(delta=delta)),
        build_loss("regression", Huber(delta=delta)),
    ):
        torch.testing.assert_close(loss(outputs, y), nn.HuberLoss(delta=delta)(outputs[:, 0], y))


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=6))
def test_balanced_weights_are_those_of_scikit_learn(counts: list[int]) -> None:
    names = [f"class{number}" for number in range(len(counts))]

    weights = class_weights(CrossEntropy(class_weights="balanced"), names, torch.tensor(counts))

    y = np.repeat(np.arange(len(counts)), counts)
    expected = compute_class_weight("balanced", classes=np.arange(len(counts)), y=y)
    assert weights is not None
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)


def test_balanced_weights_make_all_classes_count_alike_in_the_sum_over_rows() -> None:
    counts = torch.tensor([90, 9, 1])

    weights = class_weights(CrossEntropy(class_weights="balanced"), ["a", "b", "c"], counts)

    assert weights is not None
    torch.testing.assert_close(weights * counts, torch.full((3,), 100 / 3))


def test_a_class_without_rows_has_a_finite_balanced_weight() -> None:
    counts = torch.tensor([90, 0])

    weights = class_weights(CrossEntropy(class_weights="balanced"), ["a", "b"], counts)

    assert weights is not None
    assert bool(torch.isfinite(weights).all())


def test_weights_stand_in_the_order_of_the_classes_and_are_1_where_none_is_named() -> None:
    settings = CrossEntropy(class_weights={"c": 3.0, "a": 0.5})

    weights = class_weights(settings, ["a", "b", "c"], torch.tensor([5, 5, 5]))

    assert weights is not None
    assert weights.tolist() == [0.5, 1.0, 3.0]


@pytest.mark.parametrize("settings", [None, CrossEntropy(), SquaredError(), Huber()])
def test_without_class_weights_in_the_settings_there_are_none(
    settings: LossSettings | None,
) -> None:
    assert class_weights(settings, ["a", "b"], torch.tensor([1, 9])) is None


def test_a_weight_of_a_class_that_no_row_has_stops_the_training_before_its_start(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    loss = {"kind": "cross_entropy", "class_weights": {"hot": 2.0, "smaller": 3.0}}
    config = table_config(training={"loss": loss})

    with pytest.raises(TrainingError, match=r"'smaller' is not a class; did you mean small\?"):
        fit(config, toy_table())


@pytest.mark.parametrize(
    ("task", "d_out"), [("multiclass", 3), ("binary", 1)], ids=["multiclass", "binary"]
)
def test_validation_is_told_without_weights_and_smoothing(task: Task, d_out: int) -> None:
    settings = CrossEntropy(label_smoothing=0.3, class_weights="balanced")
    random = torch.Generator().manual_seed(0)
    train, val = (
        TensorSplit(
            torch.zeros(n, 0, dtype=torch.int32),
            torch.randn(n, 2, generator=random),
            torch.randint(0, max(d_out, 2), (n,), generator=random),
        )
        for n in (60, 40)
    )
    loop = TrainingLoop(
        EmbeddingMLP((), n_numeric=2, d_out=d_out, d_hidden=(4,)),
        train,
        val,
        task=task,
        primary="log_loss",
        training=TrainingSettings(epochs=1, loss=settings, device="cpu"),
        n_classes=max(d_out, 2),
        class_weights=torch.tensor([1.0, 20.0, 0.1][: max(d_out, 2)]),
    )

    (record,) = loop.epochs()

    with torch.no_grad():
        logits = loop.model(val.x_cat, val.x_num)
    if d_out == 1:
        logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
    assert record.val_loss == pytest.approx(float(functional.cross_entropy(logits, val.y)))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_parts_of_a_batch_add_up_to_the_loss_of_the_whole(task: Task) -> None:
    logits, y = _batch(30, 2, 0)
    logits = logits[:, :1] if task == "binary" else logits
    weights = torch.tensor([0.2, 5.0], dtype=torch.float64)
    loss = TaskLoss(task, CrossEntropy(label_smoothing=0.1), weights)

    cuts = [slice(0, 7), slice(7, 19), slice(19, 30)]
    total = sum(loss.summed(logits[cut], y[cut]) for cut in cuts)
    mass = sum(loss.mass(y[cut]) for cut in cuts)

    two = torch.cat([torch.zeros_like(logits), logits], dim=1) if task == "binary" else logits
    expected = functional.cross_entropy(two, y, weight=weights, label_smoothing=0.1)
    torch.testing.assert_close(total / mass, expected)
