"""Runs side by side, on the terminal and in MLflow's pages."""

import json
from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.metrics import Metric
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.errors import UsageError
from pipeline_lib.home import find_home
from pipeline_lib.tracking.runs import TrackedRun, start_run
from pipeline_lib.tracking.store import experiment_id
from pipeline_lib.tracking.views import compare_runs, comparison_url, share_leaderboard

MakeConfig = Callable[..., PipelineConfig]


@pytest.mark.parametrize(("primary", "ascending"), [("macro_f1", False), ("rmse", True)])
def test_the_leaderboard_is_a_tag_with_the_best_run_first(
    client: MlflowClient, primary: Metric, ascending: bool
) -> None:
    experiment = experiment_id(client, f"views_{primary}")

    url = share_leaderboard(client, experiment, primary)

    tags = client.get_experiment(experiment).tags
    state = json.loads(tags["mlflow.sharedViewState.evergreen"])
    assert state["orderByKey"] == f"metrics.`test/{primary}`"
    assert state["orderByAsc"] is ascending
    assert f"metrics.`test/{primary}`" in state["selectedColumns"]
    assert "tags.`decision`" in state["selectedColumns"]
    assert f"/experiments/{experiment}/runs" in url
    assert "viewStateShareKey=evergreen" in url
    assert url == comparison_url(find_home(), f"views_{primary}")


def test_runs_are_compared_newest_first_with_their_numbers(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot
) -> None:
    del client
    config = table_config(name="views_runs")
    for number in (1, 2, 3):
        with start_run(
            config, find_home(), snapshot, run_key=f"k{number}", run_name=f"night {number}", tags={}
        ) as reference:
            run = TrackedRun.of(reference)
            run.log_metrics({"test/macro_f1": number / 10})
            run.set_tags({"decision": "kept"})

    rows = compare_runs(find_home(), "views_runs", limit=2)

    assert [row.run_name for row in rows] == ["night 3", "night 2"]
    assert rows[0].metrics["test/macro_f1"] == 0.3
    assert rows[0].params["training.epochs"] == "3"
    assert (rows[0].decision, rows[0].version, rows[0].is_champion) == ("kept", "", False)


def test_a_dataset_without_runs_is_told_with_the_nearest_name(client: MlflowClient) -> None:
    experiment_id(client, "views_known")

    with pytest.raises(UsageError, match=r"'views_knwon' are recorded; did you mean views_known\?"):
        compare_runs(find_home(), "views_knwon")
