"""A step's gradients are the whole batch's, in however many parts, and torch's own."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.config.training import CrossEntropy, Huber
from pipeline_lib.errors import DeviceMemoryError
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.training.rows import TensorSplit
from tests.unit.training.steps import (
    N_CODES,
    Steep,
    batch_of,
    gradients_of,
    plain_network,
    stepper_of,
    torchs_own,
    weights_of,
)


class Hungry(nn.Module):
    """Runs out of memory at more than so many rows, and notes the rows of each call."""

    def __init__(self, network: nn.Module, most_rows: int) -> None:
        super().__init__()
        self.network, self.most_rows = network, most_rows
        self.calls: list[int] = []

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        self.calls.append(len(x_num))
        if len(x_num) > self.most_rows:
            raise torch.OutOfMemoryError(f"{len(x_num)} rows")
        out: Tensor = self.network(x_cat, x_num)
        return out


def _two_logits(logits: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(logits), logits], dim=1)


W3, W2 = torch.tensor([0.2, 1.0, 7.0]), torch.tensor([0.3, 4.0])
LOSSES = {
    "multiclass": ("multiclass", None, None, functional.cross_entropy),
    "multiclass-weighted": (
        "multiclass",
        CrossEntropy(label_smoothing=0.1),
        W3,
        nn.CrossEntropyLoss(W3, label_smoothing=0.1),
    ),
    "binary-weighted": (
        "binary",
        CrossEntropy(label_smoothing=0.1),
        W2,
        lambda x, y: functional.cross_entropy(_two_logits(x), y, W2, label_smoothing=0.1),
    ),
    "huber": (
        "regression",
        Huber(delta=0.5),
        None,
        lambda x, y: functional.huber_loss(x[:, 0], y, delta=0.5),
    ),
}


@pytest.mark.parametrize("n_parts", [1, 2, 3, 7, 30, 1024])
@pytest.mark.parametrize("kind", LOSSES)
def test_the_gradients_of_any_number_of_parts_are_those_of_the_whole_batch(
    kind: str, n_parts: int
) -> None:
    task, settings, weights, torchs_loss = LOSSES[kind]
    n_classes = {"multiclass": 3, "binary": 2, "regression": 0}[task]
    network, batch = plain_network(3 if task == "multiclass" else 1), batch_of(n_classes=n_classes)
    expected, twin = torchs_own(network, batch, torchs_loss)
    stepper = stepper_of(network, task=task, loss=settings, weights=weights, accumulation=n_parts)

    loss, mass = stepper.step(batch, seed=0)

    torch.testing.assert_close(gradients_of(network), gradients_of(twin))
    torch.testing.assert_close(loss, expected)
    assert float(mass) == pytest.approx(
        batch.n_rows if weights is None else float(weights[batch.y].sum())
    )


def test_no_part_is_a_single_row_that_batch_norm_could_not_take() -> None:
    network = Hungry(plain_network(), most_rows=1000)

    for n_rows in (2, 3, 5, 9, 60):
        stepper_of(network, accumulation=1024).step(batch_of(n_rows), seed=0)

    assert min(network.calls) >= 2
    assert sum(network.calls) == 2 + 3 + 5 + 9 + 60


@pytest.mark.parametrize("sparse_above", [None, N_CODES - 1], ids=["dense", "sparse"])
@pytest.mark.parametrize("longest", [1e-3, 0.1, 1e3])
def test_clipping_is_that_of_torch(longest: float, sparse_above: int | None) -> None:
    network, batch = plain_network(), batch_of()
    _, twin = torchs_own(network, batch, functional.cross_entropy)
    nn.utils.clip_grad_norm_(twin.parameters(), longest)
    stepper = stepper_of(
        network, clip_norm=longest, sparse_above=sparse_above, optimizer={"kind": "adam"}
    )

    stepper.step(batch, seed=0)

    assert network.table.sparse is (sparse_above is not None)
    torch.testing.assert_close(gradients_of(network), gradients_of(twin))


def test_a_step_moves_weights_as_torchs_own_optimizer_does() -> None:
    network, batch = plain_network(), batch_of()
    _, twin = torchs_own(network, batch, functional.cross_entropy)
    torch.optim.SGD(twin.parameters(), lr=0.1).step()

    stepper_of(network).step(batch, seed=0)

    torch.testing.assert_close(weights_of(network), weights_of(twin))


@pytest.mark.parametrize(("n_rows", "most_rows", "n_parts"), [(60, 16, 4), (61, 30, 4), (11, 5, 4)])
def test_out_of_memory_doubles_the_parts_and_the_gradients_are_still_the_whole_batchs(
    n_rows: int, most_rows: int, n_parts: int
) -> None:
    inner, batch = plain_network(), batch_of(n_rows)
    _, twin = torchs_own(inner, batch, nn.CrossEntropyLoss(W3))
    network = Hungry(inner, most_rows)
    stepper = stepper_of(network, loss=CrossEntropy(), weights=W3)

    stepper.step(batch, seed=0)

    assert stepper.accumulation == n_parts
    torch.testing.assert_close(gradients_of(inner), gradients_of(twin))


def test_what_a_failed_try_computed_of_its_first_parts_is_not_counted_twice() -> None:
    inner, batch = plain_network(), batch_of(11)
    _, twin = torchs_own(inner, batch, functional.cross_entropy)
    network = Hungry(inner, 5)
    stepper = stepper_of(network, accumulation=2)

    stepper.step(batch, seed=0)

    assert network.calls[:2] == [5, 6], "the first part fits and the second does not"
    torch.testing.assert_close(gradients_of(inner), gradients_of(twin))


def test_after_running_out_of_memory_the_next_step_starts_with_the_smaller_parts() -> None:
    network = Hungry(plain_network(), 16)
    stepper = stepper_of(network)

    stepper.step(batch_of(), seed=0)
    network.calls.clear()
    stepper.step(batch_of(seed=1), seed=1)

    assert network.calls == [15, 15, 15, 15]


@pytest.mark.parametrize(("n_rows", "n_parts"), [(512, 64), (8, 4), (2, 1)])
def test_a_step_that_never_fits_is_told_with_its_rows_and_parts(n_rows: int, n_parts: int) -> None:
    network = plain_network()
    before = weights_of(network)
    stepper = stepper_of(Hungry(network, 0))

    with pytest.raises(DeviceMemoryError, match=rf"{n_rows} rows.*{n_parts} parts") as caught:
        stepper.step(batch_of(n_rows), seed=0)

    assert (caught.value.batch_rows, caught.value.accumulation) == (n_rows, n_parts)
    assert "training.batch_size" in str(caught.value)
    torch.testing.assert_close(weights_of(network), before, rtol=0, atol=0)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_gradient_that_is_not_finite_makes_the_reported_loss_nan(
    clip_norm: float | None,
) -> None:
    batch = TensorSplit(torch.zeros(4, 0), torch.ones(4, 1), torch.ones(4))
    assert functional.mse_loss(Steep()(batch.x_cat, batch.x_num)[:, 0], batch.y).isfinite()

    loss, _ = stepper_of(Steep(), task="regression", clip_norm=clip_norm).step(batch, seed=0)

    assert bool(loss.isnan())


def test_who_may_refuse_a_step_is_asked_before_any_weight_moves() -> None:
    network = Steep()
    batch = TensorSplit(torch.zeros(4, 0), torch.ones(4, 1), torch.ones(4))
    asked: list[Tensor] = []

    def refuse(health: Tensor) -> None:
        asked.append(health)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        stepper_of(network, task="regression").step(batch, seed=0, may_take=refuse)

    assert [bool(health.isnan()) for health in asked] == [True]
    assert network.weight.tolist() == [0.0]


def test_who_may_refuse_a_step_sees_its_loss_and_the_weights_as_they_were() -> None:
    network, batch = plain_network(), batch_of()
    before = weights_of(network)
    expected, _ = torchs_own(network, batch, functional.cross_entropy)
    seen: list[tuple[Tensor, dict[str, Tensor]]] = []

    def look(health: Tensor) -> None:
        seen.append((health, weights_of(network)))

    stepper_of(network).step(batch, seed=0, may_take=look)

    ((health, weights),) = seen
    torch.testing.assert_close(health, expected)
    torch.testing.assert_close(weights, before, rtol=0, atol=0)
    assert not torch.equal(network.head.weight, before["head.weight"])


def test_a_step_that_overflows_in_some_weights_moves_those_of_no_optimizer() -> None:
    network = plain_network()
    network.head.weight.register_hook(lambda gradient: torch.full_like(gradient, torch.inf))
    optimizer = {"kind": "adam"}
    stepper = stepper_of(network, precision="fp16", sparse_above=10, optimizer=optimizer)
    before = weights_of(network)

    stepper.step(batch_of(), seed=0)

    assert len(stepper._optimizers) == 2
    assert all(torch.equal(before[name], value) for name, value in weights_of(network).items())
    assert stepper.state()["scaler"]["scale"] == 2.0**15


def test_the_seed_of_a_step_decides_its_dropout_and_leaves_torchs_random_state() -> None:
    batch = batch_of()

    def gradients(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(0)
        network = EmbeddingMLP((N_CODES,), n_numeric=2, d_out=3, d_hidden=(8,))
        torch.manual_seed(99)
        stepper_of(network).step(batch, seed=seed)
        return gradients_of(network)

    first = gradients(1)
    drawn_after = torch.rand(3)
    again, other = gradients(1), gradients(2)

    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    torch.manual_seed(99)
    assert torch.equal(drawn_after, torch.rand(3))


def test_a_step_that_ran_out_of_memory_once_equals_one_of_small_parts_from_the_start() -> None:
    batch = batch_of()

    def stepped(most_rows: int, accumulation: int) -> dict[str, Tensor]:
        torch.manual_seed(0)
        inner = EmbeddingMLP((N_CODES,), n_numeric=2, d_out=3, d_hidden=(8,))
        stepper_of(Hungry(inner, most_rows), accumulation=accumulation).step(batch, seed=1)
        return weights_of(inner)

    torch.testing.assert_close(stepped(16, 1), stepped(60, 4), rtol=0, atol=0)


def test_a_try_that_failed_leaves_no_trace_in_the_averages_of_batch_norm() -> None:
    batch = batch_of(11)

    def averages(most_rows: int, accumulation: int) -> dict[str, Tensor]:
        torch.manual_seed(0)
        inner = EmbeddingMLP((N_CODES,), n_numeric=2, d_out=3, d_hidden=(8,))
        stepper_of(Hungry(inner, most_rows), accumulation=accumulation).step(batch, seed=1)
        return dict(inner.named_buffers())

    # of 11 rows in 2 parts the first has 5 and fits, the second has 6 and does not
    torch.testing.assert_close(averages(5, 2), averages(11, 4))
