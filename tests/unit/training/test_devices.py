"""The device that was asked for, or a way out."""

import pytest
import torch

from pipeline_lib.errors import DeviceError
from pipeline_lib.training import choose_device
from pipeline_lib.training.devices import describe_device


def test_the_cpu_is_always_there() -> None:
    device = choose_device("cpu")

    assert device.type == "cpu"
    assert describe_device(device) == f"cpu ({torch.get_num_threads()} threads)"


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
