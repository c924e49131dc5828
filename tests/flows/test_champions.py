"""What becomes of the champion's place when people, kills and lost stores have been at it."""

import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from prefect.client.schemas.objects import State

from flows.outcome import Outcome
from pipeline_lib.evaluation.journal import JournalEntry, read_journal
from pipeline_lib.home import find_home

CONFIG = """
name: {name}
data:
  source: {kind: csv, path: {name}.csv}
  target: label
  task: binary
columns:
  color: {kind: category}
  size: {kind: number}
model: {kind: embedding_mlp, d_hidden: [16], dropout: 0.0, dropout_embedding: 0.0}
evaluation: {baselines: [constant]}
training:
  epochs: 8
  batch_size: 64
  device: cpu
  optimizer: {kind: adam, learning_rate: 0.02}
"""


def _rows(n_rows: int) -> str:
    random = np.random.default_rng(7)
    colors = np.array(["red", "green", "blue"])[random.integers(0, 3, n_rows)]
    sizes = random.normal(20.0, 5.0, n_rows)
    labels = np.where((sizes > 20) ^ (random.random(n_rows) < 0.1), "yes", "no")
    lines = [f"{c},{s:.6f},{x}" for c, s, x in zip(colors, sizes, labels, strict=True)]
    return "\n".join(["color,size,label", *lines]) + "\n"


@dataclass
class Project:
    """A dataset whose nights are run one by one."""

    root: Path
    client: MlflowClient
    name: str

    @property
    def rows(self) -> Path:
        """The dataset's table."""
        return self.root / f"{self.name}.csv"

    @property
    def folder(self) -> Path:
        """Where the dataset's ledger and journal lie."""
        return self.root / ".evergreen/datasets" / self.name

    def night(self, **parameters: object) -> Outcome:
        """Run the flow and return its outcome."""
        from flows.retrain import retrain

        config = str(self.root / f"{self.name}.yaml")
        state: State[Outcome] = retrain(config, return_state=True, **parameters)
        return state.result()

    def champion(self) -> str:
        """Return the version with the alias, or an empty string."""
        aliases = self.client.get_registered_model(self.name).aliases
        return str(aliases.get("champion", ""))

    def journal(self) -> tuple[JournalEntry, ...]:
        """Return the dataset's entries."""
        return read_journal(find_home().dataset(self.name))

    def forget_last_entry(self) -> None:
        """Take the last line from the journal, as a kill before it leaves it."""
        path = self.folder / "decisions.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder whose databases the first test makes and the others share."""
    return tmp_path_factory.mktemp(project.name)


@pytest.fixture
def project(
    harness: None, root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Return a project after the first night, of 2026-11-28, of a dataset of the test's own."""
    from pipeline_lib.tracking.store import connect

    name = f"gems_{request.node.name[-50:]}"
    monkeypatch.setenv("EVERGREEN_HOME", str(root / ".evergreen"))
    project = Project(root, connect(find_home()), name)
    (root / f"{name}.yaml").write_text(_config(name))
    project.rows.write_text(_rows(600))
    first = project.night(run_date="2026-11-28")
    assert (first.decision, first.version, project.champion()) == ("promoted", "1", "1")
    return project


def _config(name: str) -> str:
    return CONFIG.replace("{name}", name)


def test_a_champion_that_was_taken_out_is_replaced_only_when_a_person_says_so(
    project: Project,
) -> None:
    tags = project.client.get_model_version(project.name, "1").tags
    project.client.delete_registered_model_alias(project.name, "champion")
    project.rows.write_text(_rows(700))

    by_itself = project.night()
    again = project.night()
    asked = project.night(promote=True)

    assert tags["run_date"] == "2026-11-28"
    assert tags["config.path"] == f"{project.name}.yaml"
    assert tags["data.source"] == f"csv {project.name}.csv"
    assert (by_itself.decision, by_itself.version, by_itself.champion) == ("kept", "2", "")
    assert "has 1 version in the registry and no champion" in by_itself.reason
    assert "there is no champion" in again.reason
    assert (asked.decision, asked.version, project.champion()) == ("promoted", "2", "2")


def test_a_promotion_that_a_kill_interrupted_is_finished_and_recorded_as_one(
    project: Project,
) -> None:
    project.forget_last_entry()  # killed between alias and journal

    after_the_alias = project.night()
    project.forget_last_entry()
    project.client.delete_registered_model_alias(project.name, "champion")
    project.client.delete_model_version_tag(project.name, "1", "promoted_at")
    before_the_alias = project.night()

    for outcome in (after_the_alias, before_the_alias):
        assert (outcome.decision, outcome.version) == ("promoted", "1")
    assert project.champion() == "1"
    assert [entry.decision for entry in project.journal()] == ["promoted"]
    assert len(project.client.search_model_versions(f"name = '{project.name}'")) == 1


@pytest.mark.slow
def test_a_champion_whose_files_are_lost_is_made_again_from_the_same_rows(
    project: Project,
) -> None:
    shutil.rmtree(project.root / ".evergreen/artifacts" / project.name / "models")

    outcome = project.night()

    assert (outcome.decision, outcome.version) == ("promoted", "2")
    assert "champion v1 is this very model" in outcome.reason
    assert project.champion() == "2"
    assert project.night().decision == "skipped"


@pytest.mark.slow
def test_a_damaged_champion_is_whole_again_after_a_night_of_other_rows(project: Project) -> None:
    from pipeline_lib.tracking.versions import champion_version, what_is_wrong_with

    (described,) = (project.root / ".evergreen/artifacts" / project.name).glob("models/*/*/MLmodel")
    described.write_text("{")
    project.rows.write_text(_rows(610))

    outcome = project.night()

    champion = champion_version(project.client, project.name)
    assert champion is not None
    assert what_is_wrong_with(find_home(), champion) == ""
    assert outcome.champion == project.champion()
    assert any("version 2, the same model, is champion instead" in note for note in outcome.notes)
    assert project.night().decision == "skipped"
    experiment = project.client.get_experiment_by_name(project.name)
    assert experiment is not None
    models = project.client.search_logged_models([experiment.experiment_id])
    assert len(models) == len(project.client.search_model_versions(f"name = '{project.name}'"))
    assert {str(model.status) for model in models} == {"READY"}
    assert list((project.root / ".evergreen/scratch").iterdir()) == []


@pytest.mark.slow
def test_an_emptied_registry_stops_the_night_and_is_not_begun_again(project: Project) -> None:
    from pipeline_lib.errors import StorageError

    home, entries = project.root / ".evergreen", project.folder / "decisions.jsonl"
    elsewhere = project.root / f"{project.name}_home"
    (elsewhere / "datasets").mkdir(parents=True)
    shutil.copytree(project.folder, elsewhere / "datasets" / project.name)
    os.environ["EVERGREEN_HOME"] = str(elsewhere)  # its mlflow.db is empty
    try:
        with pytest.raises(StorageError, match=r"mlflow\.db has no version of"):
            project.night()
        with pytest.raises(StorageError, match=r"Put mlflow\.db back from a backup"):
            project.night(promote=True)
    finally:
        os.environ["EVERGREEN_HOME"] = str(home)

    assert len(entries.read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_lost_registry_is_no_beginning(project: Project) -> None:
    from pipeline_lib.tracking.store import connect

    elsewhere = project.root / "empty"
    elsewhere.mkdir()
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{elsewhere / 'mlflow.db'}"
    try:
        outcome = project.night()

        client = connect(find_home())
    finally:
        del os.environ["MLFLOW_TRACKING_URI"]

    assert outcome.decision == "kept"
    assert "version 1 was promoted on" in outcome.reason
    assert "empty/mlflow.db does not have it" in outcome.reason
    assert client.get_registered_model(project.name).aliases == {"challenger": 1}


class _MovesTheAlias(logging.Handler):
    """Somebody who makes a version champion, or none, when a decision is logged, not before."""

    def __init__(self, project: Project, to: str = "1") -> None:
        super().__init__()
        self._project, self._to = project, to

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("decide"):
            client, name = self._project.client, self._project.name
            if self._to:
                client.set_registered_model_alias(name, "champion", self._to)
            else:
                client.delete_registered_model_alias(name, "champion")


def test_a_champion_that_changed_since_the_decision_is_judged_against_before_it_is_replaced(
    project: Project,
) -> None:
    project.client.delete_registered_model_alias(project.name, "champion")
    project.rows.write_text(_rows(700))
    handler, logger = _MovesTheAlias(project), logging.getLogger("prefect.task_runs")
    logger.addHandler(handler)
    try:
        outcome = project.night(promote=True)
    finally:
        logger.removeHandler(handler)

    entries = project.journal()
    assert [entry.decision for entry in entries[1:]] == ["superseded", outcome.decision]
    assert "no version was champion when it was judged" in entries[1].reason
    assert "champion v1" in outcome.reason
    assert project.champion() == (outcome.version if outcome.decision == "promoted" else "1")
    assert outcome.champion == project.champion()


@pytest.mark.slow
def test_a_champion_that_is_taken_out_after_the_decision_is_not_replaced(project: Project) -> None:
    swapped = _rows(3000).replace(",yes", ",x").replace(",no", ",yes").replace(",x", ",no")
    project.rows.write_text(swapped)  # the champion is wrong about nearly all of them
    handler, logger = _MovesTheAlias(project, to=""), logging.getLogger("prefect.task_runs")
    logger.addHandler(handler)
    try:
        outcome = project.night()
    finally:
        logger.removeHandler(handler)

    assert [entry.decision for entry in project.journal()[1:]] == ["superseded", "kept"]
    assert "and no champion" in outcome.reason
    assert project.champion() == ""


@pytest.mark.slow
def test_rows_of_an_earlier_date_leave_the_champion_of_later_ones(project: Project) -> None:
    project.rows.write_text(_rows(590))

    outcome = project.night(run_date="2026-11-27")

    assert outcome.decision == "kept"
    assert project.champion() == "1"
    assert project.journal()[-1].run_date == "2026-11-27"


def test_another_config_of_the_same_name_registers_nothing(project: Project) -> None:
    from flows.retrain import retrain

    (project.root / "other.csv").write_text(_rows(500))
    other = _config(project.name).replace(project.rows.name, "other.csv")
    (project.root / "other.yaml").write_text(other)
    ledger = project.folder / "ledger/encoder.json"
    before = ledger.read_bytes()

    state: State[Outcome] = retrain(str(project.root / "other.yaml"), return_state=True)
    outcome = state.result()

    assert (outcome.decision, outcome.experiment, outcome.version) == ("kept", True, "")
    assert any(f"csv other.csv, before csv {project.rows.name}" in note for note in outcome.notes)
    assert any("its config is other.yaml" in note for note in outcome.notes)
    assert project.champion() == "1"
    assert ledger.read_bytes() == before
    assert project.night().decision == "skipped"
