"""What training costs: CPU seconds against the floor of matrix products and against what others do.

Every measurement is a process of its own on one thread. All contestants of all parts run
interleaved; ratios are of medians. See `train_table` for the data, `train_contestants`,
`train_feeding` and `peers` for the rivals, `train_ours` for Evergreen.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import publish_result
from benchmarks.train_peers import PACKAGES, TORCH, NotInstalledError, last_words, python_of
from benchmarks.train_table import (
    BATCH_ROWS,
    LARGE,
    SMALL,
    Table,
    constant_loss,
    write_arrays,
    write_parquet,
)

ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "small": "Small tables",
    "large": "One table of a million rows",
    "feeding": "Bringing rows from memory, without training",
    "streaming": "Bringing rows from Parquet, without training",
    "streaming_training": "Training from Parquet",
    "memory": "Memory: bringing rows from Parquet, and ten times as many",
}
HEAD = """# What training costs

An embedding MLP (200, 100, 50; Linear–ReLU–BatchNorm–Dropout 0.1) on 10 columns of categories,
Zipf-distributed, and 5 of numbers, five classes; embeddings of width min(50, (n + 1) // 2), Adam at
0.001, batches of 1,024, float32, one thread. Small tables have {small_categories:,} embedding rows
together: {small_rows:,} rows, {epochs} epochs. In the other case the first column has a million:
{large_steps} steps, after as many that do not count. CPU seconds, user and system, of the training
alone, after a short one that does not count; imports, environments and data left out. Medians
(least–most) of {rounds} interleaved rounds, each measurement a process of its own. "Loss" is the
last round's, on the first 20 batches of training rows, dropout off; who only knows how frequent the
classes are has {constant:.3f}. The floor is the matrix products of the Linear layers, forward and
backward. Lightning, fastai, skorch and pytorch-tabular train with their own loops, each in an
environment of its own, and fastai and pytorch-tabular with their own layers of these widths:
{packages}, all with {torch}.
"Ours, bf16" is `training.precision: bf16`, which a processor with bfloat16 matrix units makes good
use of; it counts for no target.

"""


@dataclass
class Contestant:
    """Who is measured on which table, and what the rounds gave; `failure` ends its part in it."""

    part: str
    name: str
    command: list[str]
    table: str
    failure: str = ""
    outcomes: list[dict[str, float]] = field(default_factory=list)

    @property
    def cpu_s(self) -> list[float]:
        """CPU seconds by round."""
        return [outcome["cpu_s"] for outcome in self.outcomes]

    @property
    def s_per_row(self) -> float:
        """Median CPU seconds over rows."""
        return statistics.median(self.cpu_s) / self.outcomes[0]["n_rows"]

    @property
    def peak_mb(self) -> float:
        """Median peak memory."""
        return statistics.median(outcome["peak_mb"] for outcome in self.outcomes)


def main() -> None:
    """Measure, print the tables, and say which targets are met."""
    arguments = _arguments()
    contestants = _contestants(arguments.peers_home, arguments.parts)
    with tempfile.TemporaryDirectory(prefix="evergreen-train-") as scratch:
        place = Path(scratch)
        _write_tables(place, arguments, {c.table for c in contestants})
        for number in range(arguments.rounds):
            for contestant in contestants:
                if not contestant.failure:
                    _measure(contestant, place)
            print(f"round {number + 1} of {arguments.rounds} is done", file=sys.stderr)
        constant = constant_loss(Table.load(place / "small").y)
    page = HEAD.format(
        small_categories=sum(SMALL),
        small_rows=arguments.small_batches * BATCH_ROWS,
        epochs=arguments.epochs,
        large_steps=arguments.large_steps,
        rounds=arguments.rounds,
        constant=constant,
        packages=", ".join(names[0] for names in PACKAGES.values()),
        torch=TORCH,
    )
    page += "".join(_table(part, contestants) for part in arguments.parts)
    page += _targets(contestants)
    publish_result(page, arguments.out, command="python -m benchmarks.train")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="measurements of each line")
    add("--small-batches", type=int, default=196, help="batches of the small tables")
    add("--epochs", type=int, default=2, help="epochs on the small tables")
    add("--large-steps", type=int, default=32, help="steps with the table of a million rows")
    add("--stream-rows", type=int, default=524_288, help="rows of the Parquet file")
    add("--memory-rows", type=int, default=1_048_576, help="rows of the file for memory; and × 10")
    add(
        "--peers-home",
        type=Path,
        default=ROOT / ".evergreen" / "benchmark-peers",
        help="where the rivals' environments are or will be",
    )
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    add("--out", type=Path, help="also write the page to this file")
    return parser.parse_args()


def _contestants(peers_home: Path, parts: Sequence[str]) -> list[Contestant]:
    """Return who takes part, in the order of the tables."""

    def own(part: str, name: str, module: str, function: str, table: str) -> Contestant:
        command = [sys.executable, "-m", f"benchmarks.{module}", function]
        return Contestant(part, name, command, table)

    loops, feeding, ours = "train_contestants", "train_feeding", "train_ours"
    everyone = [own("small", name, loops, name, "small") for name in ("floor", "textbook")]
    if "small" in parts:
        everyone += [_peer(name, peers_home.absolute()) for name in PACKAGES]
    everyone.append(own("small", "ours", ours, "small", "small"))
    everyone.append(own("small", "ours, bf16", ours, "small_bf16", "small"))
    for name in ("default_adam", "fused_dense_adam", "sparse"):
        everyone.append(own("large", name, loops, name, "large"))
    everyone += [
        own("large", "ours", ours, "large", "large"),
        own("feeding", "dataloader", feeding, "dataloader", "small"),
        own("feeding", "slices", feeding, "slices", "small"),
        own("feeding", "ours", ours, "loader", "small"),
        own("streaming", "shuffle_buffer", feeding, "shuffle_buffer", "stream"),
        own("streaming", "ours", ours, "stream", "stream"),
        own("streaming_training", "shuffle_buffer", feeding, "shuffle_buffer_training", "stream"),
        own("streaming_training", "ours", ours, "stream_training", "stream"),
        own("memory", "ours", ours, "stream", "memory"),
        own("memory", "ours, × 10", ours, "stream", "memory-10"),
    ]
    return [contestant for contestant in everyone if contestant.part in parts]


def _peer(name: str, home: Path) -> Contestant:
    try:
        python = str(python_of(name, home))
    except NotInstalledError as error:
        return Contestant("small", name, [], "small", failure=f"not installed: {error}")
    command = [python, "-m", f"benchmarks.peers.with_{name}", "small"]
    return Contestant("small", name, command, "small")


def _write_tables(place: Path, arguments: argparse.Namespace, wanted: set[str]) -> None:
    """Write what the contestants read, and the small table in any case."""
    small_rows = arguments.small_batches * BATCH_ROWS
    write_arrays(place / "small", SMALL, small_rows, epochs=arguments.epochs)
    if "large" in wanted:
        write_arrays(place / "large", LARGE, arguments.large_steps * BATCH_ROWS, epochs=1)
    files = {
        "stream": arguments.stream_rows,
        "memory": arguments.memory_rows,
        "memory-10": arguments.memory_rows * 10,
    }
    for name, n_rows in files.items():
        if name in wanted:
            # The first rows as arrays too: for the loss, and to warm up.
            write_arrays(place / name, SMALL, 20 * BATCH_ROWS, epochs=1)
            write_parquet(place / name / "rows.parquet", SMALL, n_rows)
            _run([sys.executable, "-m", "benchmarks.train_ours", "write"], place / name)


def _measure(contestant: Contestant, place: Path) -> None:
    """Run a contestant once; its last line is what it measured."""
    done = _run(contestant.command, place / contestant.table)
    if done.returncode != 0:
        contestant.failure = f"failed: {last_words(done.stderr)}"
        print(f"{contestant.part}, {contestant.name}: {done.stderr[-2000:]}", file=sys.stderr)
        return
    contestant.outcomes.append(json.loads(done.stdout.splitlines()[-1]))


def _run(command: Sequence[str], table: Path) -> subprocess.CompletedProcess[str]:
    """Run a command on a table's folder, on one thread, in an empty working directory."""
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment = {**os.environ, **threads, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory(dir=table.parent) as work:
        return subprocess.run(
            [*command, str(table)],
            cwd=work,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )


def _table(part: str, contestants: Sequence[Contestant]) -> str:
    mine = [contestant for contestant in contestants if contestant.part == part]
    ours = next(contestant for contestant in mine if contestant.name == "ours")
    floor = next((contestant for contestant in mine if contestant.name == "floor"), None)
    over_floor = "" if floor is None else " × the floor |"
    lines = [
        f"## {PARTS[part]}",
        "",
        f"| who | CPU s | ms per 1,024 rows |{over_floor} over ours | rows per CPU s | loss "
        "| peak MB |",
        "| --- | --- | --- |" + (" --- |" if floor else "") + " --- | --- | --- | --- |",
    ]
    for one in mine:
        name = one.name.replace("_", " ")
        if one.failure:
            lines.append(f"| {name} | {one.failure} |" + " |" * (7 if floor else 6))
            continue
        loss = one.outcomes[-1]["loss"]
        cells = [
            name,
            _spread(one.cpu_s),
            f"{one.s_per_row * BATCH_ROWS * 1000:.3g}",
            *([_ratio(one, floor)] if floor else []),
            _ratio(one, ours),
            f"{1 / one.s_per_row:,.0f}",
            "–" if loss is None else f"{loss:.4f}",
            f"{one.peak_mb:,.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n"


def _targets(contestants: Sequence[Contestant]) -> str:
    found = {(one.part, one.name): one for one in contestants if not one.failure}
    lines = ["## Targets", "", "| what | aim | measured | |", "| --- | --- | --- | --- |"]

    def target(what: str, aim: float, over: tuple[str, str], under: tuple[str, str]) -> None:
        """Add a line; an aim below 0 is a most, not a least, of its absolute value."""
        shown = f"≥ {aim:g}" if aim > 0 else f"≤ {-aim:g}"
        if over not in found or under not in found:
            if {over[0], under[0]} <= {one.part for one in contestants}:
                lines.append(f"| {what} | {shown} | – | not measured |")
            return
        top, bottom = found[over], found[under]
        if over[0] == "memory":
            value = top.peak_mb / bottom.peak_mb
        else:
            value = top.s_per_row / bottom.s_per_row
        met = value >= aim if aim > 0 else value <= -aim
        lines.append(f"| {what} | {shown} | {value:.2f} | {'met' if met else 'missed'} |")

    small, large, training = ("small", "ours"), ("large", "ours"), ("streaming_training", "ours")
    for name, aim in (("textbook", 1.2), *((peer, 1.4) for peer in PACKAGES)):
        target(f"small tables: {name.replace('_', ' ')} over ours", aim, ("small", name), small)
    target("small tables: ours over the floor", -2.5, small, ("small", "floor"))
    target("the same, aimed at", -2.0, small, ("small", "floor"))
    target("a million rows: default Adam over ours", 15, ("large", "default_adam"), large)
    target("a million rows: fused dense Adam over ours", 5, ("large", "fused_dense_adam"), large)
    rows, stream = ("feeding", "ours"), ("streaming", "ours")
    target("bringing rows: DataLoader over ours", 40, ("feeding", "dataloader"), rows)
    target("training: from memory over from Parquet", 0.6, small, training)
    buffer = ("streaming", "shuffle_buffer")
    target("bringing rows from Parquet: a buffer of rows over ours", 30, buffer, stream)
    target(
        "memory: ten times the rows over once", -1.1, ("memory", "ours, × 10"), ("memory", "ours")
    )
    return "\n".join(lines) + "\n"


def _ratio(over: Contestant, under: Contestant) -> str:
    if under.failure:
        return "–"
    return f"{over.s_per_row / under.s_per_row:.2f}"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"


if __name__ == "__main__":
    main()
