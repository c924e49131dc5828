"""A step's gradients are the whole batch's, in however many parts, and torch's own."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.config import CrossEntropy, Huber, LossSettings, Task, TrainingSettings
from pipeline_lib.errors import DeviceMemoryError
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.training.losses import TaskLoss
from pipeline_lib.training.optimizers import build_optimizers
from pipeline_lib.training.rows import TensorSplit
from pipeline_lib.training.step import Stepper

N_CODES = 40
CPU = torch.device("cpu")
SGD = {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.0}


class Plain(nn.Module):
    """A network without BatchNorm and dropout, so that rows do not depend on each other."""

    def __init__(self, d_out: int) -> None:
        super().__init__()
        self.table = nn.Embedding(N_CODES, 4)
        self.hidden = nn.Linear(6, 16)
        self.head = nn.Linear(16, d_out)

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        x = torch.cat([self.table(x_cat[:, 0]), x_num], dim=1)
        return self.head(torch.tanh(self.hidden(x)))


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


class Steep(nn.Module):
    """Its loss is finite where the gradient of its weight is not: a root at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        return torch.sqrt(self.weight).expand(len(x_num), 1)


def _network(d_out: int = 3) -> Plain:
    torch.manual_seed(0)
    return Plain(d_out)


def _batch(n_rows: int = 60, *, n_classes: int = 3, seed: int = 0) -> TensorSplit:
    random = torch.Generator().manual_seed(seed)
    x_num = torch.randn(n_rows, 2, generator=random)
    x_cat = torch.randint(0, N_CODES, (n_rows, 1), generator=random).to(torch.int32)
    if n_classes:
        return TensorSplit(x_cat, x_num, torch.randint(0, n_classes, (n_rows,), generator=random))
    return TensorSplit(x_cat, x_num, torch.randn(n_rows, generator=random))


def _stepper(
    network: nn.Module,
    *,
    task: Task = "multiclass",
    loss: LossSettings | None = None,
    weights: Tensor | None = None,
    **training: Any,
) -> Stepper:
    settings = TrainingSettings.model_validate({"optimizer": SGD, **training})
    optimizers = build_optimizers(settings.optimizer, network, sparse_above=settings.sparse_above)
    return Stepper(network, TaskLoss(task, loss, weights), optimizers, settings, CPU)


def _gradients(network: nn.Module) -> dict[str, Tensor]:
    """Return dense gradients by name."""
    found = {}
    for name, weight in network.named_parameters():
        assert weight.grad is not None
        found[name] = weight.grad.to_dense()
    return found


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


def _torchs(
    network: nn.Module, batch: TensorSplit, loss: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, nn.Module]:
    """Return torch's loss of the whole batch, and a copy of the network with its gradients."""
    twin = copy.deepcopy(network)
    value = loss(twin(batch.x_cat, batch.x_num), batch.y)
    value.backward()
    return value.detach(), twin


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
    network, batch = _network(3 if task == "multiclass" else 1), _batch(n_classes=n_classes)
    expected, twin = _torchs(network, batch, torchs_loss)
    stepper = _stepper(network, task=task, loss=settings, weights=weights, accumulation=n_parts)

    loss, mass = stepper.step(batch, seed=0)

    torch.testing.assert_close(_gradients(network), _gradients(twin))
    torch.testing.assert_close(loss, expected)
    assert float(mass) == pytest.approx(
        batch.n_rows if weights is None else float(weights[batch.y].sum())
    )


def test_no_part_is_a_single_row_that_batch_norm_could_not_take() -> None:
    network = Hungry(_network(), most_rows=1000)

    for n_rows in (2, 3, 5, 9, 60):
        _stepper(network, accumulation=1024).step(_batch(n_rows), seed=0)

    assert min(network.calls) >= 2
    assert sum(network.calls) == 2 + 3 + 5 + 9 + 60


@pytest.mark.parametrize("sparse_above", [None, N_CODES - 1], ids=["dense", "sparse"])
@pytest.mark.parametrize("longest", [1e-3, 0.1, 1e3])
def test_clipping_is_that_of_torch(longest: float, sparse_above: int | None) -> None:
    network, batch = _network(), _batch()
    _, twin = _torchs(network, batch, functional.cross_entropy)
    nn.utils.clip_grad_norm_(twin.parameters(), longest)
    stepper = _stepper(
        network, clip_norm=longest, sparse_above=sparse_above, optimizer={"kind": "adam"}
    )

    stepper.step(batch, seed=0)

    assert network.table.sparse is (sparse_above is not None)
    torch.testing.assert_close(_gradients(network), _gradients(twin))


def test_a_step_moves_weights_as_torchs_own_optimizer_does() -> None:
    network, batch = _network(), _batch()
    _, twin = _torchs(network, batch, functional.cross_entropy)
    torch.optim.SGD(twin.parameters(), lr=0.1).step()

    _stepper(network).step(batch, seed=0)

    torch.testing.assert_close(_weights(network), _weights(twin))


@pytest.mark.parametrize(("n_rows", "most_rows", "n_parts"), [(60, 16, 4), (61, 30, 4), (11, 5, 4)])
def test_out_of_memory_doubles_the_parts_and_the_gradients_are_still_the_whole_batchs(
    n_rows: int, most_rows: int, n_parts: int
) -> None:
    inner, batch = _network(), _batch(n_rows)
    _, twin = _torchs(inner, batch, nn.CrossEntropyLoss(W3))
    network = Hungry(inner, most_rows)
    stepper = _stepper(network, loss=CrossEntropy(), weights=W3)

    stepper.step(batch, seed=0)

    assert stepper.accumulation == n_parts
    torch.testing.assert_close(_gradients(inner), _gradients(twin))


def test_what_a_failed_try_computed_of_its_first_parts_is_not_counted_twice() -> None:
    inner, batch = _network(), _batch(11)
    _, twin = _torchs(inner, batch, functional.cross_entropy)
    network = Hungry(inner, 5)
    stepper = _stepper(network, accumulation=2)

    stepper.step(batch, seed=0)

    assert network.calls[:2] == [5, 6], "the first part fits and the second does not"
    torch.testing.assert_close(_gradients(inner), _gradients(twin))


def test_after_running_out_of_memory_the_next_step_starts_with_the_smaller_parts() -> None:
    network = Hungry(_network(), 16)
    stepper = _stepper(network)

    stepper.step(_batch(), seed=0)
    network.calls.clear()
    stepper.step(_batch(seed=1), seed=1)

    assert network.calls == [15, 15, 15, 15]


@pytest.mark.parametrize(("n_rows", "n_parts"), [(512, 64), (8, 4), (2, 1)])
def test_a_step_that_never_fits_is_told_with_its_rows_and_parts(n_rows: int, n_parts: int) -> None:
    network = _network()
    before = _weights(network)
    stepper = _stepper(Hungry(network, 0))

    with pytest.raises(DeviceMemoryError, match=rf"{n_rows} rows.*{n_parts} parts") as caught:
        stepper.step(_batch(n_rows), seed=0)

    assert (caught.value.batch_rows, caught.value.accumulation) == (n_rows, n_parts)
    assert "training.batch_size" in str(caught.value)
    torch.testing.assert_close(_weights(network), before, rtol=0, atol=0)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_gradient_that_is_not_finite_makes_the_reported_loss_nan(
    clip_norm: float | None,
) -> None:
    batch = TensorSplit(torch.zeros(4, 0), torch.ones(4, 1), torch.ones(4))
    assert functional.mse_loss(Steep()(batch.x_cat, batch.x_num)[:, 0], batch.y).isfinite()

    loss, _ = _stepper(Steep(), task="regression", clip_norm=clip_norm).step(batch, seed=0)

    assert bool(loss.isnan())


def test_who_may_refuse_a_step_is_asked_before_any_weight_moves() -> None:
    network = Steep()
    batch = TensorSplit(torch.zeros(4, 0), torch.ones(4, 1), torch.ones(4))
    asked: list[Tensor] = []

    def refuse(health: Tensor) -> None:
        asked.append(health)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        _stepper(network, task="regression").step(batch, seed=0, may_take=refuse)

    assert [bool(health.isnan()) for health in asked] == [True]
    assert network.weight.tolist() == [0.0]


def test_who_may_refuse_a_step_sees_its_loss_and_the_weights_as_they_were() -> None:
    network, batch = _network(), _batch()
    before = _weights(network)
    expected, _ = _torchs(network, batch, functional.cross_entropy)
    seen: list[tuple[Tensor, dict[str, Tensor]]] = []

    def look(health: Tensor) -> None:
        seen.append((health, _weights(network)))

    _stepper(network).step(batch, seed=0, may_take=look)

    ((health, weights),) = seen
    torch.testing.assert_close(health, expected)
    torch.testing.assert_close(weights, before, rtol=0, atol=0)
    assert not torch.equal(network.head.weight, before["head.weight"])


def test_bf16_computes_activations_in_16_bits_and_keeps_weights_in_32() -> None:
    network = _network()
    kinds: list[torch.dtype] = []
    network.hidden.register_forward_hook(lambda _m, _x, out: kinds.append(out.dtype))

    _stepper(network, precision="bf16").step(_batch(), seed=0)

    assert kinds == [torch.bfloat16]
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert {gradient.dtype for gradient in _gradients(network).values()} == {torch.float32}


def test_bf16_stays_near_float32_over_many_steps() -> None:
    network, twin = _network(), _network()
    ours = _stepper(network, precision="bf16")
    torchs = torch.optim.SGD(twin.parameters(), lr=0.1)

    for step in range(30):
        batch = _batch(seed=step)
        loss, _ = ours.step(batch, seed=step)
        torchs.zero_grad()
        expected = functional.cross_entropy(twin(batch.x_cat, batch.x_num), batch.y)
        expected.backward()
        torchs.step()

        # bfloat16 has 8 significant bits
        torch.testing.assert_close(loss, expected.detach(), rtol=2**-7, atol=0)
    torch.testing.assert_close(_weights(network), _weights(twin), rtol=0, atol=2**-7)


def test_fp16_stays_near_float32_over_many_steps_and_keeps_weights_in_32_bits() -> None:
    adam = {"kind": "adam", "learning_rate": 0.01}
    losses: dict[str, list[float]] = {}
    for precision in ("float32", "fp16"):
        network, batch = _network(), _batch()
        stepper = _stepper(network, precision=precision, optimizer=adam)
        losses[precision] = [float(stepper.step(batch, seed=i)[0]) for i in range(60)]
        assert {weight.dtype for weight in network.parameters()} == {torch.float32}

    assert losses["fp16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["fp16"][-1] < losses["fp16"][0] / 1.5


def test_gradients_too_small_for_fp16_arrive_because_the_loss_is_scaled() -> None:
    class Faint(nn.Module):
        """Its gradient is lost in 16 bits: the least number they hold is 6e-8."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
            return self.layer(x_num * 1e-3) * 1e-3

    batch = _batch(n_classes=0)
    torch.manual_seed(0)
    network = Faint()
    _, twin = _torchs(network, batch, lambda out, y: functional.mse_loss(out[:, 0], y) * 1e-3)
    stepper = _stepper(network, task="regression", loss=None, precision="fp16")
    before = stepper._loss.summed
    stepper._loss.summed = lambda logits, y: before(logits, y) * 1e-3  # type: ignore[method-assign]

    stepper.step(batch, seed=0)

    expected = _gradients(twin)["layer.weight"]
    assert float(expected.abs().max()) < 1e-6
    torch.testing.assert_close(_gradients(network)["layer.weight"], expected, rtol=0.02, atol=1e-12)


def test_a_step_whose_gradients_overflow_in_fp16_is_left_out_and_the_scale_halved() -> None:
    network = _network()
    stepper = _stepper(network, precision="fp16")
    stepper._scaler.load_state_dict({**stepper._scaler.state_dict(), "scale": 2.0**120})
    before = _weights(network)

    loss, _ = stepper.step(_batch(), seed=0)

    assert torch.isfinite(loss)
    assert all(torch.equal(before[name], value) for name, value in _weights(network).items())
    assert stepper.state()["scaler"]["scale"] == 2.0**119
    assert not stepper.is_lost


def test_a_step_that_overflows_in_some_weights_moves_those_of_no_optimizer() -> None:
    network = _network()
    network.head.weight.register_hook(lambda gradient: torch.full_like(gradient, torch.inf))
    optimizer = {"kind": "adam"}
    stepper = _stepper(network, precision="fp16", sparse_above=10, optimizer=optimizer)
    before = _weights(network)

    stepper.step(_batch(), seed=0)

    assert len(stepper._optimizers) == 2
    assert all(torch.equal(before[name], value) for name, value in _weights(network).items())
    assert stepper.state()["scaler"]["scale"] == 2.0**15


@pytest.fixture
def visible_memory() -> Iterator[None]:
    """Let memory that nobody has written hold NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("visible_memory")
def test_momentum_begins_at_zero_though_the_first_step_overflows_in_fp16() -> None:
    plain, network = _network(), _network()
    settings = {"optimizer": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9}}
    _stepper(plain, **settings).step(_batch(), seed=0)
    stepper = _stepper(network, precision="fp16", **settings)
    stepper._scaler.load_state_dict({**stepper._scaler.state_dict(), "scale": 2.0**120})

    stepper.step(_batch(), seed=0)
    stepper._scaler.load_state_dict({**stepper._scaler.state_dict(), "scale": 2.0**10})
    stepper.step(_batch(), seed=0)

    torch.testing.assert_close(_weights(network), _weights(plain), rtol=0.02, atol=1e-3)


def test_fp16_is_lost_when_gradients_overflow_at_any_scale() -> None:
    network = Steep()
    stepper = _stepper(network, task="binary", precision="fp16")
    batch = _batch(n_classes=2)

    for seed in range(40):
        stepper.step(batch, seed=seed)

    assert stepper.is_lost


def test_the_seed_of_a_step_decides_its_dropout_and_leaves_torchs_random_state() -> None:
    batch = _batch()

    def gradients(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(0)
        network = EmbeddingMLP((N_CODES,), n_numeric=2, d_out=3, d_hidden=(8,))
        torch.manual_seed(99)
        _stepper(network).step(batch, seed=seed)
        return _gradients(network)

    first = gradients(1)
    drawn_after = torch.rand(3)
    again, other = gradients(1), gradients(2)

    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    torch.manual_seed(99)
    assert torch.equal(drawn_after, torch.rand(3))


def test_a_step_that_ran_out_of_memory_once_equals_one_of_small_parts_from_the_start() -> None:
    batch = _batch()

    def stepped(most_rows: int, accumulation: int) -> dict[str, Tensor]:
        torch.manual_seed(0)
        inner = EmbeddingMLP((N_CODES,), n_numeric=2, d_out=3, d_hidden=(8,))
        _stepper(Hungry(inner, most_rows), accumulation=accumulation).step(batch, seed=1)
        return _weights(inner)

    torch.testing.assert_close(stepped(16, 1), stepped(60, 4), rtol=0, atol=0)


def test_a_try_that_failed_leaves_no_trace_in_the_averages_of_batch_norm() -> None:
    batch = _batch(11)

    def averages(most_rows: int, accumulation: int) -> dict[str, Tensor]:
        torch.manual_seed(0)
        inner = EmbeddingMLP((N_CODES,), n_numeric=2, d_out=3, d_hidden=(8,))
        _stepper(Hungry(inner, most_rows), accumulation=accumulation).step(batch, seed=1)
        return dict(inner.named_buffers())

    # of 11 rows in 2 parts the first has 5 and fits, the second has 6 and does not
    torch.testing.assert_close(averages(5, 2), averages(11, 4))
