"""Comparing the runs of a dataset: as rows for a terminal, as a leaderboard in MLflow's pages."""

import json
from dataclasses import dataclass

from mlflow import MlflowClient

from pipeline_lib.config.metrics import METRIC_FACTS, Metric
from pipeline_lib.errors import UsageError
from pipeline_lib.home import Home
from pipeline_lib.tracking.store import connect, is_anything_recorded, ui_url
from pipeline_lib.tracking.versions import champion_version
from pipeline_lib.wording import unknown_dataset

_VIEW_KEY = "evergreen"
_PARAMS = (
    "model.dropout",
    "training.scheduler.kind",
    "training.epochs",
    "training.seed",
)


@dataclass(frozen=True)
class RunRow:
    """One run of a dataset, as a comparison shows it; an experiment has no version."""

    run_name: str
    run_id: str
    started_ms: int
    status: str
    version: str
    is_champion: bool
    decision: str
    experiment: bool
    metrics: dict[str, float]
    params: dict[str, str]


def compare_runs(home: Home, name: str, *, limit: int = 20) -> tuple[RunRow, ...]:
    """Return the latest runs of a dataset, newest first.

    Raises:
        UsageError: MLflow knows no experiment of that name, or there is no store yet.
    """
    if not is_anything_recorded(home):
        raise _not_recorded(name, [])
    client = connect(home)
    experiment = _experiment(client, name)
    versions = {v.run_id: str(v.version) for v in client.search_model_versions(f"name = '{name}'")}
    champion = champion_version(client, name)
    rows: list[RunRow] = []
    for run in client.search_runs([experiment], order_by=["start_time DESC"], max_results=limit):
        version = versions.get(run.info.run_id, "")
        rows.append(
            RunRow(
                str(run.info.run_name),
                run.info.run_id,
                int(run.info.start_time),
                str(run.info.status),
                version,
                is_champion=champion is not None and version == str(champion.version),
                decision=run.data.tags.get("decision", ""),
                experiment=run.data.tags.get("experiment") == "true",
                metrics=dict(run.data.metrics),
                params=dict(run.data.params),
            )
        )
    return tuple(rows)


def comparison_url(home: Home, name: str) -> str:
    """Return the page of a dataset's leaderboard."""
    client = connect(home)
    return _leaderboard_url(_experiment(client, name))


def share_leaderboard(client: MlflowClient, experiment: str, primary: Metric) -> str:
    """Give the experiment a view with our columns, best run first; return its page.

    The tag `mlflow.sharedViewState.<key>` is what MLflow's own "share" button writes (3.17); it
    is not documented, and a test watches it.
    """
    columns = [
        f"metrics.`test/{primary}`",
        *(f"params.`{key}`" for key in _PARAMS),
        "tags.`decision`",
    ]
    state = {
        "searchFilter": "",
        "orderByKey": f"metrics.`test/{primary}`",
        "orderByAsc": METRIC_FACTS[primary].lower_is_better,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": ["attributes.`Models`", *columns],
    }
    client.set_experiment_tag(experiment, f"mlflow.sharedViewState.{_VIEW_KEY}", json.dumps(state))
    return _leaderboard_url(experiment)


def _leaderboard_url(experiment: str) -> str:
    return (
        f"{ui_url()}/#/experiments/{experiment}/runs"
        f"?workflowType=machine_learning&viewStateShareKey={_VIEW_KEY}"
    )


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        known = [e.name for e in client.search_experiments() if e.name != "Default"]
        raise _not_recorded(name, known)
    return str(found.experiment_id)


def _not_recorded(name: str, known: list[str]) -> UsageError:
    return UsageError(f"no runs of {name!r} are recorded{unknown_dataset(name, known)}")
