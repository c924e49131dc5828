"""How fast a step of the embedding MLP is on a GPU, and how far from what the device can do.

Needs torch, numpy and pyarrow alone. See `gpu_step` for the contestants, `gpu_check` for what makes
one of them wrong, `gpu_ceilings` for the bound, `gpu_page` for the tables. Each table and batch
size is measured by `gpu_cell` in a process of its own; what a process dies of is told in its line.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from time import monotonic

import torch

from benchmarks.gpu_ceilings import Ceilings, bound, measure_ceilings
from benchmarks.gpu_cell import AT, DONE, DROPOUT, ENTRANTS, Outcome, Request
from benchmarks.gpu_check import N_STEPS, Difference
from benchmarks.gpu_network import Shape
from benchmarks.gpu_page import Measured, ceilings_table, check_table, speed_table, targets_table
from benchmarks.gpu_rows import write_rows
from benchmarks.gpu_step import N_WORKERS, PREFETCH
from benchmarks.machine import publish_result

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# A training step on a GPU

Embedding MLP of widths 200, 100, 50, dropout {dropout}, 10 columns of codes and 5 of numbers,
{n_rows:,} rows; float32 without TF32, fused Adam unless the line says otherwise. Medians
(least–most) of {rounds} interleaved rounds between two CUDA events, after a warm-up; a resident
line pays for its permutation, the DataLoader ({n_workers} workers) does not. "Of the bound" is the
least time that the larger of arithmetic and bytes leaves, over the time taken; formulas in
`benchmarks/gpu_ceilings.py`. Peak memory leaves out the rows (on the device: {rows_mb:,.0f} MB).

Device: {device}.

"""


def main() -> None:
    """Measure, print the page, and say which targets are met."""
    arguments = _arguments()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no CUDA device; `--device cpu --quick` shows what would be measured")
    quick = arguments.quick
    batches = arguments.batches or ([64, 256] if quick else [1024, 4096, 16_384, 65_536])
    n_rows = arguments.rows or (8192 if quick else 2_500_000)
    n_workers = 2 if quick else N_WORKERS
    least_rows = max(batches) * max(N_STEPS, (PREFETCH + 2) * n_workers)
    if n_rows < least_rows:
        sys.exit(f"--rows {n_rows:,} are too few for {max(batches):,} a step: take {least_rows:,}")
    deadline = monotonic() + 60 * arguments.minutes
    ceilings = measure_ceilings(device, quick=quick)
    page = HEAD.format(
        dropout=DROPOUT,
        n_rows=n_rows,
        rounds=arguments.rounds,
        n_workers=n_workers,
        rows_mb=n_rows * (4 * 10 + 4 * 5 + 8) / 1e6,
        device=_device_line(device),
    )
    page += ceilings_table(ceilings)
    cells: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="evergreen-gpu-") as scratch:
        for table in arguments.tables:
            shape = Shape.of(table, quick=quick)
            path = Path(scratch) / f"{table}.parquet"
            write_rows(path, shape, n_rows)
            for batch in batches:
                request = Request(
                    path=str(path),
                    table=table,
                    quick=quick,
                    batch=batch,
                    device=arguments.device,
                    names=_entrants(table),
                    rounds=arguments.rounds,
                    region_s=0.01 if quick else 0.25,
                    n_workers=n_workers,
                )
                cells.append(_measured(request, shape, ceilings, deadline))
                page += speed_table(cells[-1])
    page += check_table(cells) + targets_table(cells)
    publish_result(
        page, arguments.out, command=" ".join(["python -m benchmarks.gpu", *sys.argv[1:]])
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument(
        "--tables", nargs="+", choices=["small", "large"], default=["small", "large"]
    )
    parser.add_argument("--batches", nargs="+", type=int, help="rows per step")
    parser.add_argument("--rows", type=int, help="rows of each table")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each line")
    parser.add_argument("--minutes", type=float, default=8.0, help="measure no longer than these")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    return parser.parse_args()


def _entrants(table: str) -> list[str]:
    """Return who takes part with a table."""
    is_large = table == "large"
    return [
        name
        for name, entrant in ENTRANTS.items()
        if (entrant.with_large if is_large else not entrant.sparse)
    ]


def _measured(request: Request, shape: Shape, ceilings: Ceilings, deadline: float) -> Measured:
    """Let `gpu_cell` measure; where it dies, note whose turn it was and go on without."""
    least = {
        name: bound(shape, request.batch, ceilings, sparse=ENTRANTS[name].sparse)
        for name in request.names
    }
    cell = Measured(request.table, request.batch, least)
    for name in request.names:
        if ENTRANTS[name].needs_cuda and request.device != "cuda":
            cell.absent[name] = "needs CUDA"
    while names := [name for name in request.names if name not in cell.absent]:
        left_s = deadline - monotonic()
        _tell(f"{request.table} table, batch {request.batch:,}: {len(names)} contestants")
        asked = json.dumps({**asdict(request), "names": names})
        command = [sys.executable, "-m", "benchmarks.gpu_cell", asked]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                check=False,
                capture_output=True,
                text=True,
                timeout=max(left_s, 1),
            )
        except subprocess.TimeoutExpired:
            cell.absent |= dict.fromkeys(names, "out of time, see `--minutes`")
            break
        lines = done.stdout.splitlines()
        if done.returncode == 0 and lines and lines[-1].startswith(DONE):
            cell.outcomes = _outcomes(json.loads(lines[-1].removeprefix(DONE)))
            break
        _tell(done.stderr)
        turns = [line.removeprefix(AT) for line in lines if line.startswith(AT)]
        culprits = turns[-1:] or names
        cell.absent |= dict.fromkeys(culprits, f"failed: {_last_words(done)}")
    return cell


def _outcomes(told: dict[str, dict]) -> dict[str, Outcome]:
    return {
        name: Outcome(**{**fields, "difference": Difference(**fields["difference"])})
        for name, fields in told.items()
    }


def _last_words(done: subprocess.CompletedProcess[str]) -> str:
    """Return the line of the error that says most, bounded."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "Error: " in line]
    line = (errors or lines or [f"exit status {done.returncode}"])[-1]
    return line[:160].replace("|", "/")


def _device_line(device: torch.device) -> str:
    if device.type != "cuda":
        return f"CPU, {torch.get_num_threads()} threads; what needs CUDA says so"
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, check=True, capture_output=True, text=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        driver = "unknown"
    return (
        f"{torch.cuda.get_device_name(device)}, driver {driver}, "
        f"CUDA {torch.version.cuda}, torch {torch.__version__}"
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
