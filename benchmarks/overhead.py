"""What orchestration and tracking cost on top of a plain script, in CPU seconds.

CPU seconds are user and system time of a process and all it starts, a server in the background
included, so that a busy machine disturbs them less than the clock. With several threads it still
does: OpenMP's threads spin while they wait for each other. So wholes are measured twice, with the
machine's own number of threads and with one, in interleaved rounds; then the parts, with one
thread, each in a process of its own.
"""

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import publish_result
from benchmarks.overhead_parts import PARTS, Part

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "car_evaluation.yaml"
PLAIN = [sys.executable, "-m", "benchmarks.plain_script"]
RUN = [sys.executable, "-m", "evergreen", "run", str(CONFIG)]
FORCED = [*RUN, "--force"]
_PR_SET_CHILD_SUBREAPER = 36
HEAD = """# What orchestration and tracking cost

CPU seconds of the whole process tree, user and system: median (least–most) of {rounds} interleaved
rounds, all with `configs/car_evaluation.yaml` or the same network by hand. "On top" is the median
less the plain script's. Compare by the first table: with several threads OpenMP spins while it
waits, so the plain script's figure in the second says more of what else the machine did.

"""


def main() -> None:
    """Measure wholes and parts, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each line")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    arguments = parser.parse_args()
    adopt_orphans()
    page = HEAD.format(rounds=arguments.rounds)
    own, single = clean_environment(), {**clean_environment(), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="evergreen-overhead-") as scratch:
        warm = Path(scratch) / "warm"
        cpu_seconds(FORCED, warm, own)  # fills the databases; not counted
        rounds = measure_wholes(warm, (single, own), arguments.rounds)
        for title, seconds in zip(("one thread", "the machine's own threads"), rounds, strict=True):
            page += wholes_table(title, seconds) + "\n"
        page += parts_table(measure_parts(warm, single, arguments.rounds))
    publish_result(page, arguments.out, command="python -m benchmarks.overhead")


def measure_wholes(
    warm: Path, environments: Sequence[dict[str, str]], rounds: int
) -> list[dict[str, list[float]]]:
    """Run the plain script and Evergreen in turn.

    Args:
        warm: a home whose databases are there and whose last decision was about these rows.
        environments: each round goes through all of them.
        rounds: how often.

    Returns:
        CPU seconds by what was run, for each environment.
    """
    seconds: list[dict[str, list[float]]] = [{} for _ in environments]
    for _ in range(rounds):
        for environment, mine in zip(environments, seconds, strict=True):
            with tempfile.TemporaryDirectory(prefix="evergreen-fresh-") as fresh:
                for what, command, home in (
                    ("plain script: pandas, PyTorch, scikit-learn", PLAIN, Path(fresh) / "none"),
                    ("`evergreen run --force`, databases there", FORCED, warm),
                    ("`evergreen run --force`, first run of all", FORCED, Path(fresh) / "home"),
                    ("`evergreen run`, nothing new: skipped", RUN, warm),
                ):
                    mine.setdefault(what, []).append(cpu_seconds(command, home, environment))
    return seconds


def measure_parts(warm: Path, environment: dict[str, str], rounds: int) -> dict[Part, list[float]]:
    """Run each part in processes of its own; return CPU seconds by part."""
    seconds: dict[Part, list[float]] = {}
    for _ in range(rounds):
        for part in PARTS:
            with tempfile.TemporaryDirectory(prefix="evergreen-part-") as fresh:
                home = Path(fresh) if part.needs_fresh_home else warm
                command = [sys.executable, "-c", part.code]
                seconds.setdefault(part, []).append(cpu_seconds(command, home, environment))
    return seconds


def wholes_table(title: str, seconds: dict[str, list[float]]) -> str:
    """Return a table of each whole beside the plain script."""
    plain = statistics.median(next(iter(seconds.values())))
    lines = [f"| {title} | CPU s | × plain | CPU s on top |", "|---|---|---|---|"]
    for what, values in seconds.items():
        median = statistics.median(values)
        lines.append(
            f"| {what} | {spread(values)} | {median / plain:.2f} | {median - plain:+.1f} |"
        )
    return "\n".join(lines) + "\n"


def parts_table(seconds: dict[Part, list[float]]) -> str:
    """Return the table of what a process alone takes for each part."""
    lines = ["| part, in a process of its own, one thread | CPU s | remark |", "|---|---|---|"]
    lines += [f"| {p.what} | {spread(values)} | {p.remark} |" for p, values in seconds.items()]
    return "\n".join(lines) + "\n"


def spread(values: Sequence[float]) -> str:
    """Return the median, and least and most in brackets."""
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def cpu_seconds(command: Sequence[str], home: Path, environment: dict[str, str]) -> float:
    """Run a command with its state under `home`; return CPU seconds of its whole tree.

    Raises:
        RuntimeError: it failed; ends in what it said.
    """
    home.mkdir(parents=True, exist_ok=True)
    output = home / "output.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=home,
            env={**environment, "EVERGREEN_HOME": str(home)},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    total = usage.ru_utime + usage.ru_stime + _orphans_cpu_s()
    if process.returncode != 0:
        raise RuntimeError(f"{command} failed: {output.read_text(encoding='utf-8')[-2000:]}")
    return total


def clean_environment() -> dict[str, str]:
    """Return this process's environment without servers and settings of Prefect and MLflow."""
    prefixes = ("PREFECT_", "MLFLOW_", "EVERGREEN_")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    environment["PYTHONPATH"] = str(ROOT)  # the processes work in folders of their own
    return environment


def adopt_orphans() -> None:
    """Have Linux hand processes to us whose parent ended before them, so that they count."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _orphans_cpu_s() -> float:
    """Wait for processes that outlived their parent; return their CPU seconds."""
    total = 0.0
    while True:
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return total
        total += usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
