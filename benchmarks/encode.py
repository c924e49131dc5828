"""What encoding costs: CPU seconds and memory against the floor and against what others do.

Every measurement is a process of its own on one thread. Contestants of one size run interleaved;
ratios are of medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import publish_result
from benchmarks.zipf_table import CARDINALITIES, N_NUMBERS, write_zipf_table

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# What encoding costs

A synthetic table of {n_words} columns of words ({cardinalities} different ones, Zipf-distributed,
2 % nulls) and {n_numbers} of numbers (5 % nulls). Parquet in, parquet tensors out, on one thread.
CPU seconds, user and system, imports left out; peak memory as the operating system saw it, imports
included. Medians (least–most) of {rounds} interleaved rounds, each measurement a process of its
own. The floor reads the input and writes the finished output, and does nothing in between.
Evergreen's figure is a whole night's encoding: ledger, fingerprints, checksums, manifest.

"""


@dataclass
class Measured:
    """What the rounds of one contestant gave."""

    cpu_s: list[float] = field(default_factory=list)
    peak_mb: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median CPU seconds."""
        return statistics.median(self.cpu_s)

    @property
    def megabytes(self) -> float:
        """Median peak memory."""
        return statistics.median(self.peak_mb)


def main() -> None:
    """Measure, print the tables, and say which targets are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each line")
    parser.add_argument("--small", type=int, default=2_000_000, help="rows of the small table")
    parser.add_argument("--large", type=int, default=10_000_000, help="rows of the large table")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    arguments = parser.parse_args()
    page = HEAD.format(
        n_words=len(CARDINALITIES),
        cardinalities=", ".join(f"{n:,}" for n in CARDINALITIES),
        n_numbers=N_NUMBERS,
        rounds=arguments.rounds,
    )
    with tempfile.TemporaryDirectory(prefix="evergreen-encode-") as scratch:
        place = Path(scratch)
        everyone = ["floor", "evergreen", "pandas", "ordinal_encoder", "load"]
        small = _measured(everyone, arguments.small, arguments.rounds, place / "small")
        # scikit-learn's encoder would take the memory of the machine at this size.
        large = _measured(everyone[:3], arguments.large, arguments.rounds, place / "large")
        page += _table(arguments.small, small) + _table(arguments.large, large)
        page += _rest(arguments.rounds, place)
        page += _targets(arguments, small, large)
    publish_result(page, arguments.out, command="python -m benchmarks.encode")


def _measured(names: Sequence[str], n_rows: int, rounds: int, place: Path) -> dict[str, Measured]:
    """Let contestants run in turn on one table; the first night of all leaves the reference."""
    place.mkdir()
    table = place / "zipf.parquet"
    write_zipf_table(table, n_rows)
    _run("evergreen", table, place, place / "home")
    (encoded,) = (place / "home" / "datasets" / "zipf" / "encoded").iterdir()
    (place / "reference").symlink_to(encoded)
    measured = {name: Measured() for name in names}
    for number in range(rounds):
        for name in names:
            found = _run(name, table, place, place / f"home-{number}")
            measured[name].cpu_s.append(found["cpu_s"])
            measured[name].peak_mb.append(found["peak_mb"])
    return measured


def _run(name: str, table: Path, place: Path, home: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.encode_contestants", name, str(table), str(place)]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "EVERGREEN_HOME": str(home)}
    environment = {**os.environ, **threads}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def _rest(rounds: int, place: Path) -> str:
    """Measure what happens around encoding: checking a table, and single rows."""
    home, rows = place / "rest", place / "none"
    lines = ["## Around it", "", "| what | median (least–most) |", "| --- | --- |"]
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in ("check", "predict"):
            for what, value in _run(name, rows, place, home).items():
                found.setdefault(what, []).append(value)
    shown = [(what, values) for what, values in found.items() if what not in ("cpu_s", "peak_mb")]
    lines += [f"| {what} | {_spread(values)} |" for what, values in shown]
    return "\n".join(lines) + "\n\n"


def _table(n_rows: int, measured: dict[str, Measured]) -> str:
    floor, pandas = measured["floor"].seconds, measured["pandas"]
    lines = [
        f"## {n_rows:,} rows",
        "",
        "| who | CPU s | × the floor | pandas is × slower | peak MB | pandas takes × more |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, mine in measured.items():
        cells = (
            name.replace("_", " "),
            _spread(mine.cpu_s),
            f"{mine.seconds / floor:.2f}",
            f"{pandas.seconds / mine.seconds:.2f}",
            f"{mine.megabytes:,.0f}",
            f"{pandas.megabytes / mine.megabytes:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n"


def _targets(
    arguments: argparse.Namespace, small: dict[str, Measured], large: dict[str, Measured]
) -> str:
    def times(mine: Measured, of: Measured, what: Callable[[Measured], float]) -> float:
        return what(mine) / what(of)

    ours = large["evergreen"]
    rows_per_s = arguments.small / small["load"].seconds / 1e6
    rows: list[tuple[str, str, float, bool]] = []

    def target(what: str, aim: str, value: float, met: bool) -> None:
        rows.append((what, aim, value, met))

    over_floor = times(ours, large["floor"], lambda m: m.seconds)
    target("large table: CPU over the floor's", "≤ 2", over_floor, over_floor <= 2)
    pandas = times(large["pandas"], ours, lambda m: m.seconds)
    target("large table: pandas over ours", "≥ 1.8", pandas, pandas >= 1.8)
    ordinal = times(small["ordinal_encoder"], small["evergreen"], lambda m: m.seconds)
    target("small table: OrdinalEncoder over ours", "≥ 4", ordinal, ordinal >= 4)
    growth = times(ours, small["evergreen"], lambda m: m.megabytes)
    target("peak memory, large over small", "≤ 1.3", growth, growth <= 1.3)
    memory = times(large["pandas"], ours, lambda m: m.megabytes)
    target("large table: pandas' memory over ours", "≥ 8", memory, memory >= 8)
    target("loading, million rows per CPU second", "≥ 4", rows_per_s, rows_per_s >= 4)
    lines = ["## Targets", "", "| what | aim | measured | |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {w} | {aim} | {v:.2f} | {'met' if met else 'missed'} |" for w, aim, v, met in rows
    ]
    return "\n".join(lines) + "\n"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}–{max(values):.3g})"


if __name__ == "__main__":
    main()
