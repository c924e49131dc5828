"""How good the default config is: the number the README promises."""

import statistics

import pytest
from sklearn.metrics import f1_score

from pipeline_lib import fit, load_config
from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.fitting import split_rows
from tests.unit.data.in_memory import check_rows


@pytest.mark.slow
def test_the_default_config_reaches_a_macro_f1_of_0_97_as_the_mean_of_five_seeds() -> None:
    scores: list[float] = []

    for seed in range(5):
        config = load_config("configs/car_evaluation.yaml", assignments=[f"training.seed={seed}"])
        rows = check_rows(
            car_evaluation(), config.columns, config.data, config.validation, source="cars"
        )
        _, _, test = split_rows(rows, config)
        predicted = fit(config, car_evaluation()).predict(test)["prediction"]
        scores.append(float(f1_score(test["output"].to_pylist(), predicted, average="macro")))

    assert statistics.mean(scores) >= 0.97, scores
