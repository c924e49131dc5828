"""A model and the champion on the same raw test rows, with the baselines beside them."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import torch
from sklearn import metrics as sk

from pipeline_lib.config import PipelineConfig
from pipeline_lib.errors import MissingColumnError
from pipeline_lib.evaluation.evaluate import evaluate_model, score_champion
from pipeline_lib.serving import FittedModel
from tests.unit.evaluation.conftest import MakeFitted

MakeConfig = Callable[..., PipelineConfig]


def _broken(model: FittedModel) -> FittedModel:
    """Return the model with weights that are no numbers."""
    network = copy.deepcopy(model.networks[0])
    with torch.no_grad():
        network.get_parameter("head.weight").fill_(float("nan"))
    return dataclasses.replace(model, networks=(network,))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_result_of_a_classification_is_that_of_the_kept_predictions(
    tmp_path: Path, make_fitted: MakeFitted, task: str
) -> None:
    evaluation = make_fitted(task).evaluate(tmp_path)

    result, kept = evaluation.result, pd.read_parquet(evaluation.result.predictions)
    predicted, actual = kept["prediction"], kept["actual"]
    f1 = sk.f1_score(actual, predicted, average="macro")
    assert result.scores["macro_f1"] == pytest.approx(f1)
    assert result.scores["accuracy"] == pytest.approx((predicted == actual).mean())
    assert set(result.baselines) == {"constant", "gradient_boosting"}
    assert result.scores["accuracy"] > result.baselines["constant"]["accuracy"]
    assert (result.finite, result.constant) == (True, False)
    assert sum(row.n_rows for row in result.classes) == len(kept)


def test_the_result_of_a_regression_is_in_the_unit_of_the_target(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("regression")

    evaluation = fitted.evaluate(tmp_path)

    kept = pd.read_parquet(evaluation.result.predictions)
    rmse = sk.root_mean_squared_error(kept["actual"], kept["prediction"])
    assert kept["actual"].tolist() == fitted.test_rows["label"].to_pylist()
    assert evaluation.result.scores["rmse"] == pytest.approx(rmse)
    assert evaluation.result.classes == ()
    assert evaluation.tables is None


def test_a_model_that_says_nan_gets_no_scores_and_is_not_finite(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("multiclass")

    result = fitted.evaluate(tmp_path, _broken(fitted.model)).result

    assert result.scores == {}
    assert result.finite is False
    assert result.baselines["constant"]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_test_rows_in_batches_get_the_predictions_and_scores_of_all_at_once(
    tmp_path: Path, make_fitted: MakeFitted, task: str
) -> None:
    fitted = make_fitted(task)

    result = fitted.evaluate(tmp_path, batch_rows=7).result

    kept = pd.read_parquet(result.predictions)
    expected = fitted.model.predict(fitted.test_rows.drop(["label"]))
    assert kept["actual"].tolist() == fitted.test_rows["label"].to_pylist()
    pd.testing.assert_frame_equal(
        kept.drop(columns="actual"), expected, check_dtype=False, rtol=1e-5
    )
    whole = fitted.evaluate(tmp_path).result
    assert result.scores == pytest.approx(whole.scores, rel=1e-5)
    assert result.baselines == whole.baselines
    assert result.classes == whole.classes


def test_an_evaluation_that_fails_midway_leaves_the_predictions_that_were_there(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("multiclass")
    kept = fitted.evaluate(tmp_path).result.predictions
    before, first = kept.read_bytes(), fitted.batches(7)[0]

    with pytest.raises(MissingColumnError):
        evaluate_model(
            fitted.config,
            fitted.model,
            [first, first.drop(["color"])],
            train=fitted.train,
            test=fitted.test,
            out=kept,
        )

    assert kept.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


def test_the_champion_is_scored_on_the_same_rows_through_its_own_encoder(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("multiclass")

    champion = score_champion(fitted.config, fitted.model, "4", [fitted.test_rows])

    assert champion.version == "4"
    assert champion.scores == fitted.evaluate(tmp_path).result.scores


def test_a_champion_that_lacks_a_column_gets_the_reason_and_no_scores(
    make_fitted: MakeFitted,
) -> None:
    fitted = make_fitted("multiclass")

    champion = score_champion(fitted.config, fitted.model, "4", [fitted.test_rows.drop(["color"])])

    assert champion.scores is None
    assert "column 'color': is missing" in champion.problem
    assert "\n" not in champion.problem


def test_a_champion_that_predicts_something_else_gets_the_reason_and_no_scores(
    make_fitted: MakeFitted, table_config: MakeConfig
) -> None:
    fitted = make_fitted("multiclass")
    other = table_config(data={"task": "binary"})

    champion = score_champion(other, fitted.model, "4", [fitted.test_rows])

    assert champion.scores is None
    assert "it predicts 'label' (multiclass), not 'label' (binary)" in champion.problem


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_champion_that_says_nan_gets_the_reason_and_no_scores(
    make_fitted: MakeFitted, task: str
) -> None:
    fitted = make_fitted(task)

    champion = score_champion(fitted.config, _broken(fitted.model), "4", [fitted.test_rows])

    assert not champion.scores
    assert champion.problem


@pytest.mark.parametrize("batch_rows", [7, 1000])
def test_a_class_that_the_champion_does_not_know_costs_it(
    make_fitted: MakeFitted, batch_rows: int
) -> None:
    fitted = make_fitted("multiclass")
    rows = fitted.test_rows
    labels = ["new" if label == "hot" else label for label in rows["label"].to_pylist()]
    tonight = fitted._replace(test_rows=rows.set_column(2, "label", pa.array(labels)))

    champion = score_champion(fitted.config, fitted.model, "4", tonight.batches(batch_rows))

    share = 1 - labels.count("new") / len(labels)
    assert champion.scores is not None
    assert champion.scores["accuracy"] <= share
    assert champion.scores["log_loss"] > 1


def test_a_champion_that_cannot_predict_the_last_batch_gets_the_reason_and_no_scores(
    make_fitted: MakeFitted,
) -> None:
    fitted = make_fitted("multiclass")
    *first, last = fitted.batches(30)
    words = last.set_column(1, "size", pa.array(["tall"] * last.num_rows))

    champion = score_champion(fitted.config, fitted.model, "4", [*first, words])

    assert champion.scores is None
    assert "tall" in champion.problem
