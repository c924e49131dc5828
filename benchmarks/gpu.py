"""How fast the product's training loop is on a GPU, and how far from what the device can do.

Needs the wheels that its page names. See `gpu_loops` for the contestants and for what makes one of
them wrong, `gpu_ceilings` for the bound, `gpu_page` for the tables. Without a GPU `--device cpu
--quick` runs to the end with small sizes, and the page says that it is of a CPU.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import torch

from benchmarks.gpu_ceilings import Ceilings, bound, measure_ceilings, now
from benchmarks.gpu_loops import (
    CHECK_STEPS,
    ENTRANTS,
    Entrant,
    LoadedRows,
    cardinalities,
    difference,
    network,
    on_device,
    synthetic_rows,
    training_loop,
)
from benchmarks.gpu_page import WHEELS, Cell, Outcome, ceilings_table, check_table, speed_table
from benchmarks.machine import publish_result
from pipeline_lib.errors import EvergreenError
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.records import EpochRecord
from pipeline_lib.training.rows import TensorSplit
from pipeline_lib.wording import first_line

DROPOUT = 0.4
N_WORKERS = min(8, os.cpu_count() or 1)
HEAD = """# The training loop on a GPU

`pipeline_lib.training.loop` with the embedding MLP of widths 200, 100, 50, dropout {dropout}, 10
columns of codes and 5 of numbers, {n_rows:,} rows; float32 without TF32 and fused Adam unless the
line says otherwise. Medians (least–most) of {rounds} interleaved epochs after a first one that does
not count; an epoch pays for its order, its looks at the losses and 256 rows of validation. The
DataLoader ({n_workers} workers) feeds the same loop. "Of the bound" is the least time that the
larger of arithmetic and bytes leaves, over the time taken; formulas in
`benchmarks/gpu_ceilings.py`. Peak memory leaves out the rows.

Device: {device}. Wheels: {wheels}.

"""


def main() -> None:
    """Measure, and print the page."""
    asked = _arguments()
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device; `--device cpu --quick` shows what would be measured")
    batches = asked.batches or ([64, 256] if asked.quick else [1024, 4096, 16_384, 65_536])
    n_rows = asked.rows or (4096 if asked.quick else 2_500_000)
    if n_rows < (least := max(batches) * CHECK_STEPS):
        sys.exit(f"--rows {n_rows:,} are too few for {max(batches):,} a step: take {least:,}")
    deadline = monotonic() + 60 * asked.minutes
    n_workers = 2 if asked.quick else N_WORKERS
    ceilings = measure_ceilings(device, quick=asked.quick)
    page = HEAD.format(
        dropout=DROPOUT,
        n_rows=n_rows,
        rounds=asked.rounds,
        n_workers=n_workers,
        device=_device_line(device),
        wheels=WHEELS,
    )
    page += ceilings_table(ceilings)
    cells: list[Cell] = []
    for table in asked.tables:
        sizes = cardinalities(table, quick=asked.quick)
        bench = Bench(table, sizes, synthetic_rows(sizes, n_rows), device, n_workers)
        for batch in batches:
            cells.append(bench.measure(batch, asked.rounds, ceilings, deadline))
            page += speed_table(cells[-1])
    page += check_table(cells)
    publish_result(page, asked.out, command=" ".join(["python -m benchmarks.gpu", *sys.argv[1:]]))


class Bench:
    """The contestants of one table."""

    def __init__(
        self,
        table: str,
        sizes: tuple[int, ...],
        rows: TensorSplit,
        device: torch.device,
        n_workers: int,
    ) -> None:
        self._table, self._sizes, self._device = table, sizes, device
        self._cpu_rows, self._rows, self._n_workers = rows, on_device(rows, device), n_workers
        self._entrants = {
            name: entrant
            for name, entrant in ENTRANTS.items()
            if (entrant.with_large if table == "large" else entrant.with_small)
        }

    def measure(self, batch: int, rounds: int, ceilings: Ceilings, deadline: float) -> Cell:
        """Check every contestant, then time those that are right in interleaved epochs."""
        plain = network(self._sizes, dropout=DROPOUT)
        cell = Cell(self._table, batch, {})
        timed: dict[str, tuple[TrainingLoop, Iterator[EpochRecord]]] = {}
        for name, entrant in self._entrants.items():
            above = entrant.settings["sparse_above"]
            assert above is None or isinstance(above, int)
            cell.least[name] = bound(plain, batch, ceilings, sparse_above=above)
            if entrant.needs_cuda and self._device.type != "cuda":
                cell.absent[name] = "needs CUDA"
            elif monotonic() > deadline:
                cell.absent[name] = "out of time, see `--minutes`"
            else:
                print(f"{self._table}, {batch:,}: {name}", file=sys.stderr, flush=True)
                try:
                    self._begin(name, entrant, batch, rounds, cell, timed)
                except (EvergreenError, RuntimeError) as error:
                    cell.absent[name] = f"failed: {first_line(error)[:160].replace('|', '/')}"
        for _ in range(rounds):
            for name, (loop, epochs) in timed.items():
                start = now(self._device)
                next(epochs)
                cell.outcomes[name].step_s.append((now(self._device) - start) / loop.n_steps)
        return cell

    def _begin(
        self,
        name: str,
        entrant: Entrant,
        batch: int,
        rounds: int,
        cell: Cell,
        timed: dict[str, tuple[TrainingLoop, Iterator[EpochRecord]]],
    ) -> None:
        """Check a contestant; if it is right, train the epoch that does not count."""
        few = self._cpu_rows.slice(0, batch * CHECK_STEPS)
        off = difference(entrant, self._sizes, few, self._rows_of(entrant, few))
        outcome = cell.outcomes[name] = Outcome(off)
        if not off.is_right:
            return
        before = self._memory()
        loop = training_loop(
            entrant,
            self._sizes,
            self._rows_of(entrant, None),
            batch=batch,
            dropout=DROPOUT,
            epochs=rounds + 1,
        )
        epochs = loop.epochs()
        next(epochs)
        if self._device.type == "cuda":
            outcome.peak_mb = (torch.cuda.max_memory_allocated() - before) / 1e6
        timed[name] = loop, epochs

    def _rows_of(self, entrant: Entrant, few: TensorSplit | None) -> TensorSplit | LoadedRows:
        if entrant.is_loaded:
            return LoadedRows(few or self._cpu_rows, self._device, self._n_workers)
        return self._rows if few is None else on_device(few, self._device)

    def _memory(self) -> int:
        if self._device.type != "cuda":
            return 0
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument(
        "--tables", nargs="+", choices=["small", "large"], default=["small", "large"]
    )
    parser.add_argument("--batches", nargs="+", type=int, help="rows per step")
    parser.add_argument("--rows", type=int, help="rows of each table")
    parser.add_argument("--rounds", type=int, default=5, help="timed epochs of each line")
    parser.add_argument("--minutes", type=float, default=8.0, help="begin no line after these")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    return parser.parse_args()


def _device_line(device: torch.device) -> str:
    if device.type != "cuda":
        return f"CPU, {torch.get_num_threads()} threads; what needs CUDA is left out"
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, check=True, capture_output=True, text=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        driver = "unknown"
    return (
        f"{torch.cuda.get_device_name(device)}, driver {driver}, "
        f"CUDA {torch.version.cuda}, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
