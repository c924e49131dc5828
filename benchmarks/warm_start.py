"""What it saves to start from the champion, night after night of a growing table.

Each night trains twice on the same rows: from fresh weights over all epochs, and from the model
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
from pipeline_lib.data.contract import conform, target_column
from pipeline_lib.evaluation.metrics import score
from pipeline_lib.fitting import split_rows, start_on_rows
from pipeline_lib.serving import FittedModel

BIKE_WORDS = ("season", "yr", "mnth", "hr", "holiday", "weekday", "workingday", "weathersit")
BIKE_NUMBERS = ("temp", "atemp", "hum", "windspeed")


@dataclass(frozen=True)
class Growing:
    """A table whose rows come in order, and how it is learned."""

    name: str
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
    """Live through the nights and print a table for each way of growing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bike", type=Path, help="bike_hour.csv: hourly rows of two years")
    parser.add_argument("--nights", type=int, default=8, help="nights after the first")
    parser.add_argument("--epochs", type=int, default=40, help="from fresh weights")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    arguments = parser.parse_args()
    tables = [_synthetic(arguments.epochs)]
    if arguments.bike:
        tables.append(_bike(arguments.bike, arguments.epochs))
    page = "# Starting from the champion\n\n"
    page += f"From fresh weights {arguments.epochs} epochs, from the champion a quarter. Best is "
    page += "the lowest validation loss; then the epochs, and seconds of training and validation, "
    page += "until it is as low as the best from fresh weights, and within 1 % of that.\n"
    for growing in tables:
        page += _nights(growing, arguments.nights)
    publish_result(page, arguments.out, command="python -m benchmarks.warm_start --bike FILE")


def _nights(growing: Growing, n_nights: int) -> str:
    n_rows, primary = growing.table.num_rows, growing.config.primary
    counts = [int(n) for n in np.linspace(n_rows * 0.6, n_rows, n_nights + 1)]
    champion = _train(growing, counts[0], None).model
    page = f"\n## {growing.name}\n\n| rows | best: fresh | champion | to it: fresh | champion | "
    page += f"within 1 %: fresh | champion | test {primary}: fresh | champion |\n|{' --- |' * 9}\n"
    faster: dict[float, list[float]] = {1.0: [], 1.01: []}
    for count in counts[1:]:
        cold, warm = _train(growing, count, None), _train(growing, count, champion)
        best = min(cold.losses)
        page += f"| {count:,} | {best:.4f} | {min(warm.losses):.4f} "
        for tolerance, ratios in faster.items():
            fresh_s, champion_s = (way.seconds_to(best * tolerance) for way in (cold, warm))
            ratios.append(fresh_s / champion_s)
            page += "".join(f"| {_cost(way, best * tolerance)} " for way in (cold, warm))
        page += f"| {cold.test:.4f} | {warm.test:.4f} |\n"
        champion = warm.model
    return page + "\n" + " ".join(_summary(tolerance, r) for tolerance, r in faster.items()) + "\n"


def _summary(tolerance: float, ratios: Sequence[float]) -> str:
    reached = [ratio for ratio in ratios if ratio > 0]
    goal = "the best from fresh weights" if tolerance == 1 else "1 % of it"
    times = f", {statistics.median(reached):.1f} times as fast (median)" if reached else ""
    return f"From the champion {len(reached)} of {len(ratios)} nights came to {goal}{times}."


def _cost(way: Way, loss: float) -> str:
    seconds = way.seconds_to(loss)
    return "never" if seconds == math.inf else f"{seconds / way.epoch_s:.0f} ({seconds:.1f} s)"


def _train(growing: Growing, n_rows: int, champion: FittedModel | None) -> Way:
    config, rows = growing.config, growing.table.slice(0, n_rows)
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


def _bike(path: Path, epochs: int) -> Growing:
    words = {name: pa.string() for name in BIKE_WORDS}
    table = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=words))
    columns = {name: {"kind": "category"} for name in BIKE_WORDS}
    columns |= {name: {"kind": "number"} for name in BIKE_NUMBERS}
    config = _config("cnt", "regression", columns, epochs, batch_size=256)
    typed = conform(
        table.select([*columns, "cnt"]),
        {**config.columns, "cnt": target_column(config.data)},
        source=path.name,
    )
    return Growing("bike_hour.csv: hourly rows, the second year joins", typed, config)


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
    return Growing("synthetic: ids with an effect of their own join every night", table, config)


if __name__ == "__main__":
    main()
