"""How good predictions are: Evergreen as it proposes, its kinds of models, and rivals.

Every contestant gets the same rows of every split, in a process of its own on one thread; results
are appended to a file as they come, and a fit that is in it is not repeated. `quality_tables` has
the tables, `quality_rows` the splits and the loss, `quality_peers` the contestants, `quality_page`
makes the page. To run beside other work, start it with `nice`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality_page import write_page
from benchmarks.quality_peers import PEERS, ROOT, Contestant, NotInstalledError, ours, peer
from benchmarks.quality_results import Job, Result, append_result, read_results
from benchmarks.quality_rows import About, answers_of_test, loss_of, write_split
from benchmarks.quality_tables import PACKAGES, TABLES, PublicTable
from benchmarks.train_peers import last_words, python_with

DEFAULT_HOME = Path("~/.cache/evergreen-benchmarks").expanduser()
MOST_ROWS = 4_000
TIMEOUT_S = 3_600


def main() -> None:
    """Measure what is not in the results yet, and write the page."""
    arguments = _arguments()

    contestants = list(_contestants(arguments.contestants, arguments.ours, arguments.home))
    jobs = _jobs(arguments.tables, range(arguments.splits), arguments.max_rows, contestants)
    run_jobs(jobs, contestants, arguments.results, _measured_with(arguments.home))
    if arguments.out is not None:
        write_page(read_results(arguments.results), arguments.out)


def run_jobs(
    jobs: Sequence[Job],
    contestants: Sequence[Contestant],
    results: Path,
    measure: Callable[[Job, Contestant], Result],
) -> None:
    """Measure the jobs that have no result yet, and append each result as it comes.

    Failed fits are tried again.
    """
    done = {result.job for result in read_results(results) if not result.failure}
    by_name = {contestant.name: contestant for contestant in contestants}
    for job in [job for job in jobs if job not in done]:
        result = measure(job, by_name[job.contestant])
        append_result(results, result)
        said = result.failure or f"{result.metric} {result.loss:.4f}, {result.cpu_s:.1f} CPU s"
        print(f"{job.table} {job.split} {job.contestant}: {said}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--contestants", nargs="*", choices=PEERS, default=list(PEERS), help="rivals")
    add(
        "--ours",
        action="append",
        default=[],
        metavar="NAME=CHECKOUT[:KEY=VALUE;…]",
        help="a checkout of Evergreen as a contestant, what `new` proposes changed by assignments",
    )
    add("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="tables")
    add("--splits", type=int, default=5, help="splits of each table")
    add("--max-rows", type=int, default=MOST_ROWS, help="most training rows; 0: all")
    add("--results", type=Path, default=DEFAULT_HOME / "results.jsonl", help="results, JSON lines")
    add("--home", type=Path, default=DEFAULT_HOME, help="where environments and tables are kept")
    add("--out", type=Path, help="also write the page to this file")
    return parser.parse_args()


def _contestants(
    peers: Sequence[str], checkouts: Sequence[str], home: Path
) -> Iterator[Contestant]:
    for name in peers:
        try:
            yield peer(name, home)
        except NotInstalledError as error:
            print(f"{name} is not installed: {error}", file=sys.stderr)
    for text in checkouts:
        yield ours(text)


def _jobs(
    tables: Sequence[str], splits: Sequence[int], max_rows: int, contestants: Sequence[Contestant]
) -> list[Job]:
    """Return the fits to do, split by split, so that early ones are of every table."""
    return [
        Job(table, split, max_rows, contestant.name)
        for split in splits
        for table in tables
        for contestant in contestants
    ]


def _measured_with(home: Path) -> Callable[[Job, Contestant], Result]:
    """Return what measures a job, on tables kept below `home`."""

    def measure(job: Job, contestant: Contestant) -> Result:
        table = TABLES[job.table]
        with tempfile.TemporaryDirectory(prefix="evergreen-quality-") as scratch:
            folder = Path(scratch)
            about = write_split(
                _csv_of(table, home),
                folder,
                target=table.target,
                has_classes=table.task == "classes",
                codes=table.codes,
                split=job.split,
                max_rows=job.max_rows,
            )
            return measure_fit(job, contestant, folder, about)

    return measure


def _csv_of(table: PublicTable, home: Path) -> Path:
    """Return a table's file, written once."""
    path = home.absolute() / "data" / f"{table.name}.csv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        python = python_with(PACKAGES, home.absolute() / "tables")
        command = [str(python), "-m", "benchmarks.quality_tables", table.name, str(path)]
        subprocess.run(command, cwd=ROOT, check=True)
    return path


def measure_fit(job: Job, contestant: Contestant, folder: Path, about: About) -> Result:
    """Run a contestant on a folder of rows, and compute the loss of its predictions."""
    facts: dict[str, Any] = {
        **asdict(job),
        "digest": about.digest,
        "n_rows": about.n_rows,
        "metric": "log_loss" if about.classes else "rmse",
        "changed": "; ".join(contestant.after),
    }
    if about.n_rows["train"] > contestant.most_rows:
        return Result(**facts, failure=f"not measured above {contestant.most_rows:,} training rows")
    try:
        done = _run(contestant, folder)
    except subprocess.TimeoutExpired:
        return Result(**facts, failure=f"not done after {TIMEOUT_S:,} s")
    if done.returncode != 0:
        print(done.stderr[-2_000:], file=sys.stderr)
        return Result(**facts, failure=last_words(done.stderr))
    taken = json.loads(done.stdout.splitlines()[-1])
    predictions = np.load(folder / "predictions.npy", allow_pickle=False)
    loss = loss_of(predictions, answers_of_test(folder), about.classes)
    return Result(**facts, **taken, loss=loss)


def _run(contestant: Contestant, folder: Path) -> "subprocess.CompletedProcess[str]":
    threads = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")
    environment = {
        **os.environ,
        **{f"{name}_NUM_THREADS": "1" for name in threads},
        "PYTHONPATH": str(contestant.python_path),
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "ignore",
    }
    return subprocess.run(
        [*contestant.command, str(folder), *contestant.after],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


if __name__ == "__main__":
    main()
