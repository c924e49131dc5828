"""One story for all flow tests: a few nights of one small dataset, lived through once."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.csv as pa_csv
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State

from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.home import find_home

CONFIG = """
name: cars
data:
  source: {kind: csv, path: cars.csv}
  target: output
  task: multiclass
  classes: [unacc, acc, good, vgood]
columns:
  price: {kind: category}
  maint: {kind: category}
  doors: {kind: category}
  persons: {kind: category}
  lug_capacity: {kind: category}
  safety: {kind: category}
model: {kind: embedding_mlp, d_hidden: [32], dropout: 0.0, dropout_embedding: 0.0}
training:
  epochs: 30
  batch_size: 64
  device: cpu
  optimizer: {kind: adam, learning_rate: 0.02}
tracking: {tags: {team: tests}}
"""


@dataclass(frozen=True)
class Story:
    """The nights by name, and where they were recorded."""

    home: Path
    config: Path
    states: dict[str, State]
    client: MlflowClient
    prefect: SyncPrefectClient

    def flow_run(self, night: str) -> FlowRun:
        """Return a night's flow run."""
        flow_run_id = self.states[night].state_details.flow_run_id
        assert flow_run_id is not None
        return self.prefect.read_flow_run(flow_run_id)

    def mlflow_runs(self, night: str) -> list[Run]:
        """Return the MLflow runs that a night has made."""
        experiment = self.client.get_experiment_by_name("cars")
        assert experiment is not None
        query = f"tags.`prefect.flow_run_id` = '{self.states[night].state_details.flow_run_id}'"
        return list(self.client.search_runs([experiment.experiment_id], query))


@pytest.fixture(scope="session")
def story(harness: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Live through the nights."""
    from flows.retrain import retrain
    from pipeline_lib.tracking.store import connect

    root = tmp_path_factory.mktemp("story")
    home, config = root / "home", root / "cars.yaml"
    config.write_text(CONFIG)
    table = car_evaluation()
    pa_csv.write_csv(table, root / "cars.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)

        def night(**parameters: object) -> State:
            return retrain(str(config), return_state=True, **parameters)

        states = {
            "first": night(),
            "nothing new": night(),
            "forced": night(force=True),
            "experiment": night(assignments=("training.epochs=6",)),
            "experiment again": night(assignments=("training.epochs=6",)),
            "after the experiment": night(),
            "hopeless": night(assignments=("training.epochs=6", "promotion.floor=0.999")),
            "diverging": night(
                assignments=("training.optimizer={kind: sgd, learning_rate: 10}", "split.seed=5")
            ),
        }
        config.write_text(CONFIG.replace("epochs: 30", "epochs: 6"))
        states["worse"] = night()
        broken = table.to_pandas()
        broken.loc[7:9, "safety"] = None
        broken.to_csv(root / "cars.csv", index=False)
        states["broken rows"] = night()
        states["broken rows again"] = night()
        (root / "cars.csv").unlink()
        states["no rows"] = night()
        with get_client(sync_client=True) as prefect:
            yield Story(home, config, states, connect(find_home()), prefect)
