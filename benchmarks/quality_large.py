"""What CPU seconds buy on a large table: the test loss of fits of growing length.

A million rows of ten columns of words (Zipf-distributed, 3 to 50,000 of them) and five of numbers;
the log odds are a sum of each column's effects and of interactions: two pairs of words, a word that
turns a number's sign, a product of numbers, and a wave. Since the odds are known, so is the lowest
log loss there is. Each point is a fit of its own, with the rounds or epochs that it names: a
schedule of learning rates that was cut short would say little of a shorter one.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc

from benchmarks.machine import publish_result
from benchmarks.quality import DEFAULT_HOME, measure_fit, run_jobs
from benchmarks.quality_peers import Contestant, ours, peer
from benchmarks.quality_results import Job, Result, read_results
from benchmarks.quality_rows import SPLIT, TEST, TRAIN, VAL, About

CARDINALITIES = (3, 5, 8, 12, 30, 80, 200, 1_000, 8_000, 50_000)
N_NUMBERS = 5
ROUNDS = (30, 100, 300, 1_000)
EPOCHS = (1, 2, 4, 8)
_ZIPF = 1.1


def main() -> None:
    """Measure what is not in the results yet, and print the page."""
    arguments = _arguments()
    contestants = _contestants(arguments.ours, arguments.home, arguments.rounds)
    name = f"large_{arguments.rows}"
    jobs = [Job(name, 0, 0, contestant.name) for contestant in contestants]
    with tempfile.TemporaryDirectory(prefix="evergreen-large-") as scratch:
        whole = Path(scratch) / "whole"
        about, lowest, constant = write_large(whole, arguments.rows)

        def measure(job: Job, contestant: Contestant) -> Result:
            with tempfile.TemporaryDirectory(dir=scratch) as place:
                for file in ("rows.csv", "about.json"):
                    (Path(place) / file).hardlink_to(whole / file)
                return measure_fit(job, contestant, Path(place), about)

        run_jobs(jobs, contestants, arguments.results, measure)
    found = [r for r in read_results(arguments.results) if r.table == name]
    page = _page(found, n_rows=arguments.rows, lowest=lowest, constant=constant)
    publish_result(page, arguments.out, command="python -m benchmarks.quality_large")


def write_large(folder: Path, n_rows: int, *, seed: int = 0) -> tuple[About, float, float]:
    """Write the rows: 80 % train, 10 % val, 10 % test.

    Returns:
        What contestants know; the test log loss of the true odds; that of the share of "yes".
    """
    folder.mkdir(parents=True)
    codes, numbers, odds = large_table(n_rows, seed=seed)
    probabilities = 1 / (1 + np.exp(-odds))
    is_yes = np.random.default_rng([seed, 1]).random(n_rows) < probabilities
    names = [TRAIN, VAL, TEST]
    split = np.searchsorted([int(0.8 * n_rows), int(0.9 * n_rows)], np.arange(n_rows), side="right")
    columns: dict[str, pa.Array] = {
        f"word_{n}": pa.DictionaryArray.from_arrays(
            pa.array(codes[:, n].astype(np.int32)),
            pa.array([f"w{code}" for code in range(cardinality)]),
        ).cast(pa.string())
        for n, cardinality in enumerate(CARDINALITIES)
    }
    columns |= {f"number_{n}": pa.array(numbers[:, n].round(4)) for n in range(N_NUMBERS)}
    columns["answer"] = pa.array(np.where(is_yes, "yes", "no").tolist())
    columns[SPLIT] = pa.array([names[place] for place in split])
    pc.write_csv(pa.table(columns), folder / "rows.csv", pc.WriteOptions(quoting_style="none"))
    digest = hashlib.sha256((folder / "rows.csv").read_bytes()).hexdigest()
    sizes = {name: int((split == place).sum()) for place, name in enumerate(names)}
    about = About("answer", ("no", "yes"), (), sizes, digest)
    (folder / "about.json").write_text(json.dumps(asdict(about)), encoding="utf-8")
    test = split == 2
    share = np.full(test.sum(), is_yes[split == 0].mean())
    return about, _log_loss(probabilities[test], is_yes[test]), _log_loss(share, is_yes[test])


def large_table(
    n_rows: int, *, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return codes ``(n_rows, 10)``, numbers ``(n_rows, 5)`` and the log odds ``(n_rows,)``."""
    random = np.random.default_rng(seed)
    numbers = random.standard_normal((n_rows, N_NUMBERS))
    codes = np.stack([_zipf(random, n, n_rows) for n in CARDINALITIES], axis=1)
    odds = 0.3 * numbers[:, 0] - 0.4 * np.abs(numbers[:, 1])
    for column, cardinality in zip(codes.T, CARDINALITIES, strict=True):
        odds += random.normal(0, 0.35, cardinality)[column]
    for first, second in ((3, 4), (5, 6)):
        pairs = random.normal(0, 0.6, (CARDINALITIES[first], CARDINALITIES[second]))
        odds += pairs[codes[:, first], codes[:, second]]
    odds += random.choice([-0.5, 0.5], CARDINALITIES[2])[codes[:, 2]] * numbers[:, 2]
    odds += 0.4 * numbers[:, 3] * numbers[:, 4] + 0.5 * np.sin(3 * numbers[:, 1])
    return codes, numbers, odds


def _zipf(random: np.random.Generator, cardinality: int, n_rows: int) -> npt.NDArray[np.int64]:
    """Return codes whose frequency falls with a power of their rank, which is not their order."""
    curve = np.cumsum(np.arange(1, cardinality + 1, dtype=np.float64) ** -_ZIPF)
    ranks = np.searchsorted(curve / curve[-1], random.random(n_rows))
    return random.permutation(cardinality)[np.minimum(ranks, cardinality - 1)]


def _log_loss(probabilities: npt.NDArray[np.float64], is_yes: npt.NDArray[np.bool_]) -> float:
    return float(-np.log(np.where(is_yes, probabilities, 1 - probabilities)).mean())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--rows", type=int, default=1_000_000, help="rows of the table")
    add("--rounds", type=int, nargs="+", default=list(ROUNDS), help="lengths of boosting")
    add("--ours", action="append", default=[], metavar="NAME=CHECKOUT[:KEY=VALUE;…]")
    add("--results", type=Path, default=DEFAULT_HOME / "large.jsonl", help="results, JSON lines")
    add("--home", type=Path, default=DEFAULT_HOME, help="where environments are kept")
    add("--out", type=Path, help="also write the page to this file")
    return parser.parse_args()


def _contestants(checkouts: Sequence[str], home: Path, rounds: Sequence[int]) -> list[Contestant]:
    """Return a contestant per length of fit, by rounds or by epochs, and ours as it is."""
    found: list[Contestant] = []
    for text in checkouts:
        mine = ours(text)
        found.append(mine)
        is_boosting = "model.kind=boosting" in mine.after
        key, unit = ("model.max_rounds", "rounds") if is_boosting else ("training.epochs", "epochs")
        for n in rounds if is_boosting else EPOCHS:
            after = (*mine.after, f"{key}={n}")
            found.append(replace(mine, name=f"{mine.name}, {n} {unit}", after=after))
    for name in ("lightgbm", "catboost"):
        rival = peer(name, home)
        found += [replace(rival, name=f"{name}, {n} rounds", after=(str(n),)) for n in rounds]
    return found


def _page(results: Sequence[Result], *, n_rows: int, lowest: float, constant: float) -> str:
    lines = [
        "# What CPU seconds buy on a large table",
        "",
        f"{n_rows:,} rows, ten columns of words (3 to 50,000) and five of numbers, with known",
        f"interactions. Test log loss: {lowest:.4f} of the true odds, {constant:.4f} of the share",
        'of "yes". "Learned" is the part of that distance that a fit covers. Each line is a fit of',
        "its own on one thread; CPU seconds are of the fit alone.",
        "",
        "| who | CPU s | log loss | learned | peak MB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in sorted(results, key=lambda r: (r.contestant.partition(",")[0], r.cpu_s or 0)):
        if one.loss is None or one.cpu_s is None or one.peak_mb is None:
            lines.append(f"| {one.contestant} | {one.failure} | | | |")
            continue
        learned = (constant - one.loss) / (constant - lowest)
        cells = [one.contestant, f"{one.cpu_s:.0f}", f"{one.loss:.4f}", f"{learned:.1%}"]
        lines.append(f"| {' | '.join([*cells, f'{one.peak_mb:,.0f}'])} |")
    return "\n".join(lines) + "\n\n"


if __name__ == "__main__":
    main()
