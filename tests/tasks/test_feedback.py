"""The progress that a training shows on Prefect's page, on a real server."""

from dataclasses import dataclass

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact

from pipeline_lib.training.records import Progress
from tasks.feedback import Feedback


@dataclass(frozen=True)
class Told:
    """The figures that the page of `quick_trees` showed, each with the second it came in."""

    changes: list[tuple[float, float]]
    artifacts: dict[str, list[Artifact]]


@pytest.fixture(scope="module")
def told(harness: None) -> Told:
    """Two trainings: one of seven seconds by its own clock, one that is over at once."""
    client = get_client(sync_client=True)
    changes: list[tuple[float, float]] = []
    second = 0.0

    @flow
    def long() -> None:
        nonlocal second
        feedback = Feedback("quick_trees", clock=lambda: second, patience_s=900)
        for done in range(71):
            second = done / 10
            feedback.report(Progress(1, 1, done, 71, 100.0, 1.0), "")
            feedback.settle()
            for artifact in _artifacts(client, "training-quick-trees"):
                if not changes or changes[-1][1] != artifact.data:
                    changes.append((second, float(str(artifact.data))))
        feedback.end()

    @flow
    def short() -> None:
        feedback = Feedback("slow")
        feedback.report(Progress(1, 1, 1, 2, 100.0, 1.0), "")
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


def test_the_figure_grows_and_changes_every_3_seconds(told: Told) -> None:
    seconds, figures = zip(*told.changes, strict=True)

    assert seconds == (3.0, 6.0)
    assert figures == pytest.approx([100 * 30 / 71, 100 * 60 / 71])
