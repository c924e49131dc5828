"""What MLflow did not take of a night is written by the next run, once, into the right store."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline_lib.home import find_home
from pipeline_lib.storage.json_files import read_json_lines
from pipeline_lib.tracking.reference import RunReference
from pipeline_lib.tracking.unrecorded import (
    end_or_keep,
    keep_for_later,
    record_decision,
    record_late,
)


def _made(client: MlflowClient, name: str) -> str:
    place = (
        find_home().dataset(name).folder / "artifacts"
    )  # else it is ./mlruns, in the working tree
    return client.create_experiment(name, artifact_location=place.as_uri())


def started(client: MlflowClient, name: str) -> RunReference:
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else _made(client, name)
    run = client.create_run(number)
    return RunReference(run.info.run_id, number, "key", int(run.info.start_time), "", find_home())


def test_what_was_kept_is_written_once_and_what_another_store_knows_stays(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, deleted = started(client, "late"), started(client, "late")
    (tmp_path / "report.md").write_text("# The page")
    tags = {"decision": "promoted"}
    keep_for_later(find_home().dataset("late"), run.run_id, page=tmp_path / "report.md", tags=tags)
    keep_for_later(find_home().dataset("late"), run.run_id, status="FINISHED")
    keep_for_later(find_home().dataset("late"), "0" * 32, status="FINISHED")
    keep_for_later(find_home().dataset("late"), version="7", tags={"promoted_at": "now"})
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:word@127.0.0.1:9/mlflow")
    keep_for_later(find_home().dataset("late"), deleted.run_id, status="FINISHED")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")

    record_late(client, "late")

    found = client.get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.tags["decision"] == "promoted"
    assert found.data.tags["mlflow.note.content"] == "# The page"
    assert "report.md" in [file.path for file in client.list_artifacts(run.run_id)]
    (left,) = read_json_lines(find_home().dataset("late").folder / "unrecorded.jsonl")
    assert (left["run_id"], left["store"]) == (deleted.run_id, "127.0.0.1:9/mlflow")
    assert client.get_run(deleted.run_id).info.status == "RUNNING"


def test_a_server_that_is_away_makes_no_decision_fail(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started(client, "away")
    (tmp_path / "report.md").write_text("# The page")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    why = record_decision(
        find_home().dataset("away"), run, tmp_path / "report.md", {"decision": "kept"}, "accuracy"
    )
    end_or_keep(find_home().dataset("away"), run.run_id, "FINISHED")

    assert "no MLflow server answers at 127.0.0.1:9" in why
    lines = read_json_lines(find_home().dataset("away").folder / "unrecorded.jsonl")
    assert [line["status"] for line in lines] == ["", "FINISHED"]


def test_nothing_is_left_when_all_was_written(client: MlflowClient) -> None:
    run = started(client, "whole")
    keep_for_later(find_home().dataset("whole"), run.run_id, status="FINISHED")

    record_late(client, "whole")
    record_late(client, "whole")

    assert not (find_home().dataset("whole").folder / "unrecorded.jsonl").exists()
    assert client.get_run(run.run_id).info.status == "FINISHED"
