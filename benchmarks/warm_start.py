"""What it saves to start from the champion, night after night of a growing table.

Each night trains on the same rows from fresh weights over all epochs, and from the model
that the night before ended with over a quarter of them. The page tells the epochs and seconds that
each needs to reach the best validation loss of the one from fresh weights, and to come within 1 %
of it, for the best of many epochs is a lucky one; and what both come to on the test rows.
"""

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from benchmarks.machine import publish_result
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract.declared import conform, target_column
from pipeline_lib.evaluation.metrics import score
from pipeline_lib.fitting import split_rows, start_on_rows
from pipeline_lib.serving import FittedModel

SHARES = (0.8, 1.0, 0.6)
_MOST_ROWS = 24_000


@dataclass(frozen=True)
class Real:
    """A CSV file whose rows come in their order, or in a random one."""

    file: str
    what: str
    target: str
    task: str
    numbers: tuple[str, ...] = ()
    leaves_out: tuple[str, ...] = ()
    batch_size: int = 512
    is_shuffled: bool = True


REAL = (
    Real(
        "bike_hour.csv",
        "hourly rows, the second year joins",
        "cnt",
        "regression",
        ("temp", "atemp", "hum", "windspeed"),
        ("instant", "dteday", "casual", "registered", "time_segment", "day_type"),
        batch_size=256,
        is_shuffled=False,
    ),
    Real(
        "adult_income.csv",
        "people in random order",
        "income",
        "binary",
        ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"),
    ),
    Real("open_payments.csv", "payments in random order", "status", "binary"),
    Real(
        "diamonds.csv",
        "diamonds in random order",
        "price",
        "regression",
        ("carat", "depth", "table", "x", "y", "z"),
    ),
)


@dataclass(frozen=True)
class Growing:
    """A table whose rows come in order, and how it is learned."""

    name: str
    what: str
    table: pa.Table
    config: PipelineConfig


@dataclass(frozen=True)
class Way:
    """One training of a night: its losses by epoch, seconds of an epoch, and its test score."""

    losses: Sequence[float]
    epoch_s: float
    test: float
    model: FittedModel

    def seconds_to(self, loss: float) -> float:
        """Return the seconds until an epoch was as good as a loss; infinity if none was."""
        epochs = next((n for n, value in enumerate(self.losses, 1) if value <= loss), math.inf)
        return epochs * self.epoch_s


def main() -> None:
    """Live through the nights and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder with real tables; see REAL")
    parser.add_argument("--nights", type=int, default=8, help="nights after the first")
    parser.add_argument("--epochs", type=int, default=40, help="from fresh weights")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the champion")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    arguments = parser.parse_args()
    tables = [_synthetic(arguments.epochs)]
    if arguments.data:
        tables += [_read(arguments.data, real, arguments.epochs) for real in REAL]
    page = "# Starting from the champion\n\n"
    page += f"From fresh weights {arguments.epochs} epochs, from the champion a quarter, of which "
    page += f"`warm_share` {arguments.shares[0]:g} is in the first weights. Best is the lowest "
    page += "validation loss; then the epochs, and seconds of training and validation, until it is "
    page += "as low as the best from fresh weights, and within 1 % of that.\n"
    shares = "\n## How much of the champion\n\nMeans over the nights, champion over fresh: best "
    shares += "validation loss, and the test metric (lower is better in all). Each share lives "
    shares += f"through its own nights.\n\n| table | share | validation | test |\n|{' --- |' * 4}\n"
    for growing in tables:
        nights = _nights(growing, arguments.nights, arguments.shares)
        page += _told(growing, nights, arguments.shares[0])
        for share in arguments.shares:
            val = statistics.mean(min(n.warm[share].losses) / min(n.cold.losses) for n in nights)
            test = statistics.mean(n.warm[share].test / n.cold.test for n in nights)
            shares += f"| {growing.name} | {share:g} | {val:.3f} | {test:.3f} |\n"
    publish_result(
        page + shares, arguments.out, command="python -m benchmarks.warm_start --data FOLDER"
    )


@dataclass(frozen=True)
class Night:
    """A night's rows, trained from fresh weights and, by share, from the champion."""

    n_rows: int
    cold: Way
    warm: Mapping[float, Way]


def _nights(growing: Growing, n_nights: int, shares: Sequence[float]) -> list[Night]:
    n_rows = growing.table.num_rows
    counts = [int(n) for n in np.linspace(n_rows * 0.6, n_rows, n_nights + 1)]
    first = _train(growing, counts[0], None).model
    champions = dict.fromkeys(shares, first)
    nights: list[Night] = []
    for count in counts[1:]:
        cold = _train(growing, count, None)
        warm = {share: _train(growing, count, champions[share], share) for share in shares}
        champions = {share: way.model for share, way in warm.items()}
        nights.append(Night(count, cold, warm))
    return nights


def _told(growing: Growing, nights: Sequence[Night], share: float) -> str:
    """Return the nights of one share as a table."""
    page = (
        f"\n## {growing.name}: {growing.what}\n\n| rows | best: fresh | champion | to it: fresh | "
    )
    page += f"champion | within 1 %: fresh | champion | test {growing.config.primary}: fresh | "
    page += f"champion |\n|{' --- |' * 9}\n"
    faster: dict[float, list[float]] = {1.0: [], 1.01: []}
    for night in nights:
        cold, warm = night.cold, night.warm[share]
        best = min(cold.losses)
        page += f"| {night.n_rows:,} | {best:.4f} | {min(warm.losses):.4f} "
        for tolerance, ratios in faster.items():
            fresh_s, champion_s = (way.seconds_to(best * tolerance) for way in (cold, warm))
            ratios.append(fresh_s / champion_s)
            page += "".join(f"| {_cost(way, best * tolerance)} " for way in (cold, warm))
        page += f"| {cold.test:.4f} | {warm.test:.4f} |\n"
    return page + "\n" + " ".join(_summary(tolerance, r) for tolerance, r in faster.items()) + "\n"


def _summary(tolerance: float, ratios: Sequence[float]) -> str:
    reached = [ratio for ratio in ratios if ratio > 0]
    goal = "the best from fresh weights" if tolerance == 1 else "1 % of it"
    times = f", {statistics.median(reached):.1f} times as fast (median)" if reached else ""
    return f"From the champion {len(reached)} of {len(ratios)} nights came to {goal}{times}."


def _cost(way: Way, loss: float) -> str:
    seconds = way.seconds_to(loss)
    return "never" if seconds == math.inf else f"{seconds / way.epoch_s:.0f} ({seconds:.1f} s)"


def _train(growing: Growing, n_rows: int, champion: FittedModel | None, share: float = 1.0) -> Way:
    rows = growing.table.slice(0, n_rows)
    training = growing.config.training.model_copy(update={"warm_share": share})
    config = growing.config.model_copy(update={"training": training})
    session = start_on_rows(config, rows, champion=champion)
    records = list(session.epochs())
    model = session.fitted()
    _, _, test = split_rows(rows, config)
    predictions = model.predictions(test.select(list(config.columns)))
    scores = score(test[config.data.target], predictions)
    epoch_s = statistics.median(record.epoch_s for record in records)
    return Way([r.val_loss for r in records], epoch_s, scores[config.primary], model)


def _config(
    target: str, task: str, columns: Mapping[str, Any], epochs: int, **training: Any
) -> PipelineConfig:
    tree = {
        "name": "growing",
        "data": {"source": {"kind": "csv", "path": "-"}, "target": target, "task": task},
        "columns": dict(columns),
        "model": {"dropout": 0.1, "dropout_embedding": 0.0},
        "training": {"epochs": epochs, "device": "cpu", "start_from": "champion", **training},
        "evaluation": {"primary": "rmse" if task == "regression" else "log_loss"},
    }
    return PipelineConfig.model_validate(tree)


def _read(folder: Path, real: Real, epochs: int) -> Growing:
    """Read a real table; everything that is no number is a category, blanks around names go."""
    raw = pa_csv.open_csv(folder / real.file)
    names = raw.schema.names
    table = pa_csv.read_csv(
        folder / real.file,
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True
        ),
    ).rename_columns([name.strip() for name in names])
    columns = {name: {"kind": "number"} for name in real.numbers}
    words = set(table.column_names) - {*real.numbers, *real.leaves_out, real.target}
    columns |= {name: {"kind": "category", "nullable": True} for name in sorted(words)}
    config = _config(real.target, real.task, columns, epochs, batch_size=real.batch_size)
    if real.is_shuffled:
        order = np.random.default_rng(0).permutation(table.num_rows)[:_MOST_ROWS]
        table = table.take(pa.array(order))
    typed = conform(
        table.select([*columns, real.target]),
        {**config.columns, real.target: target_column(config.data)},
        source=real.file,
    )
    return Growing(real.file, real.what, typed, config)


def _synthetic(epochs: int, n_rows: int = 60_000, n_ids: int = 4000) -> Growing:
    """Return rows of ids that each have an effect of their own and join one after the other."""
    random = np.random.default_rng(0)
    known = np.linspace(n_ids * 0.5, n_ids, n_rows)
    ids = (random.random(n_rows) ** 2 * known).astype(int)
    effect, size = random.normal(0, 1.5, n_ids + 1), random.normal(0, 1, n_rows)
    chance = 1 / (1 + np.exp(-(effect[ids] + np.sin(2 * size))))
    label = np.where(random.random(n_rows) < chance, "yes", "no")
    table = pa.table({"id": ids.astype(str), "size": size, "label": label})
    columns = {"id": {"kind": "category"}, "size": {"kind": "number"}}
    config = _config("label", "binary", columns, epochs, batch_size=512)
    return Growing("synthetic", "ids with an effect of their own join every night", table, config)


if __name__ == "__main__":
    main()
