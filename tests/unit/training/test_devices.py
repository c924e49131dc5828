"""The device that was asked for, or a way out."""

import pytest
import torch

from pipeline_lib.errors import DeviceError
from pipeline_lib.training.devices import choose_device, describe_device, suitable_threads


def test_the_cpu_is_always_there() -> None:
    device = choose_device("cpu")

    assert device.type == "cpu"
    assert describe_device(device) == "cpu"


@pytest.mark.parametrize("asked", ["cuda", "mps"])
def test_a_device_that_is_absent_is_told_with_the_setting_to_change(asked: str) -> None:
    if torch.cuda.is_available() if asked == "cuda" else torch.backends.mps.is_available():
        pytest.skip(f"this machine has {asked}")

    with pytest.raises(DeviceError, match=r"Set `training\.device: auto` or `cpu`") as raised:
        choose_device(asked)  # type: ignore[arg-type]

    assert asked in str(raised.value)
    assert raised.value.exit_code == 2


def test_auto_takes_a_gpu_where_there_is_one_and_the_cpu_elsewhere() -> None:
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()

    assert (choose_device("auto").type != "cpu") is has_gpu


@pytest.mark.parametrize(
    ("n_macs", "device", "n_threads"),
    [(64 * 28_720, "cpu", 1), (10**12, "cpu", 2), (64 * 28_720, "meta", 2)],
    ids=["small", "large", "not the cpu"],
)
def test_small_steps_take_one_thread_and_the_setting_comes_back_even_after_an_error(
    n_macs: int, device: str, n_threads: int
) -> None:
    torch.set_num_threads(2)
    seen: list[int] = []

    def fail_in_between() -> None:
        with suitable_threads(n_macs, torch.device(device)):
            seen.append(torch.get_num_threads())
            raise KeyError

    with pytest.raises(KeyError):
        fail_in_between()

    assert seen == [n_threads]
    assert torch.get_num_threads() == 2
