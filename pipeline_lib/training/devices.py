"""Where tensors live."""

from typing import Literal, assert_never

import torch

from pipeline_lib.errors import DeviceError


def choose_device(asked: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """Return the device asked for; `auto` takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        DeviceError: the device is not on this machine.
    """
    has_cuda = torch.cuda.is_available()
    has_mps = torch.backends.mps.is_available()
    match asked:
        case "auto":
            return torch.device("cuda" if has_cuda else "mps" if has_mps else "cpu")
        case "cpu":
            return torch.device("cpu")
        case "cuda" if not has_cuda:
            built = torch.version.cuda
            why = f"torch was built for CUDA {built}, no GPU answers" if built else "a CPU build"
            raise DeviceError(
                f"training.device: cuda was asked for, but torch finds none ({why}). "
                "Set `training.device: auto` or `cpu`, or install a CUDA build of torch."
            )
        case "mps" if not has_mps:
            raise DeviceError(
                "training.device: mps was asked for, but this is no Mac with Metal. "
                "Set `training.device: auto` or `cpu`."
            )
        case "cuda" | "mps":
            return torch.device(asked)
        case _:
            assert_never(asked)


def describe_device(device: torch.device) -> str:
    """Return what a person calls the device, such as `cuda (NVIDIA H200)` or `cpu (2 threads)`."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return device.type
