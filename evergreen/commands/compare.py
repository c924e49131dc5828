"""`evergreen compare`: the latest runs of a dataset beside each other."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from evergreen.config_argument import dataset_name
from evergreen.environment import is_usable
from evergreen.tables import print_json, print_table, say
from pipeline_lib.config.metrics import METRICS
from pipeline_lib.home import find_home

if TYPE_CHECKING:
    from pipeline_lib.tracking.views import RunRow


def compare(
    name: str,
    *,
    limit: Annotated[int, Parameter(validator=Number(gte=1, lte=1000))] = 10,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Compare the latest runs of a dataset: what they set differently, and what came of it.

    Args:
        name: the dataset, or its config.
        limit: how many runs, newest first.
        json_: print all parameters and metrics as JSON.
    """
    from pipeline_lib.tracking.views import compare_runs, comparison_url

    home = find_home()
    is_usable(home)  # else a sentence says why not
    name = dataset_name(name)
    rows = compare_runs(home, name, limit=limit)
    if json_:
        print_json([asdict(row) for row in rows])
        return 0
    metrics = [key for key in _metric_keys(rows) if key.startswith("test/")]
    differing = [key for key in _shared_params(rows) if len({r.params[key] for r in rows}) > 1]
    head = ("run", "decision", "version", *metrics, *differing)
    print_table(head, [_cells(row, metrics, differing) for row in rows])
    say(f"\nin MLflow: {comparison_url(home, name)}")
    return 0


def _cells(row: "RunRow", metrics: list[str], params: list[str]) -> tuple[str, ...]:
    decision = row.decision or row.status.lower()
    decision = f"{decision} (experiment)" if row.experiment else decision
    version = f"{row.version} champion" if row.is_champion else row.version
    numbers = [f"{row.metrics[key]:.4f}" if key in row.metrics else "–" for key in metrics]
    return (row.run_name, decision, version, *numbers, *(row.params[key] for key in params))


def _metric_keys(rows: "tuple[RunRow, ...]") -> list[str]:
    order = {
        f"test/{name}": place for names in METRICS.values() for place, name in enumerate(names)
    }
    return sorted({key for row in rows for key in row.metrics}, key=lambda k: (order.get(k, 99), k))


def _shared_params(rows: "tuple[RunRow, ...]") -> list[str]:
    """Return the parameters every run has; those of one kind alone follow from its `kind`."""
    return sorted(set.intersection(*(set(row.params) for row in rows))) if rows else []
