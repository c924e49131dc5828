"""What a night leaves behind, in Prefect, in MLflow, in the registry and on disk."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from pipeline_lib.evaluation.journal import JournalEntry, read_journal
from pipeline_lib.home import find_home
from tests.flows.conftest import Story

CURVES = ["train/loss", "val/loss", "val/macro_f1", "learning_rate", "epoch_s"]


def test_the_first_model_that_is_good_enough_becomes_champion(story: Story) -> None:
    state = story.states["first"]

    champion = story.client.get_model_version_by_alias("cars", "champion")

    assert state.is_completed()
    assert state.name == "Promoted"
    assert champion.run_id == story.mlflow_runs("first")[0].info.run_id
    assert champion.tags["decision"] == "promoted"
    tags = story.mlflow_runs("first")[0].data.tags
    for key in ("run_key", "data.digest", "config.digest"):
        assert champion.tags[key] == tags[key]


def test_every_epoch_is_a_point_of_every_curve(story: Story) -> None:
    run = story.mlflow_runs("first")[0]

    steps = {
        key: [point.step for point in story.client.get_metric_history(run.info.run_id, key)]
        for key in CURVES
    }

    assert steps == {key: list(range(1, 31)) for key in CURVES}


def test_parameters_metrics_and_tags_carry_the_names_others_rely_on(story: Story) -> None:
    data = story.mlflow_runs("first")[0].data

    assert data.params["training.epochs"] == "30"
    assert data.params["model.kind"] == "embedding_mlp"
    assert data.params["training.optimizer.learning_rate"] == "0.02"
    for name in ("accuracy", "macro_f1", "log_loss", "roc_auc"):
        assert f"test/{name}" in data.metrics
    assert {"best/macro_f1", "best/val_loss", "best/epoch"} <= data.metrics.keys()
    assert any(key.startswith("baseline/") for key in data.metrics)
    wanted = {"trigger", "run_key", "prefect.flow_run_id", "data.digest", "config.digest"}
    assert wanted | {"decision", "decision.reason", "team"} <= data.tags.keys()
    assert data.tags["trigger"] == "command"


def test_the_champions_score_on_the_same_rows_is_recorded_with_the_difference(story: Story) -> None:
    metrics = story.mlflow_runs("worse")[0].data.metrics

    delta = metrics["test/macro_f1"] - metrics["champion/macro_f1"]

    assert delta < 0
    assert abs(metrics["delta/macro_f1"] - delta) < 1e-12
    first = story.mlflow_runs("first")[0].data.metrics
    assert abs(metrics["champion/macro_f1"] - first["test/macro_f1"]) < 1e-12


def test_artifacts_hold_report_pictures_tables_codes_config_and_tensorboard(story: Story) -> None:
    run_id = story.mlflow_runs("first")[0].info.run_id

    root = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=""))

    files = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    wanted = {
        "report.md",
        "config.yaml",
        "encoding/categories.json",
        "plots/losses.png",
        "plots/confusion.png",
        "tables/classification_report.txt",
        "tables/classes.csv",
        "tables/confusion.csv",
        "tables/test_predictions.parquet",
    }
    assert wanted <= files
    assert any(file.startswith("tensorboard/events.out") for file in files)
    report = (root / "tables/classification_report.txt").read_text()
    assert all(name in report for name in ("unacc", "acc", "good", "vgood"))
    codes = json.loads((root / "encoding/categories.json").read_text())["columns"][0]["codes"]
    assert [code["meaning"] for code in codes[:3]] == ["unseen", "missing", "category"]


def test_unchanged_rows_and_config_are_skipped_visibly_and_train_nothing(story: Story) -> None:
    state = story.states["nothing new"]

    outcome = state.result()

    assert (state.name, state.is_completed()) == ("Skipped", True)
    assert "nothing is new" in outcome.reason
    assert story.mlflow_runs("nothing new") == []


def test_a_forced_run_of_the_same_key_registers_nothing_twice(story: Story) -> None:
    first, forced = (story.mlflow_runs(night)[0].data for night in ("first", "forced"))

    versions = story.client.search_model_versions("name = 'cars'")

    assert first.tags["run_key"] == forced.tags["run_key"]
    keys = [version.tags["run_key"] for version in versions]
    assert keys.count(first.tags["run_key"]) == 1


def test_the_page_of_a_night_that_is_done_again_lists_no_category_as_new(story: Story) -> None:
    pages = {
        night: Path(
            story.client.download_artifacts(story.mlflow_runs(night)[0].info.run_id, "report.md")
        ).read_text("utf-8")
        for night in ("first", "forced")
    }

    assert "| safety | 3: 'high', 'low', 'med' |" in pages["first"]
    assert "## The categories" not in pages["forced"]
    assert "- categories: unchanged since the last run" in pages["forced"]


def test_the_same_rows_config_and_code_give_the_same_metrics(story: Story) -> None:
    first, forced = (story.mlflow_runs(night)[0].data.metrics for night in ("first", "forced"))

    names = [key for key in first if key.startswith(("test/", "val/", "best/", "train/"))]

    assert {name: first[name] for name in names} == {name: forced[name] for name in names}


def test_a_tie_keeps_the_champion(story: Story) -> None:
    reason = story.states["forced"].result().reason

    assert story.states["forced"].name == "Kept"
    assert "is a tie with champion v1" in reason
    assert reason.endswith("on the same rows (+0.0000), standard error 0.0000")


def test_a_worse_model_is_kept_from_the_champions_place_and_says_by_how_much(story: Story) -> None:
    outcome = story.states["worse"].result()

    champion = story.client.get_model_version_by_alias("cars", "champion")
    challenger = story.client.get_model_version_by_alias("cars", "challenger")

    run = story.mlflow_runs("worse")[0]
    assert outcome.decision == "kept"
    assert f"({run.data.metrics['delta/macro_f1']:+.4f})" in outcome.reason
    assert champion.run_id != run.info.run_id
    assert (challenger.run_id, str(challenger.version)) == (run.info.run_id, outcome.version)


def test_a_model_below_the_floor_is_rejected_and_gets_no_version(story: Story) -> None:
    outcome = story.states["hopeless"].result()

    versions = {v.run_id for v in story.client.search_model_versions("name = 'cars'")}

    assert outcome.decision == "rejected"
    assert "needed ≥ 0.999" in outcome.reason
    assert story.mlflow_runs("hopeless")[0].info.run_id not in versions


def test_a_diverging_training_fails_its_run_and_registers_nothing(story: Story) -> None:
    run = story.mlflow_runs("diverging")[0]

    versions = {v.run_id for v in story.client.search_model_versions("name = 'cars'")}

    assert story.states["diverging"].is_failed()
    assert "not finite at epoch" in str(story.states["diverging"].message)
    assert run.info.status == "FAILED"
    assert run.info.run_id not in versions


def test_broken_rows_stop_the_night_before_any_training_each_time(story: Story) -> None:
    for night in ("broken rows", "broken rows again"):
        state = story.states[night]

        runs = story.mlflow_runs(night)

        assert state.is_failed()
        assert "'safety'" in str(state.message)
        assert "3 rows have no value" in str(state.message)
        assert [run.info.status for run in runs] == ["FAILED"]
        assert runs[0].data.tags["decision"] == "stopped"
        assert not any(key.startswith("train/") for key in runs[0].data.metrics)


@pytest.mark.parametrize(
    ("night", "decision", "reason"),
    [
        ("broken rows again", "stopped", "3 rows have no value"),
        ("no rows", "stopped", "cars.csv"),
        ("diverging", "failed", "not finite at epoch"),
    ],
)
def test_a_night_without_a_decision_leaves_a_page_everywhere(
    story: Story, night: str, decision: str, reason: str
) -> None:
    run, flow_run = story.mlflow_runs(night)[0], story.flow_run(night)
    key = ArtifactFilter(key=ArtifactFilterKey(any_=["decision-cars"]))

    page = Path(
        mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="report.md")
    )
    artifacts = story.prefect.read_artifacts(artifact_filter=key)
    entries = [entry for entry in _journal(story) if entry.run_id == run.info.run_id]

    text = page.read_text()
    assert reason in text
    assert str(flow_run.id) in text
    assert "The model in use stays as it is" in text
    assert [a.data for a in artifacts if a.flow_run_id == flow_run.id] == [text]
    folder = run.data.tags.get("run_key", "cars-without-rows")
    assert (story.home / "runs" / folder / "report.md").read_text() == text
    assert run.data.tags["decision"] == decision
    assert [entry.decision for entry in entries] == [decision]


def test_an_experiment_is_compared_and_not_registered(story: Story) -> None:
    outcome = story.states["experiment"].result()

    run = story.mlflow_runs("experiment")[0]
    versions = {v.run_id for v in story.client.search_model_versions("name = 'cars'")}

    assert (outcome.decision, outcome.version, outcome.experiment) == ("kept", "", True)
    assert outcome.champion == "1"
    assert "values differ from cars.yaml" in outcome.reason
    assert "--promote" in outcome.reason
    assert run.data.tags["experiment"] == "true"
    assert "champion/macro_f1" in run.data.metrics
    assert "# cars: an experiment" in run.data.tags["mlflow.note.content"]
    assert run.info.run_id not in versions
    assert story.states["experiment again"].name == "Skipped"


def test_after_an_experiment_the_datasets_own_config_has_nothing_new(story: Story) -> None:
    outcome = story.states["after the experiment"].result()

    assert outcome.decision == "skipped"
    assert "version 1 stays champion" in outcome.reason
    assert (outcome.champion, outcome.experiment) == ("1", False)


def test_flow_run_and_mlflow_run_link_to_each_other(story: Story) -> None:
    run, flow_run = story.mlflow_runs("first")[0], story.flow_run("first")
    key = ArtifactFilter(key=ArtifactFilterKey(any_=["decision-cars"]))

    pages = [
        a for a in story.prefect.read_artifacts(artifact_filter=key) if a.flow_run_id == flow_run.id
    ]

    assert run.data.tags["prefect.flow_run_id"] == str(flow_run.id)
    assert str(flow_run.id) in run.data.tags["prefect.url"]
    assert len(pages) == 1
    assert run.info.run_id in str(pages[0].data)
    assert str(pages[0].data) == run.data.tags["mlflow.note.content"]
    assert run.info.run_name == flow_run.name


def test_the_journal_holds_every_run_in_order(story: Story) -> None:
    entries = _journal(story)

    assert [(entry.decision, bool(entry.experiment)) for entry in entries] == [
        ("promoted", False),
        ("skipped", False),
        ("kept", False),  # a tie with itself
        ("kept", True),
        ("skipped", True),
        ("skipped", False),
        ("rejected", True),
        ("failed", False),
        ("kept", False),
        ("stopped", False),
        ("stopped", False),
        ("stopped", False),
    ]
    assert {entry.champion for entry in entries if entry.champion is not None} == {"1"}


def _journal(story: Story) -> tuple[JournalEntry, ...]:
    os.environ["EVERGREEN_HOME"] = str(story.home)  # restored by the fixture around each test
    return read_journal(find_home().dataset("cars"))


def test_a_clean_process_loads_the_champion_without_pickle_and_predicts_raw_rows(
    story: Story, tmp_path: Path
) -> None:
    script = """
import json, mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models:/cars@champion")
rows = pd.DataFrame({
    "price": ["low", "vhigh", "med"], "maint": ["low", "vhigh", "teapot"],
    "doors": ["4", 2, "3"], "persons": ["4", "2", "more"],
    "lug_capacity": ["big", "small", "med"], "safety": ["high", "low", None]})
print(json.dumps(model.predict(rows).to_dict("list")))
"""
    environment = {
        "PATH": os.environ["PATH"],
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_TRACKING_URI": f"sqlite:///{story.home / 'mlflow.db'}",
    }

    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    answer = pd.DataFrame(json.loads(done.stdout.splitlines()[-1]))
    classes = ["unacc", "acc", "good", "vgood"]
    assert list(answer.columns) == ["prediction", *(f"probability_{c}" for c in classes), "unseen"]
    assert answer["prediction"][1] == "unacc"
    assert answer["unseen"].tolist() == [0, 0, 2]
    assert abs(answer.filter(like="probability_").sum(axis=1) - 1).max() < 1e-6


def test_nothing_of_a_package_is_a_pickle(story: Story) -> None:
    version = story.client.get_model_version_by_alias("cars", "champion")

    package = Path(mlflow.artifacts.download_artifacts(f"models:/cars/{version.version}"))

    files = [path for path in package.rglob("*") if path.is_file()]
    suffixes = {path.suffix for path in files if path.parent.name != "__pycache__"}
    assert suffixes <= {"", ".py", ".json", ".yaml", ".txt", ".parquet", ".safetensors", ".typed"}


def test_nothing_is_written_beside_the_home(story: Story) -> None:
    assert sorted(path.name for path in story.home.parent.iterdir()) == [
        "cars.yaml",
        "home",
    ]
    assert not (Path.cwd() / "mlruns" / "0" / "models").exists()
