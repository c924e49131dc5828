"""Weights of rows in the loss, the order of batches and the validation metric."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional

from pipeline_lib.config.columns import CategoryColumn, Column
from pipeline_lib.config.data import Task
from pipeline_lib.config.metrics import METRICS, Metric
from pipeline_lib.config.training import CrossEntropy, Huber, LossSettings, SquaredError
from pipeline_lib.encoding import EncodedSplit, Encoder, NumberTarget
from pipeline_lib.encoding.tensors import ROW_GROUP_ROWS
from pipeline_lib.training.batches import batch_bounds
from pipeline_lib.training.losses import TaskLoss, class_weights
from pipeline_lib.training.metrics import EpochMetric
from pipeline_lib.training.rows import (
    ChainedRows,
    StreamedSplit,
    TensorSplit,
    count_classes,
    open_split,
)
from tests.conftest import MakeTable
from tests.unit.encoding.in_memory import write_split
from tests.unit.training.loops import toy_loop, toy_split
from tests.unit.training.steps import (
    batch_of,
    gradients_of,
    plain_network,
    stepper_of,
    torchs_own,
    weights_of,
)

CPU = torch.device("cpu")
LOSSES: list[tuple[Task, LossSettings, int]] = [
    ("multiclass", CrossEntropy(), 3),
    ("multiclass", CrossEntropy(label_smoothing=0.2), 3),
    ("binary", CrossEntropy(), 1),
    ("binary", CrossEntropy(label_smoothing=0.2), 1),
    ("regression", SquaredError(), 1),
    ("regression", Huber(delta=0.5), 1),
]
COUNTS = st.lists(st.integers(1, 4), min_size=6, max_size=12)


def _batch(task: Task, n_rows: int, d_out: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(n_rows, d_out, generator=random, dtype=torch.float64)
    if task == "regression":
        return logits, torch.randn(n_rows, generator=random, dtype=torch.float64)
    return logits, torch.randint(0, max(d_out, 2), (n_rows,), generator=random)


@pytest.mark.parametrize(("task", "settings", "d_out"), LOSSES)
@pytest.mark.parametrize("with_classes", [False, True])
@given(counts=COUNTS)
def test_a_row_of_weight_k_is_k_rows_in_the_loss(
    task: Task, settings: LossSettings, d_out: int, with_classes: bool, counts: list[int]
) -> None:
    of_class = torch.tensor([0.5, 3.0, 1.0][: max(d_out, 2)], dtype=torch.float64)
    loss = TaskLoss(task, settings, of_class if with_classes and task != "regression" else None)
    logits, y = _batch(task, len(counts), d_out)
    copies, weight = torch.tensor(counts), torch.tensor(counts, dtype=torch.float32)

    weighted = loss(logits, y, weight)

    repeated = loss(logits.repeat_interleave(copies, dim=0), y.repeat_interleave(copies))
    torch.testing.assert_close(weighted, repeated)
    torch.testing.assert_close(weighted, loss(logits, y, weight * 7.0))


def test_the_weighted_loss_is_torchs_of_each_row_by_its_weight_and_its_class() -> None:
    logits, y = _batch("multiclass", 40, 3)
    weight = torch.rand(40, dtype=torch.float64) + 0.1
    of_class = torch.tensor([0.5, 3.0, 1.0], dtype=torch.float64)

    found = TaskLoss("multiclass", CrossEntropy(), of_class)(logits, y, weight)

    rows = functional.cross_entropy(logits, y, reduction="none")
    both = weight * of_class[y]
    torch.testing.assert_close(found, (rows * both).sum() / both.sum())


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("n_classes", [3, 0])
def test_a_steps_gradients_are_torchs_of_the_weighted_loss(
    n_classes: int, accumulation: int
) -> None:
    rows = batch_of(n_classes=n_classes)
    weight = torch.linspace(0.1, 3.0, rows.n_rows)
    batch = TensorSplit(rows.x_cat, rows.x_num, rows.y, weight)
    task: Task = "multiclass" if n_classes else "regression"
    network = plain_network(max(n_classes, 1))

    def mean(out: Tensor, y: Tensor) -> Tensor:
        if n_classes:
            losses = functional.cross_entropy(out, y, reduction="none")
        else:
            losses = functional.mse_loss(out[:, 0], y, reduction="none")
        return (losses * weight).sum() / weight.sum()

    expected, twin = torchs_own(network, batch, mean)

    loss, mass = stepper_of(network, task=task, accumulation=accumulation).step(batch, seed=0)

    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.as_tensor(mass), weight.sum())
    for name, gradient in gradients_of(network).items():
        torch.testing.assert_close(gradient, gradients_of(twin)[name], msg=name)


def test_a_step_on_weighted_rows_is_a_step_on_their_copies() -> None:
    rows, counts = batch_of(), torch.arange(60) % 3 + 1
    weighted = TensorSplit(rows.x_cat, rows.x_num, rows.y, counts.float())
    copies = rows.take(torch.arange(60).repeat_interleave(counts))
    one, other = plain_network(), plain_network()

    stepper_of(one).step(weighted, seed=0)
    stepper_of(other).step(copies, seed=0)

    for name, weight in weights_of(one).items():
        torch.testing.assert_close(weight, weights_of(other)[name], msg=name)


@pytest.mark.parametrize("task", ["multiclass", "binary", "regression"])
def test_validation_of_weighted_rows_is_that_of_their_copies(task: Task) -> None:
    train, val = toy_split(40, task=task), toy_split(30, task=task, seed=1)
    counts = torch.arange(30) % 4 + 1
    weighted = TensorSplit(val.x_cat, val.x_num, val.y, counts * 2.5)
    copies = val.take(torch.arange(30).repeat_interleave(counts))

    for metric in METRICS[task]:
        (one,), (other,) = (
            list(toy_loop(train, rows, task=task, primary=metric, epochs=1).epochs())
            for rows in (weighted, copies)
        )

        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-5)
        assert one.primary == pytest.approx(other.primary, rel=1e-5), metric


@pytest.mark.parametrize(("metric", "n_classes"), [(m, 3) for m in METRICS["multiclass"]])
@given(counts=st.lists(st.integers(1, 4), min_size=30, max_size=30), seed=st.integers(0, 99))
def test_a_weighted_metric_is_torchmetrics_own_of_as_many_copies(
    metric: Metric, n_classes: int, counts: list[int], seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    scores = torch.rand(30, n_classes, generator=random).softmax(dim=1)
    y = torch.randint(0, n_classes - seed % 2, (30,), generator=random)
    copies = torch.tensor(counts)
    weighted, plain = (EpochMetric(metric, n_classes=n_classes) for _ in range(2))

    for part in (slice(0, 11), slice(11, 30)):
        weighted.add(scores[part], y[part], copies[part] * 0.3)
    plain.add(scores.repeat_interleave(copies, dim=0), y.repeat_interleave(copies))

    assert weighted.compute(0.5) == pytest.approx(plain.compute(0.5), rel=1e-5)
    assert weighted.compute(0.5) is None or metric in ("log_loss", "accuracy", "brier")


@pytest.mark.parametrize("metric", ["r2", "roc_auc", "average_precision"])
def test_a_weighted_metric_is_undefined_where_it_is_without_weights(metric: Metric) -> None:
    n_classes = 0 if metric == "r2" else 2
    found = EpochMetric(metric, n_classes=n_classes)

    found.add(torch.rand(5, max(n_classes, 1)), torch.ones(5), torch.ones(5))

    assert found.compute(1.0) is None


def test_scores_that_are_not_finite_have_no_weighted_metric() -> None:
    found = EpochMetric("rmse")

    found.add(torch.tensor([[1.0], [torch.nan]]), torch.zeros(2), torch.ones(2))

    assert found.compute(1.0) is None


def test_balanced_classes_are_scikit_learns_of_weighted_rows() -> None:
    y, weight = torch.tensor([0, 1, 1, 2, 2, 2]), torch.tensor([2.0, 0.5, 1.0, 3.0, 0.25, 0.25])
    rows = TensorSplit(torch.zeros(6, 0), torch.zeros(6, 0), y, weight)

    counts = count_classes(rows, 3)
    found = class_weights(CrossEntropy(class_weights="balanced"), ["a", "b", "c"], counts)

    expected = compute_class_weight(
        "balanced", classes=np.arange(3), y=y.numpy(), sample_weight=weight.numpy()
    )
    assert found is not None
    assert found.tolist() == pytest.approx(expected.tolist())
    assert found.dtype == torch.float32


@pytest.fixture
def file(tmp_path: Path, toy_table: MakeTable) -> tuple[Path, Encoder, TensorSplit]:
    """Write rows of several row groups; target and weight number them."""
    columns: dict[str, Column] = {"color": CategoryColumn()}
    encoder, n_rows = Encoder.fit(toy_table(50), columns, today="2026-01-01"), ROW_GROUP_ROWS + 999
    numbers = np.arange(1, n_rows + 1, dtype=np.float32)
    x_cat = np.zeros((n_rows, 1), np.int32)
    split = EncodedSplit(x_cat, np.empty((n_rows, 0), np.float32), numbers, numbers * 2)
    write_split(tmp_path / "x.parquet", split, encoder, NumberTarget("label", 0.0, 1.0))
    return tmp_path / "x.parquet", encoder, TensorSplit.of(split, CPU)


def test_each_row_keeps_its_weight_wherever_its_batch_comes_from(
    file: tuple[Path, Encoder, TensorSplit],
) -> None:
    path, encoder, held = file
    streamed = open_split(path, encoder, CPU, budget_bytes=0)
    assert isinstance(streamed, StreamedSplit)
    bounds = batch_bounds(held.n_rows, 50_000)
    chained = ChainedRows((held, streamed))

    for batches in (
        held.batches(bounds, seed=3),
        streamed.batches(bounds, seed=3),
        held.in_order(7777),
        chained.in_order(50_000),
    ):
        for batch in batches:
            assert batch.weight is not None
            assert torch.equal(batch.weight, batch.y * 2)


def test_weights_count_among_the_bytes_of_rows(file: tuple[Path, Encoder, TensorSplit]) -> None:
    path, encoder, held = file

    assert held.size_bytes == held.n_rows * (4 + 0 + 4 + 4)
    assert isinstance(open_split(path, encoder, CPU, budget_bytes=held.size_bytes), TensorSplit)
    assert isinstance(
        open_split(path, encoder, CPU, budget_bytes=held.size_bytes - 1), StreamedSplit
    )


@pytest.mark.parametrize("optimizer", [{"kind": "sgd"}, {"kind": "adam"}])
def test_weights_times_a_power_of_2_give_the_same_training_to_the_bit(
    optimizer: dict[str, Any],
) -> None:
    rows = toy_split(60)
    weight = torch.rand(60, generator=torch.Generator().manual_seed(0)) + 0.1
    histories: list[list[tuple[float, float]]] = []
    for factor in (1.0, 4.0):
        train = TensorSplit(rows.x_cat, rows.x_num, rows.y, weight * factor)
        loop = toy_loop(train, train, optimizer=optimizer)
        histories.append([(r.train_loss, r.val_loss) for r in loop.epochs()])

    assert histories[0] == histories[1]
