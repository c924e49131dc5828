"""Whether sparse steps of large embeddings learn as well as dense ones.

Trains the same network on the same split with every embedding above a size sparse, and with none,
and prints the best validation loss of each. On a synthetic table whose ids carry the signal, and
on a CSV file of your own whose columns are read as categories.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from benchmarks.machine import publish_result
from pipeline_lib.config import PipelineConfig
from pipeline_lib.fitting import start_on_rows

SPARSE_ABOVE = 100


def main() -> None:
    """Train both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path, help="a table, for instance open_payments.csv")
    parser.add_argument("--target", default="status", help="its binary target")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each kind")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    arguments = parser.parse_args()
    tables = {"synthetic: 50,000 ids carry the signal": (_synthetic(), "label")}
    if arguments.csv:
        tables[arguments.csv.name] = (_read(arguments.csv), arguments.target)
    page = f"# Dense and sparse embeddings\n\nBest validation loss over {arguments.seeds} seeds, "
    page += f"mean (each); sparse are tables of more than {SPARSE_ABOVE} categories.\n\n"
    page += "| table | dense Adam | SparseAdam | sparse − dense |\n| --- | --- | --- | --- |\n"
    for name, (table, target) in tables.items():
        dense, sparse = (
            [_best_loss(table, target, seed, above) for seed in range(arguments.seeds)]
            for above in (None, SPARSE_ABOVE)
        )
        difference = statistics.mean(sparse) - statistics.mean(dense)
        page += f"| {name} | {_told(dense)} | {_told(sparse)} | {difference:+.4f} |\n"
    publish_result(page, arguments.out, command="python -m benchmarks.sparse_parity")


def _told(losses: Sequence[float]) -> str:
    return f"{statistics.mean(losses):.4f} ({', '.join(f'{x:.4f}' for x in losses)})"


def _synthetic(n_rows: int = 300_000, n_ids: int = 50_000) -> pa.Table:
    """Return rows whose label follows from an effect that each id has of its own."""
    random = np.random.default_rng(0)
    ids = np.minimum(random.zipf(1.3, n_rows), n_ids)
    effect, group = random.normal(0, 2, n_ids + 1), random.integers(0, 20, n_rows)
    chance = 1 / (1 + np.exp(-(effect[ids] + np.linspace(-1, 1, 20)[group])))
    label = np.where(random.random(n_rows) < chance, "yes", "no")
    columns = {"id": ids.astype(str), "group": group.astype(str), "label": label}
    return pa.table({name: pa.array(values.tolist()) for name, values in columns.items()})


def _read(path: Path) -> pa.Table:
    names = pa_csv.open_csv(path).schema.names
    strings = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True
    )
    return pa_csv.read_csv(path, convert_options=strings)


def _best_loss(table: pa.Table, target: str, seed: int, sparse_above: int | None) -> float:
    tree = {
        "name": "parity",
        "data": {"source": {"kind": "csv", "path": "-"}, "target": target, "task": "binary"},
        "columns": {
            n: {"kind": "category", "nullable": True} for n in table.column_names if n != target
        },
        "training": {
            "epochs": 4,
            "batch_size": 1024,
            "device": "cpu",
            "seed": seed,
            "sparse_above": sparse_above,
        },
    }
    config = PipelineConfig.model_validate(tree)
    session = start_on_rows(config, table)
    return min(record.val_loss for record in session.epochs())


if __name__ == "__main__":
    main()
