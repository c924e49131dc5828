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
from pipeline_lib.home import Home, find_home
from pipeline_lib.openmp import let_threads_sleep
from pipeline_lib.tracking.reference import RunReference


@dataclass(frozen=True)
class DatasetRun:
    """A run that holds its dataset, and that leaves a page however it ends."""

    home: Home
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
def run_of(settings: PipelineConfig) -> Generator[DatasetRun]:
    """Run a config in the home of its project, alone in its dataset."""
    let_threads_sleep()  # on a worker no command has done it
    home = find_home(settings.project)
    dataset = home.dataset(settings.name)
    with only_run_of(dataset) as held, leaves_a_page(settings, dataset) as so_far:
        yield DatasetRun(home, held, so_far)
