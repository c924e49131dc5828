"""Seconds of work on a device, between two events in its stream; on a CPU, by the wall clock."""

import time

import torch


class Stopwatch:
    """Runs from its making, when the device has nothing left to do, to `stop`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            self._start = torch.cuda.Event(enable_timing=True)
            self._start.record()
        else:
            self._start_s = time.perf_counter()

    def stop(self) -> float:
        """Return the seconds until all work given to the device before this call was done."""
        if self._device.type != "cuda":
            return time.perf_counter() - self._start_s
        end = torch.cuda.Event(enable_timing=True)
        end.record()
        torch.cuda.synchronize(self._device)
        return self._start.elapsed_time(end) / 1000
