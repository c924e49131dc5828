"""Where tensors live, and how many threads a step is worth."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal, assert_never

import torch

from pipeline_lib.errors import DeviceError

# Multiply-adds of a forward step below which a second thread costs more than it brings. With 1.8
# million (batch 64, 28,720 weights) two threads took 2.0 times the CPU seconds of one on an idle
# machine, and on a busy one they waited for each other: 100 s of wall time instead of 5 (2026-11).
_ONE_THREAD_MACS = 50_000_000


@contextmanager
def suitable_threads(n_macs: int, device: torch.device) -> Generator[None]:
    """Let torch use one CPU thread while steps are small; restore its setting afterwards.

    Args:
        n_macs: multiply-adds of one forward step: rows of a batch times weights.
        device: where the training runs.
    """
    before = torch.get_num_threads()
    if device.type == "cpu" and n_macs < _ONE_THREAD_MACS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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
    """Return what a person calls the device, such as `cuda (NVIDIA H200)` or `cpu`."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type
