"""Nights that start from the champion: what they take over, and when they do not dare to."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run
from prefect.client.schemas.objects import State

from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.home import find_home
from tests.flows.conftest import CONFIG

WARM = "training.start_from=champion"
# What is rejected is not packaged, which takes seconds.
REJECTED = "promotion.floor=0.9999"
Night = Callable[..., tuple[State, Run]]


@pytest.fixture(scope="module")
def night(harness: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    """Return a function that lives through a night of a growing table; the first has been."""
    from flows.retrain import retrain
    from pipeline_lib.tracking.store import connect

    root = tmp_path_factory.mktemp("warm")
    (root / "cars.yaml").write_text(CONFIG.replace("name: cars", "name: warm_cars"))
    table = car_evaluation().to_pandas().sample(frac=1, random_state=0)
    with pytest.MonkeyPatch.context() as patch:

        def live(*assignments: str, n_rows: int = 1000, safety: str = "") -> tuple[State, Run]:
            patch.setenv("EVERGREEN_HOME", str(root / "home"))
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            rows = table.head(n_rows).copy()
            if safety:
                rows.iloc[:100, rows.columns.get_loc("safety")] = safety
            rows.to_csv(root / "cars.csv", index=False)
            state = retrain(
                str(root / "cars.yaml"),
                return_state=True,
                force=True,
                promote=True,
                assignments=assignments,
            )
            client = connect(find_home())
            experiment = client.get_experiment_by_name("warm_cars")
            assert experiment is not None
            query = f"tags.`prefect.flow_run_id` = '{state.state_details.flow_run_id}'"
            (run,) = client.search_runs([experiment.experiment_id], query)
            return state, run

        assert live(WARM)[1].data.tags["first_weights"] == "fresh, for there is no champion yet"
        yield live


def _n_epochs(run: Run) -> int:
    return len(
        (find_home().run(run.data.tags["run_key"]).folder / "epochs.jsonl").read_text().splitlines()
    )


def test_a_warm_night_takes_the_champion_over_and_a_quarter_of_the_epochs(night: Night) -> None:
    state, run = night(WARM, n_rows=1200, safety="excellent")

    outcome = state.result()
    told = run.data.tags["first_weights"]
    assert told == "80% of champion v1, 6 of 6 columns, 1 new category starts as an unseen one"
    assert _n_epochs(run) == 8
    assert f"first weights: {told}" in Path(outcome.report).read_text()


def test_a_warm_night_done_again_gives_the_same_model_though_it_is_champion_now(
    night: Night,
) -> None:
    rows: dict[str, Any] = {"n_rows": 1300, "safety": "superb"}

    (first, run), (again, run_again) = night(WARM, **rows), night(WARM, **rows)

    assert first.result().decision == "promoted"
    assert again.result().version == first.result().version
    assert run_again.data.tags["first_weights"] == run.data.tags["first_weights"]
    assert run_again.data.metrics["test/log_loss"] == run.data.metrics["test/log_loss"]


def test_members_that_start_warm_go_on_through_one_curve(night: Night) -> None:
    _, run = night(WARM, REJECTED, "training.n_members=2", "training.warm_epochs=3")

    from pipeline_lib.tracking.store import connect

    points = connect(find_home()).get_metric_history(run.info.run_id, "val/loss")
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("changed", "why_not"),
    [
        ("split.seed=5", "it was made with another split and may have learned from this run's"),
        ("model.d_hidden=[16]", "its network has d_hidden [32], the config [16]"),
    ],
)
def test_a_champion_that_cannot_be_started_from_is_told_and_the_night_starts_fresh(
    night: Night, changed: str, why_not: str
) -> None:
    state, run = night(WARM, REJECTED, changed, "training.epochs=2")

    assert state.is_completed()
    told = run.data.tags["first_weights"]
    assert told.startswith("fresh, without champion v")
    assert why_not in told
