"""The curve of a training, in the file first; MLflow may come and go."""

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.metrics import Metric
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.home import find_home
from pipeline_lib.storage.json_files import read_json_lines
from pipeline_lib.tracking.epochs import EpochLog
from pipeline_lib.tracking.reference import RunReference
from pipeline_lib.tracking.runs import TrackedRun, start_run
from pipeline_lib.training.records import EpochRecord

MakeConfig = Callable[..., PipelineConfig]
KEYS = {"train/loss", "val/loss", "val/macro_f1", "learning_rate", "epoch_s"}


def _record(epoch: int) -> EpochRecord:
    return EpochRecord(epoch, 1 / epoch, 2 / epoch, epoch / 100, 0.1, 0.25, is_best=True)


def _run(config: PipelineConfig, snapshot: Snapshot) -> TrackedRun:
    with start_run(config, find_home(), snapshot, run_key="k", run_name="n", tags={}) as reference:
        return TrackedRun.of(reference)


def _fail_after_an_epoch(path: Path, run: TrackedRun) -> None:
    with EpochLog(path, run, primary="macro_f1") as log:
        log.append(_record(1))
        raise ZeroDivisionError


def _unreachable(monkeypatch: pytest.MonkeyPatch) -> TrackedRun:
    """Return a run of a server that has gone away."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    reference = RunReference("0" * 32, "1", "k", 1_000, "", find_home())
    return TrackedRun(MlflowClient(f"http://127.0.0.1:{port}"), reference)


@pytest.mark.parametrize("n_epochs", [1, 24, 25, 60])
def test_every_epoch_is_a_point_of_every_curve(
    client: MlflowClient,
    table_config: MakeConfig,
    snapshot: Snapshot,
    tmp_path: Path,
    n_epochs: int,
) -> None:
    run = _run(table_config(name=f"epochs_a_{n_epochs}"), snapshot)

    with EpochLog(tmp_path / "epochs.jsonl", run, primary="macro_f1") as log:
        for epoch in range(1, n_epochs + 1):
            log.append(_record(epoch))

    history = client.get_metric_history(run.run_id, "train/loss")
    assert set(client.get_run(run.run_id).data.metrics) == KEYS
    assert [(point.step, point.value) for point in history] == [
        (epoch, 1 / epoch) for epoch in range(1, n_epochs + 1)
    ]


def test_an_epoch_without_the_metric_has_no_point_of_its_curve_and_null_in_the_file(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot, tmp_path: Path
) -> None:
    run = _run(table_config(name="epochs_undefined"), snapshot)

    with EpochLog(tmp_path / "epochs.jsonl", run, primary="macro_f1") as log:
        log.append(EpochRecord(1, 1.0, 2.0, None, 0.1, 0.25, is_best=True))

    assert set(client.get_run(run.run_id).data.metrics) == KEYS - {"val/macro_f1"}
    assert next(iter(read_json_lines(tmp_path / "epochs.jsonl")))["primary"] is None


def test_the_file_holds_every_epoch_as_it_happens(
    table_config: MakeConfig, snapshot: Snapshot, tmp_path: Path
) -> None:
    run = _run(table_config(name="epochs_b"), snapshot)
    path = tmp_path / "epochs.jsonl"

    with EpochLog(path, run, primary="macro_f1") as log:
        for epoch in (1, 2, 3):
            log.append(_record(epoch))
            lines = read_json_lines(path)
            assert lines == [dict(_record(e).to_json()) for e in range(1, epoch + 1)]


def test_sending_epochs_again_changes_nothing(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot, tmp_path: Path
) -> None:
    run = _run(table_config(name="epochs_c"), snapshot)

    for _ in range(2):
        with EpochLog(tmp_path / "epochs.jsonl", run, primary="macro_f1") as log:
            for epoch in (1, 2, 3):
                log.append(_record(epoch))

    for key in KEYS:
        points = client.get_metric_history(run.run_id, key)
        assert [point.step for point in points] == [1, 2, 3]
    assert len(read_json_lines(tmp_path / "epochs.jsonl")) == 3


def test_twenty_five_epochs_are_sent_before_the_training_ends(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot, tmp_path: Path
) -> None:
    run = _run(table_config(name="epochs_d"), snapshot)

    with EpochLog(tmp_path / "epochs.jsonl", run, primary="macro_f1") as log:
        for epoch in range(1, 26):
            log.append(_record(epoch))
        sent = client.get_metric_history(run.run_id, "val/loss")

    assert len(sent) == 25


def test_epochs_are_sent_when_the_training_fails_and_its_error_is_the_one_seen(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot, tmp_path: Path
) -> None:
    run = _run(table_config(name="epochs_e"), snapshot)

    with pytest.raises(ZeroDivisionError):
        _fail_after_an_epoch(tmp_path / "epochs.jsonl", run)

    assert len(client.get_metric_history(run.run_id, "val/loss")) == 1


def test_mlflow_going_away_stops_no_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = EpochLog(tmp_path / "epochs.jsonl", _unreachable(monkeypatch), primary="macro_f1")

    for epoch in range(1, 61):
        log.append(_record(epoch))

    assert len(read_json_lines(tmp_path / "epochs.jsonl")) == 60


def test_the_end_of_a_training_is_no_error_though_mlflow_has_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = _unreachable(monkeypatch)

    with EpochLog(tmp_path / "epochs.jsonl", run, primary="macro_f1") as log:
        log.append(_record(1))

    assert len(read_json_lines(tmp_path / "epochs.jsonl")) == 1


def test_an_error_of_the_training_is_seen_though_mlflow_has_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = _unreachable(monkeypatch)

    with pytest.raises(ZeroDivisionError):
        _fail_after_an_epoch(tmp_path / "epochs.jsonl", run)


def test_epochs_wait_until_mlflow_is_back(
    client: MlflowClient, table_config: MakeConfig, snapshot: Snapshot, tmp_path: Path
) -> None:
    run = _run(table_config(name="epochs_f"), snapshot)
    # A run that is deleted takes no metrics until it is restored: MLflow refuses for a while.
    client.delete_run(run.run_id)

    with EpochLog(tmp_path / "epochs.jsonl", run, primary="macro_f1") as log:
        for epoch in range(1, 31):
            log.append(_record(epoch))
        client.restore_run(run.run_id)

    points = client.get_metric_history(run.run_id, "train/loss")
    assert [point.step for point in points] == list(range(1, 31))


@pytest.mark.parametrize("primary", ["log_loss", "rmse"])
def test_a_curve_is_named_after_the_primary_metric_unless_it_is_the_loss_itself(
    client: MlflowClient,
    table_config: MakeConfig,
    snapshot: Snapshot,
    tmp_path: Path,
    primary: Metric,
) -> None:
    run = _run(table_config(name=f"epochs_g_{primary}"), snapshot)

    with EpochLog(tmp_path / "epochs.jsonl", run, primary=primary) as log:
        log.append(_record(1))

    keys = set(client.get_run(run.run_id).data.metrics)
    assert (f"val/{primary}" in keys) is (primary == "rmse")


def test_a_new_training_starts_a_new_file(
    table_config: MakeConfig, snapshot: Snapshot, tmp_path: Path
) -> None:
    path = tmp_path / "epochs.jsonl"
    path.write_text(json.dumps({"epoch": 99}) + "\n")

    EpochLog(path, _run(table_config(name="epochs_h"), snapshot), primary="macro_f1")

    assert read_json_lines(path) == []
