"""Which machine and versions a result was measured with, and where the result is written."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path


def machine_line() -> str:
    """Return one line: processor, cores, Python, torch, date."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()}; "
        f"Python {platform.python_version()}, torch {version('torch')}; "
        f"{datetime.now(UTC).date().isoformat()}"
    )


def publish_result(text: str, out: Path | None, *, command: str) -> None:
    """Print a result in markdown and, where `out` is given, write it there.

    Args:
        text: headings, tables and remarks.
        out: the file, or None.
        command: what a reader types to measure again.
    """
    page = f"{text}\nMeasured on: {machine_line()}. Again: `{command}`.\n"
    print(page)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")


def _processor() -> str:
    """Return the processor's name as Linux tells it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return " ".join(names[0].split()) if names else platform.machine()
