"""The tables of the GPU benchmark's page: speeds, ceilings, differences, targets."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks import gpu_check
from benchmarks.gpu_ceilings import Bound, Ceilings
from benchmarks.gpu_cell import ENTRANTS, LOADER, Outcome


@dataclass
class Measured:
    """One table and batch size: outcomes by contestant, and why the others have none."""

    table: str
    batch: int
    least: dict[str, Bound]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def rows_per_s(self, name: str) -> float | None:
        """Return the median speed of a contestant, None where there is none."""
        outcome = self.outcomes.get(name)
        return (
            self.batch / statistics.median(outcome.step_s) if outcome and outcome.step_s else None
        )

    def of_bound(self, name: str) -> float | None:
        """Return the share of the bound that a contestant reaches."""
        rate = self.rows_per_s(name)
        return None if rate is None else rate * self.least[name].seconds / self.batch

    def over_loader(self, name: str) -> float | None:
        """Return how many times faster than the DataLoader a contestant is."""
        rate, loader = self.rows_per_s(name), self.rows_per_s(LOADER)
        return None if rate is None or loader is None else rate / loader


def speed_table(cell: Measured) -> str:
    """Return how fast each contestant of a cell is, or why it has no figure."""
    dense = cell.least[LOADER]
    lines = [
        f"## {cell.table.capitalize()} tables, batch {cell.batch:,}",
        "",
        f"At least {dense.seconds * 1e6:,.1f} µs a step, by {dense.which}: "
        f"{dense.flops / 1e9:.2f} GFLOP ({dense.flops_s * 1e6:,.1f} µs), "
        f"{dense.size_bytes / 1e6:,.1f} MB ({dense.bytes_s * 1e6:,.1f} µs).",
        "",
        "| who | million rows/s | µs a step | × DataLoader | of the bound | peak MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in cell.least:
        outcome, rate = cell.outcomes.get(name), cell.rows_per_s(name)
        if outcome is None or rate is None:
            why = cell.absent.get(name, "wrong, see below")
            lines.append(f"| {name} | {why} | | | | |")
            continue
        over, share = cell.over_loader(name), cell.of_bound(name)
        assert share is not None
        cells = (
            name,
            _spread([cell.batch / seconds / 1e6 for seconds in outcome.step_s]),
            f"{cell.batch / rate * 1e6:,.0f}",
            "–" if over is None else f"{over:.1f}",
            f"{share:.1%}",
            "–" if outcome.peak_mb is None else f"{outcome.peak_mb:,.0f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n"


def check_table(cells: Sequence[Measured]) -> str:
    """Return how far each contestant is from float64."""
    lines = [
        "## Right or wrong",
        "",
        f"{gpu_check.N_STEPS} steps with dropout 0 against float64 on the CPU, same rows and "
        "weights. Largest absolute difference of a loss and of a weight; norm of the weights' "
        "difference over that of their move, after the first step and after the last. Dropout: two "
        "replays of a graph differ, and the same seed gives the same again.",
        "",
        "| table, batch | who | loss | weight | first move | move | dropout | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| | tolerance | {gpu_check.LOSS_TOLERANCE:g} | {gpu_check.WEIGHT_TOLERANCE:g} "
        f"| {gpu_check.FIRST_MOVE_TOLERANCE:g} | {gpu_check.MOVE_TOLERANCE:g} | | |",
    ]
    for cell in cells:
        for name, outcome in cell.outcomes.items():
            off = outcome.difference
            masks = {None: "–", True: "differs", False: "wrong"}[outcome.masks_differ]
            lines.append(
                f"| {cell.table}, {cell.batch:,} | {name} | {off.loss:.1e} | {off.weight:.1e} "
                f"| {off.first_move:.1e} | {off.move:.1e} | {masks} "
                f"| {'right' if outcome.is_right else 'wrong'} |"
            )
    return "\n".join(lines) + "\n\n"


def targets_table(cells: Sequence[Measured]) -> str:
    """Return what the best contestant of each cell reaches of what is aimed at."""
    lines = ["## Targets", "", "| what | aim | measured | |", "| --- | --- | --- | --- |"]

    def target(what: str, aim: float | None, shown: str, value: float | None) -> None:
        met = "" if aim is None or value is None else "met" if value >= aim else "missed"
        lines.append(f"| {what} | {shown} | {'–' if value is None else f'{value:.2f}'} | {met} |")

    for cell in cells:
        where = f"{cell.table}, batch {cell.batch:,}"
        residents = [name for name in cell.least if name != LOADER and cell.rows_per_s(name)]
        if not residents:
            lines.append(f"| {where}: nobody was measured | | – | |")
            continue
        best = max(residents, key=lambda name: cell.rows_per_s(name) or 0.0)
        target(f"{where}: {best}, over the DataLoader", 20, "≥ 20", cell.over_loader(best))
        target(f"{where}: {best}, share of the bound", 0.5, "≥ 0.5", cell.of_bound(best))
        sparse = [cell.rows_per_s(name) for name in residents if ENTRANTS[name].sparse]
        dense = cell.rows_per_s("resident, eager")
        if sparse and sparse[0] and dense:
            target(f"{where}: SparseAdam over fused dense Adam", None, "–", sparse[0] / dense)
    return "\n".join(lines) + "\n"


def ceilings_table(found: Ceilings) -> str:
    """Return the rates that bounds are made of."""
    lines = ["## Ceilings", "", "| what | measured |", "| --- | --- |"]
    lines.append(f"| copy, read and written | {found.copy_bytes_per_s / 1e9:,.0f} GB/s |")
    rates = (found.float32_flops, found.tf32_flops, found.bf16_flops)
    for name, rate in zip(("float32", "TF32", "bf16"), rates, strict=True):
        shown = "needs CUDA" if rate is None else f"{rate / 1e12:,.2f} TFLOP/s"
        lines.append(f"| matrix product, {name} | {shown} |")
    return "\n".join(lines) + "\n\n"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"
