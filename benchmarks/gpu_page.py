"""The tables of the GPU benchmark's page: ceilings, speeds, differences."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.gpu_ceilings import Bound, Ceilings
from benchmarks.gpu_loops import EAGER, HALF_TOLERANCES, LOADER, TOLERANCES, Difference

WHEELS = "torch, numpy, pyarrow, pydantic, ruamel.yaml, torchmetrics, tzdata"


@dataclass
class Outcome:
    """What one contestant did; `step_s` has one entry per epoch and is empty where it is wrong."""

    difference: Difference
    peak_mb: float | None = None
    step_s: list[float] = field(default_factory=list[float])


@dataclass
class Cell:
    """One table and batch size: outcomes by contestant, and why the others have none."""

    table: str
    batch: int
    least: dict[str, Bound]
    outcomes: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    absent: dict[str, str] = field(default_factory=dict[str, str])

    def step_s(self, name: str) -> float | None:
        """Return the median seconds of a contestant's step, None where there is none."""
        outcome = self.outcomes.get(name)
        return statistics.median(outcome.step_s) if outcome and outcome.step_s else None


def ceilings_table(found: Ceilings) -> str:
    """Return the rates that bounds are made of."""
    return (
        "## Ceilings\n\n| what | measured |\n| --- | --- |\n"
        f"| copy, read and written | {found.copy_bytes_per_s / 1e9:,.1f} GB/s |\n"
        f"| matrix product, float32 | {found.float32_flops / 1e12:,.3f} TFLOP/s |\n\n"
    )


def speed_table(cell: Cell) -> str:
    """Return how fast each contestant of a cell is, or why it has no figure."""
    dense = cell.least[EAGER]
    lines = [
        f"## {cell.table.capitalize()} tables, batch {cell.batch:,}",
        "",
        f"At least {dense.seconds * 1e6:,.1f} µs a step, by {dense.which}: "
        f"{dense.flops / 1e9:.2f} GFLOP ({dense.flops_s * 1e6:,.1f} µs), "
        f"{dense.size_bytes / 1e6:,.1f} MB ({dense.bytes_s * 1e6:,.1f} µs).",
        "",
        "| contestant | million rows/s | µs a step | × DataLoader | of the bound | peak MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    loader_s = cell.step_s(LOADER)
    for name, least in cell.least.items():
        outcome, step_s = cell.outcomes.get(name), cell.step_s(name)
        if outcome is None or step_s is None:
            why = cell.absent.get(name, "wrong, see below")
            lines.append(f"| {name} | {why} | | | | |")
            continue
        over = "–" if loader_s is None else f"{loader_s / step_s:.1f}"
        peak = "–" if outcome.peak_mb is None else f"{outcome.peak_mb:,.0f}"
        speed = _spread([cell.batch / seconds / 1e6 for seconds in outcome.step_s])
        share = f"{least.seconds / step_s:.1%}"
        lines.append(f"| {name} | {speed} | {step_s * 1e6:,.0f} | {over} | {share} | {peak} |")
    return "\n".join(lines) + "\n\n"


def check_table(cells: Sequence[Cell]) -> str:
    """Return how far each contestant is from the loop on the CPU."""
    lines = [
        "## Right or wrong",
        "",
        "Two epochs of five steps with dropout 0 against the float32 loop on the CPU, same rows "
        "and weights: the largest absolute difference of a loss, and the norm of the weights' "
        "difference over that of their move.",
        "",
        "| table, batch | contestant | loss | move | |",
        "| --- | --- | --- | --- | --- |",
        f"| | tolerance | {TOLERANCES[0]:g} | {TOLERANCES[1]:g} | |",
        f"| | in half precision | {HALF_TOLERANCES[0]:g} | {HALF_TOLERANCES[1]:g} | |",
    ]
    for cell in cells:
        for name, outcome in cell.outcomes.items():
            off = outcome.difference
            move = "–" if off.move is None else f"{off.move:.1e}"
            lines.append(
                f"| {cell.table}, {cell.batch:,} | {name} | {off.loss:.1e} | {move} "
                f"| {'right' if off.is_right else 'wrong'} |"
            )
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"
