"""The page of the quality benchmark: ranks, ratios to CatBoost, wins and losses, table by table.

Per table a contestant's ratio is the geometric mean, over the splits that both have, of its loss
over CatBoost's. Tables on which CatBoost's log loss is below 0.05 are exact: ratios of such losses
say little, so they are apart, with their losses.
"""

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import publish_result
from benchmarks.quality_results import Result, read_results
from benchmarks.quality_tables import TABLES

REFERENCE = "catboost"
EXACT_BELOW = 0.05
TIE = 0.005
RANKED_SHARE = 0.8  # a contestant with fewer of the tables has no rank
_LEAST_LOSS = 1e-9

# Losses of a contestant by table and split.
_Losses = Mapping[str, Mapping[str, Mapping[int, float]]]

_HEAD = """# How good predictions are

{n_tables} public tables, at most {n_splits} splits: 60 % of the rows for training, 20 % for
validation, 20 % for the test; all contestants get the same rows. Evergreen gets the raw CSV:
`evergreen new` proposes; replaced are the split, the task where it takes a few numbers for classes,
and the stop at a table that is copies of itself; what else a contestant changes stands below.
Rivals get pandas frames, text and codes as categories, and their libraries' defaults with early
stopping on the validation rows, after 50 rounds and of at most 1,000 (scikit-learn's: 10). Each fit
is a process of its own on one thread; CPU seconds are of the fit alone.
The loss is log loss for classes and RMSE for numbers, of the test rows. "Ratio" is the loss over
CatBoost's, the geometric mean over the splits, then the median over the tables; "won" means better
than CatBoost by more than {tie:.1%}; p is the Wilcoxon signed-rank test's on the log ratios, two
sided. Ranks are over the tables that all ranked contestants have, exact ones too.

"""


@dataclass(frozen=True)
class Standing:
    """How a contestant stands against the reference, over the tables that are not exact.

    Attributes:
        name: of the contestant.
        ratios: of the loss, by table.
        rank: mean over tables, 1 is best; None without enough tables.
        cpu_ratio: median over tables.
    """

    name: str
    ratios: dict[str, float]
    rank: float | None
    cpu_ratio: float | None

    @property
    def median(self) -> float:
        """The median ratio."""
        return statistics.median(self.ratios.values())

    @property
    def won_tied_lost(self) -> tuple[int, int, int]:
        """On how many tables it is better, alike and worse."""
        won = sum(ratio < 1 - TIE for ratio in self.ratios.values())
        lost = sum(ratio > 1 + TIE for ratio in self.ratios.values())
        return won, len(self.ratios) - won - lost, lost

    @property
    def p_value(self) -> float | None:
        """The Wilcoxon test's, from six tables on."""
        from scipy.stats import wilcoxon

        logs = [math.log(ratio) for ratio in self.ratios.values()]
        if len(logs) < 6 or not any(logs):
            return None
        return float(wilcoxon(logs).pvalue)


def standings(results: Iterable[Result]) -> list[Standing]:
    """Return how contestants stand, the best median first, those without a rank last.

    Args:
        results: of one size of tables.

    Raises:
        ValueError: contestants had different rows, or the reference has no result.
    """
    found = [result for result in results if result.loss is not None]
    require_same_rows(found)
    losses = _by_contestant(found, "loss")
    if REFERENCE not in losses:
        raise ValueError(f"no result of {REFERENCE}, which the others are compared with")
    cpu = _by_contestant(found, "cpu_s")
    exact, ranks = exact_tables(found), mean_ranks(losses)
    rows: list[Standing] = []
    for name in losses:
        ratios = {t: r for t, r in _ratios(losses, name).items() if t not in exact}
        of_cpu = _ratios(cpu, name)
        if ratios:
            cpu_ratio = statistics.median(of_cpu.values()) if of_cpu else None
            rows.append(Standing(name, ratios, ranks.get(name), cpu_ratio))
    return sorted(rows, key=lambda row: (row.rank is None, row.median))


def require_same_rows(results: Iterable[Result]) -> None:
    """Raise ValueError if contestants had different rows of a split."""
    digests: dict[tuple[str, int, int], str] = {}
    for result in results:
        key = (result.table, result.split, result.max_rows)
        if digests.setdefault(key, result.digest) != result.digest:
            raise ValueError(
                f"{result.table}, split {result.split}: {result.contestant} had other rows than "
                "others; take its lines, or theirs, out of the results and measure again"
            )


def exact_tables(results: Iterable[Result]) -> set[str]:
    """Return the tables on which the reference's mean log loss is below 0.05."""
    losses: defaultdict[str, list[float]] = defaultdict(list)
    for result in results:
        is_reference = result.contestant == REFERENCE and result.metric == "log_loss"
        if is_reference and result.loss is not None:
            losses[result.table].append(result.loss)
    return {table for table, found in losses.items() if statistics.mean(found) < EXACT_BELOW}


def mean_ranks(losses: _Losses) -> dict[str, float]:
    """Return the mean rank of each contestant that has enough of the reference's tables.

    Args:
        losses: by contestant, table and split. Ranks of a table are of geometric means over the
            splits that all ranked contestants have.
    """
    from scipy.stats import rankdata

    tables = losses[REFERENCE]
    ranked = [
        name
        for name, found in losses.items()
        if len(found.keys() & tables.keys()) >= RANKED_SHARE * len(tables)
    ]
    ranks: list[Sequence[float]] = []
    for table in tables:
        splits = [set(losses[name].get(table, ())) for name in ranked]
        if common := set.intersection(*splits):
            means = [_mean_log(losses[name][table], common) for name in ranked]
            ranks.append(rankdata(means).tolist())
    columns = zip(*ranks, strict=True)
    return {name: statistics.mean(of) for name, of in zip(ranked, columns, strict=True)}


def write_page(results: Sequence[Result], out: Path | None) -> None:
    """Print the page and, where `out` is given, write it there."""
    tables = {result.table for result in results}
    splits = {result.split for result in results}
    page = _HEAD.format(n_tables=len(tables), n_splits=len(splits), tie=TIE)
    for max_rows in sorted({result.max_rows for result in results}, key=lambda n: n or math.inf):
        size = f"At most {max_rows:,} training rows" if max_rows else "All rows"
        page += f"## {size}\n\n{_section([r for r in results if r.max_rows == max_rows])}"
    page += f"## Tables\n\n{_origins(tables)}\n{_versions(results)}"
    command = "python -m benchmarks.quality --ours evergreen=CHECKOUT --out PAGE"
    publish_result(page, out, command=command)


def _section(results: Sequence[Result]) -> str:
    rows = standings(results)
    n_tables = max(len(row.ratios) for row in rows)
    lines = [
        f"Against CatBoost on up to {n_tables} tables that are not exact:",
        "",
        "| who | tables | rank | ratio | won-tied-lost | p | worst | CPU / CatBoost's |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        worst = max(row.ratios, key=row.ratios.__getitem__)
        cells = [row.name, str(len(row.ratios)), _figure(row.rank, ".2f"), f"{row.median:.3f}"]
        if row.name == REFERENCE:
            cells += ["–"] * 3
        else:
            cells.append("-".join(map(str, row.won_tied_lost)))
            cells += [_figure(row.p_value, ".2g"), f"{row.ratios[worst]:.2f} ({worst})"]
        lines.append(f"| {' | '.join([*cells, _figure(row.cpu_ratio, '.2f')])} |")
    exact = exact_tables(results)
    names = [row.name for row in rows]
    if exact:
        lines += ["", "Exact tables, log loss (mean over the splits) and its difference to"]
        lines += ["CatBoost's:", "", *_loss_table(results, sorted(exact), names, difference=True)]
    others = [t for t in TABLES if t not in exact and any(t in row.ratios for row in rows)]
    lines += ["", "All others, the loss (mean over the splits):", ""]
    lines += [*_loss_table(results, others, names, difference=False), ""]
    failed = [result for result in results if result.failure]
    if failed:
        lines += [f"- {r.table}, split {r.split}, {r.contestant}: {r.failure}" for r in failed[:30]]
        lines += [f"- and {len(failed) - 30} more" if len(failed) > 30 else "", ""]
    return "\n".join(lines) + "\n"


def _loss_table(
    results: Sequence[Result], tables: Sequence[str], names: Sequence[str], *, difference: bool
) -> list[str]:
    """Return a line per table of the mean loss of each contestant, on the splits that it has."""
    losses = _by_contestant([r for r in results if r.loss is not None], "loss")
    lines = [f"| table | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for table in tables:
        cells: list[str] = []
        for name in names:
            found, reference = losses[name].get(table, {}), losses[REFERENCE].get(table, {})
            both = found.keys() & reference.keys()
            if not both:
                cells.append("–")
                continue
            mean = statistics.mean(found[split] for split in both)
            more = mean - statistics.mean(reference[split] for split in both)
            cells.append(f"{mean:.4g}" + (f" ({more:+.4f})" if difference else ""))
        lines.append(f"| {table} | {' | '.join(cells)} |")
    return lines


def _by_contestant(
    results: Iterable[Result], figure: str
) -> dict[str, dict[str, dict[int, float]]]:
    found: defaultdict[str, defaultdict[str, dict[int, float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for result in results:
        value = result.loss if figure == "loss" else result.cpu_s
        if value is not None:
            found[result.contestant][result.table][result.split] = value
    return {name: dict(tables) for name, tables in found.items()}


def _ratios(figures: _Losses, name: str) -> dict[str, float]:
    """Return a contestant's figure over the reference's, by table: geometric means over splits."""
    ratios: dict[str, float] = {}
    for table, found in figures[name].items():
        reference = figures[REFERENCE].get(table, {})
        if both := found.keys() & reference.keys():
            ratios[table] = math.exp(_mean_log(found, both) - _mean_log(reference, both))
    return ratios


def _mean_log(figures: Mapping[int, float], splits: Iterable[int]) -> float:
    return statistics.mean(math.log(max(figures[split], _LEAST_LOSS)) for split in splits)


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _origins(tables: Iterable[str]) -> str:
    lines = ["| table | target | from | left out |", "| --- | --- | --- | --- |"]
    for name in (name for name in TABLES if name in set(tables)):
        table = TABLES[name]
        left_out = ", ".join(table.without) or "–"
        lines.append(f"| {name} | {table.target} | {table.origin_name} | {left_out} |")
    return "\n".join(lines) + "\n"


def _versions(results: Iterable[Result]) -> str:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for result in results:
        libraries = " ".join(
            f"{name} {version}" for name, version in sorted(result.versions.items())
        )
        changed = f"; changed: {result.changed}" if result.changed else ""
        if libraries:
            found[libraries + changed].add(result.contestant)
    lines = [
        f"- {', '.join(sorted(names))}: {libraries}" for libraries, names in sorted(found.items())
    ]
    return "\n".join(lines) + "\n\n" if lines else ""


def main() -> None:
    """Make the page of the results that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="JSON lines that the benchmark wrote")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    arguments = parser.parse_args()
    write_page(read_results(arguments.results), arguments.out)


if __name__ == "__main__":
    main()
