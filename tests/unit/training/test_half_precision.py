"""Steps in bf16 and fp16: near float32, weights in 32 bits, overflows left out or told."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.unit.training.steps import (
    Steep,
    batch_of,
    gradients_of,
    plain_network,
    stepper_of,
    torchs_own,
    weights_of,
)


def test_bf16_computes_activations_in_16_bits_and_keeps_weights_in_32() -> None:
    network = plain_network()
    kinds: list[torch.dtype] = []
    network.hidden.register_forward_hook(lambda _m, _x, out: kinds.append(out.dtype))

    stepper_of(network, precision="bf16").step(batch_of(), seed=0)

    assert kinds == [torch.bfloat16]
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert {gradient.dtype for gradient in gradients_of(network).values()} == {torch.float32}


def test_bf16_stays_near_float32_over_many_steps() -> None:
    network, twin = plain_network(), plain_network()
    ours = stepper_of(network, precision="bf16")
    torchs = torch.optim.SGD(twin.parameters(), lr=0.1)

    for step in range(30):
        batch = batch_of(seed=step)
        loss, _ = ours.step(batch, seed=step)
        torchs.zero_grad()
        expected = functional.cross_entropy(twin(batch.x_cat, batch.x_num), batch.y)
        expected.backward()
        torchs.step()

        # bfloat16 has 8 significant bits
        torch.testing.assert_close(loss, expected.detach(), rtol=2**-7, atol=0)
    torch.testing.assert_close(weights_of(network), weights_of(twin), rtol=0, atol=2**-7)


def test_fp16_stays_near_float32_over_many_steps_and_keeps_weights_in_32_bits() -> None:
    adam = {"kind": "adam", "learning_rate": 0.01}
    losses: dict[str, list[float]] = {}
    for precision in ("float32", "fp16"):
        network, batch = plain_network(), batch_of()
        stepper = stepper_of(network, precision=precision, optimizer=adam)
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

    batch = batch_of(n_classes=0)
    torch.manual_seed(0)
    network = Faint()
    _, twin = torchs_own(network, batch, lambda out, y: functional.mse_loss(out[:, 0], y) * 1e-3)
    stepper = stepper_of(network, task="regression", loss=None, precision="fp16")
    before = stepper._loss.summed
    stepper._loss.summed = lambda *rows: before(*rows) * 1e-3  # type: ignore[method-assign]

    stepper.step(batch, seed=0)

    expected = gradients_of(twin)["layer.weight"]
    assert float(expected.abs().max()) < 1e-6
    torch.testing.assert_close(
        gradients_of(network)["layer.weight"], expected, rtol=0.02, atol=1e-12
    )


def test_a_step_whose_gradients_overflow_in_fp16_is_left_out_and_the_scale_halved() -> None:
    network = plain_network()
    stepper = stepper_of(network, precision="fp16")
    stepper._scaler.load_state_dict({**stepper._scaler.state_dict(), "scale": 2.0**120})
    before = weights_of(network)

    loss, _ = stepper.step(batch_of(), seed=0)

    assert torch.isfinite(loss)
    assert all(torch.equal(before[name], value) for name, value in weights_of(network).items())
    assert stepper.state()["scaler"]["scale"] == 2.0**119
    assert not stepper.is_lost


@pytest.fixture
def visible_memory() -> Iterator[None]:
    """Let memory that nobody has written hold NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("visible_memory")
def test_momentum_begins_at_zero_though_the_first_step_overflows_in_fp16() -> None:
    plain, network = plain_network(), plain_network()
    settings = {"optimizer": {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9}}
    stepper_of(plain, **settings).step(batch_of(), seed=0)
    stepper = stepper_of(network, precision="fp16", **settings)
    stepper._scaler.load_state_dict({**stepper._scaler.state_dict(), "scale": 2.0**120})

    stepper.step(batch_of(), seed=0)
    stepper._scaler.load_state_dict({**stepper._scaler.state_dict(), "scale": 2.0**10})
    stepper.step(batch_of(), seed=0)

    torch.testing.assert_close(weights_of(network), weights_of(plain), rtol=0.02, atol=1e-3)


def test_fp16_is_lost_when_gradients_overflow_at_any_scale() -> None:
    network = Steep()
    stepper = stepper_of(network, task="binary", precision="fp16")
    batch = batch_of(n_classes=2)

    for seed in range(40):
        stepper.step(batch, seed=seed)

    assert stepper.is_lost
