"""A run: everything known at its start, always an end."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from pipeline_lib.config import PipelineConfig, load_config
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.errors import ServerError
from pipeline_lib.evaluation.plots import plot_confusion
from pipeline_lib.home import find_home
from pipeline_lib.tracking.reference import RunReference
from pipeline_lib.tracking.runs import TrackedRun, start_run

MakeConfig = Callable[..., PipelineConfig]


def _run(config: PipelineConfig, snapshot: Snapshot, run_key: str = "k1") -> RunReference:
    """Run one run to its end."""
    tags = {"trigger": "manual", "empty": ""}
    with start_run(
        config, find_home(), snapshot, run_key=run_key, run_name="night", tags=tags
    ) as reference:
        return reference


def _runs(client: MlflowClient, reference: RunReference) -> list[Run]:
    return list(client.search_runs([reference.experiment_id], order_by=["start_time ASC"]))


def test_names_of_classes_become_no_parameters(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot
) -> None:
    loss = {"kind": "cross_entropy", "class_weights": {"../a b@": 2.0}}
    config = table_config(name="runs_weights", training={"loss": loss})

    params = client.get_run(_run(config, snapshot).run_id).data.params

    assert params["training.loss.class_weights"] == '{"../a b@": 2.0}'
    assert not [key for key in params if "a b" in key]


def test_a_run_says_its_parameters_tags_and_data(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot
) -> None:
    config = table_config(name="runs_a", tracking={"tags": {"team": "cars"}})

    reference = _run(config, snapshot)

    run = client.get_run(reference.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "night"
    assert run.data.params["training.optimizer.learning_rate"] == "0.01"
    assert run.data.params["model.d_hidden"] == "[8]"
    assert run.data.params["columns.0.name"] == "color"
    assert run.data.params["columns.1.kind"] == "number"
    tags = run.data.tags
    assert tags["run_key"] == reference.run_key == "k1"
    assert tags["data.digest"] == snapshot.digest
    assert tags["config.digest"] == config.digest()
    assert (tags["trigger"], tags["team"]) == ("manual", "cars")
    assert "empty" not in tags
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("runs_a", snapshot.digest[:36])
    profile = json.loads(data.dataset.profile)
    assert profile == {"num_rows": 1728, "digest": snapshot.digest}


def test_the_config_of_a_run_can_be_loaded_again(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot, tmp_path: Path
) -> None:
    config = table_config(name="runs_b")

    reference = _run(config, snapshot)

    kept = client.download_artifacts(reference.run_id, "config.yaml", str(tmp_path))
    assert load_config(kept).digest() == config.digest()


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(), "KILLED")],
    ids=["exception", "interrupt", "exit"],
)
def test_a_run_that_does_not_finish_says_so(
    client: MlflowClient,
    table_config: MakeConfig,
    snapshot: Snapshot,
    error: BaseException,
    status: str,
) -> None:
    config = table_config(name=f"runs_c_{type(error).__name__.lower()}")
    started: list[RunReference] = []

    def fail_in_between() -> None:
        with start_run(
            config, find_home(), snapshot, run_key="k", run_name="n", tags={}
        ) as reference:
            started.append(reference)
            raise error

    with pytest.raises(type(error)):
        fail_in_between()

    assert client.get_run(started[0].run_id).info.status == status


def test_runs_that_kills_left_running_are_ended_and_those_of_other_homes_are_not(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot
) -> None:
    config = table_config(name="runs_d")
    first = _run(config, snapshot, "first")
    experiment, tags = first.experiment_id, client.get_run(first.run_id).data.tags
    elsewhere = "another-host:/home/else/datasets/runs_d"
    dead = client.create_run(experiment, tags={"run_key": "mine"}).info.run_id
    here = client.create_run(experiment, tags={**tags, "run_key": "other"}).info.run_id
    alive = client.create_run(
        experiment, tags={"run_key": "other", "dataset.folder": elsewhere}
    ).info.run_id
    finished = client.create_run(experiment, tags={"run_key": "mine"}).info.run_id
    client.set_terminated(finished, "FAILED")

    _run(config, snapshot, "mine")

    statuses = [client.get_run(run_id).info.status for run_id in (dead, here, alive, finished)]
    assert statuses == ["KILLED", "KILLED", "RUNNING", "FAILED"]


def test_a_run_key_in_mlflow_that_leads_out_of_the_home_sweeps_nothing(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot, store_home: Path
) -> None:
    config = table_config(name="runs_out")
    first = _run(config, snapshot, "first")
    tags = client.get_run(first.run_id).data.tags
    outside = store_home.parent / "outside"
    outside.mkdir()
    (outside / f".notes.{'0' * 16}").write_text("another user's")
    (store_home / "runs").mkdir(exist_ok=True)  # else the path would lead nowhere
    dead = client.create_run(
        first.experiment_id, tags={**tags, "run_key": "../../outside"}
    ).info.run_id

    _run(config, snapshot, "next")

    assert client.get_run(dead).info.status == "KILLED"
    assert [path.read_text() for path in outside.iterdir()] == ["another user's"]


def test_a_config_of_a_hundred_and_fifty_columns_can_be_tracked(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot
) -> None:
    columns = {f"c{i}": {"kind": "category"} for i in range(150)}
    config = table_config(name="runs_e", columns=columns)

    reference = _run(config, snapshot)

    params = client.get_run(reference.run_id).data.params
    assert params["columns.149.name"] == "c149"
    assert params["training.epochs"] == "3"


def test_a_parameter_that_is_too_long_for_mlflow_is_cut(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot
) -> None:
    classes = [f"class number {i}" for i in range(1000)]
    config = table_config(name="runs_f", data={"classes": classes})

    reference = _run(config, snapshot)

    assert len(client.get_run(reference.run_id).data.params["data.classes"]) == 6000


def test_everything_that_a_run_records_can_be_read_back(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot, tmp_path: Path
) -> None:
    run = TrackedRun.of(_run(table_config(name="runs_h"), snapshot))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("a")

    run.log_metrics({"test/macro_f1": 0.5, "test/accuracy": 0.75})
    run.log_text("# page", "report.md")
    run.log_json({"é": [1, None]}, "encoding/categories.json")
    run.log_table(pd.DataFrame({"class": ["a"], "f1": [0.5]}), "classes.csv")
    run.log_figure(plot_confusion(pd.DataFrame([[1, 0], [0, 1]]).to_numpy(), "ab"), "confusion.png")
    run.log_file(tmp_path / "folder" / "a.txt", "tables")
    run.log_folder(tmp_path / "folder", "tensorboard")
    run.set_tags({"decision": "promoted"})
    run.describe("what **happened**")

    again = client.get_run(run.run_id)
    assert again.data.metrics == {"test/macro_f1": 0.5, "test/accuracy": 0.75}
    assert again.data.tags["decision"] == "promoted"
    assert again.data.tags["mlflow.note.content"] == "what **happened**"
    local = Path(client.download_artifacts(run.run_id, "", str(tmp_path)))
    assert (local / "report.md").read_text() == "# page"
    assert json.loads((local / "encoding/categories.json").read_text()) == {"é": [1, None]}
    assert (local / "tables/classes.csv").read_text() == "class,f1\na,0.5\n"
    assert (local / "plots/confusion.png").read_bytes().startswith(b"\x89PNG")
    assert (local / "tables/a.txt").exists()
    assert (local / "tensorboard/a.txt").exists()


def test_a_run_leaves_no_run_active_in_mlflows_globals(
    table_config: MakeConfig, snapshot: Snapshot
) -> None:
    config = table_config(name="runs_i")

    with start_run(config, find_home(), snapshot, run_key="k", run_name="n", tags={}):
        assert mlflow.active_run() is None

    assert mlflow.active_run() is None


def test_artifacts_lie_below_the_home(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot, store_home: Path
) -> None:
    reference = _run(table_config(name="runs_j"), snapshot)

    uri = client.get_run(reference.run_id).info.artifact_uri

    assert uri.startswith((store_home / "artifacts" / "runs_j").as_uri())
    assert (store_home / "mlflow.db").exists()


def test_a_database_that_takes_no_run_is_a_server_error_that_names_it(
    table_config: MakeConfig, snapshot: Snapshot, store_home: Path, client: MlflowClient
) -> None:
    client.create_experiment("runs_refused")
    refuse = "CREATE TRIGGER refuse BEFORE INSERT ON runs BEGIN SELECT RAISE(FAIL, 'is full'); END"
    with closing(sqlite3.connect(store_home / "mlflow.db")) as database:
        database.execute(refuse)
    try:
        with pytest.raises(ServerError, match=r"mlflow.db refuses: .*is full"):
            _run(table_config(name="runs_refused"), snapshot)
    finally:
        with closing(sqlite3.connect(store_home / "mlflow.db")) as database:
            database.execute("DROP TRIGGER refuse")
