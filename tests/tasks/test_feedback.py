"""The progress that a training shows on Prefect's page, on a real server."""

import time
from dataclasses import dataclass

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact

from pipeline_lib.training.records import Progress
from tasks.feedback import Feedback

EVERY_S = 3.0


@dataclass(frozen=True)
class Told:
    """The figures that the page of `quick_trees` showed, with the seconds at which they changed."""

    changes: list[tuple[float, float]]
    artifacts: dict[str, list[Artifact]]


@pytest.fixture(scope="module")
def told(harness: None) -> Told:
    """Two trainings of two datasets: one of seven seconds, one that is over at once."""
    client = get_client(sync_client=True)
    changes: list[tuple[float, float]] = []

    @flow
    def long() -> None:
        feedback, started = Feedback("quick_trees"), time.monotonic()
        for done in range(70):
            time.sleep(0.1)
            feedback.tell(Progress(1, 1, done, 70, 100.0, 1.0), "")
            now = time.monotonic() - started
            for artifact in _artifacts(client, "training-quick-trees"):
                if not changes or changes[-1][1] != artifact.data:
                    changes.append((now, float(str(artifact.data))))
        feedback.end()

    @flow
    def short() -> None:
        feedback = Feedback("slow")
        feedback.tell(Progress(1, 1, 1, 2, 100.0, 1.0), "")
        feedback.end()

    long()
    short()
    keys = ("training-quick-trees", "training-slow")
    return Told(changes, {key: _artifacts(client, key) for key in keys})


def _artifacts(client: SyncPrefectClient, key: str) -> list[Artifact]:
    return client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])))


def test_a_training_of_some_seconds_makes_one_artifact_that_ends_at_100(told: Told) -> None:
    [artifact] = told.artifacts["training-quick-trees"]

    assert artifact.type == "progress"
    assert artifact.data == 100


def test_a_training_that_is_over_at_once_makes_none(told: Told) -> None:
    assert told.artifacts["training-slow"] == []


def test_the_figure_grows_and_changes_at_most_every_3_seconds(told: Told) -> None:
    times, figures = zip(*told.changes, strict=True)

    assert figures
    assert figures == tuple(sorted(figures))
    # Seen after they were sent: on a slow machine later, never earlier.
    assert all(time >= EVERY_S * number for number, time in enumerate(times, start=1))
