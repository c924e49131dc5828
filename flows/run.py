"""One run of a dataset, from its lock to its outcome."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from prefect.client.schemas.objects import State

from flows.attempt import Held, only_run_of
from flows.outcome import Outcome
from flows.tracked import SoFar, leaves_a_page
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.evaluation.standing import Standing
from pipeline_lib.storage import in_project, project_of
from pipeline_lib.tracking.reference import RunReference


@dataclass(frozen=True)
class DatasetRun:
    """A run that holds its dataset, and that leaves a page however it ends."""

    held: Held
    so_far: SoFar

    def tracked(
        self, snapshot: Snapshot, standing: Standing
    ) -> AbstractContextManager[RunReference]:
        """Start the MLflow run; see `SoFar.tracked`."""
        return self.so_far.tracked(snapshot, standing)

    def ended(self, outcome: Outcome) -> State[Outcome]:
        """Note the outcome; see `Held.ended`."""
        return self.held.ended(outcome)


@contextmanager
def run_of(config: str, settings: PipelineConfig) -> Generator[DatasetRun]:
    """Run a config in its project, alone in its dataset.

    Args:
        config: the path of the file.
        settings: what it holds, with the run's own values.
    """
    with (
        in_project(project_of(config)),
        only_run_of(settings.name) as held,
        leaves_a_page(settings) as so_far,
    ):
        yield DatasetRun(held, so_far)
