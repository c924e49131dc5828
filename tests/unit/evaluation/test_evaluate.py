"""A model, its baselines and the champion on the same raw test rows."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from sklearn import metrics as sk
from sklearn.dummy import DummyClassifier, DummyRegressor

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding import ClassTarget, EncodedSplit
from pipeline_lib.evaluation.baselines import predict_baseline
from pipeline_lib.evaluation.evaluate import Evaluation, evaluate_model, score_champion
from pipeline_lib.evaluation.tables import class_tables
from pipeline_lib.fitting import split_rows
from pipeline_lib.serving import FittedModel, Predictions

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


class Fitted(NamedTuple):
    """A model with the splits it came from."""

    config: PipelineConfig
    model: FittedModel
    train: EncodedSplit
    test: EncodedSplit
    test_rows: pa.Table

    def evaluate(self, out: Path, model: FittedModel | None = None) -> Evaluation:
        """Evaluate the model, or another one in its place."""
        return evaluate_model(
            self.config,
            model or self.model,
            self.test_rows,
            train=self.train,
            test=self.test,
            out=out / "predictions.parquet",
        )


@pytest.fixture(scope="module")
def make_fitted(table_config: MakeConfig, toy_table: MakeTable) -> Callable[[str], Fitted]:
    """Return a factory of fitted models by task, each fitted once."""
    made: dict[str, Fitted] = {}

    def make(task: str) -> Fitted:
        if task not in made:
            config = table_config(data={"task": task}, training={"epochs": 20})
            table = toy_table(400, task=task)
            model = fit(config, table)
            train, _, test = split_rows(table, config)
            encoded = [EncodedSplit.of(part, model.encoder, model.target) for part in (train, test)]
            made[task] = Fitted(config, model, *encoded, test)
        return made[task]

    return make


def _broken(model: FittedModel) -> FittedModel:
    """Return the model with weights that are no numbers."""
    network = copy.deepcopy(model.networks[0])
    with torch.no_grad():
        network.get_parameter("head.weight").fill_(float("nan"))
    return dataclasses.replace(model, networks=(network,))


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_result_of_a_classification_is_that_of_the_kept_predictions(
    tmp_path: Path, make_fitted: Callable[[str], Fitted], task: str
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
    tmp_path: Path, make_fitted: Callable[[str], Fitted]
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
    tmp_path: Path, make_fitted: Callable[[str], Fitted]
) -> None:
    fitted = make_fitted("multiclass")

    result = fitted.evaluate(tmp_path, _broken(fitted.model)).result

    assert result.scores == {}
    assert result.finite is False
    assert result.baselines["constant"]


def test_the_constant_baseline_is_scikit_learns_prior(
    make_fitted: Callable[[str], Fitted],
) -> None:
    fitted = make_fitted("multiclass")
    train, test, model = fitted.train, fitted.test, fitted.model

    predicted = predict_baseline(
        "constant",
        train,
        test,
        target=model.target,
        cardinalities=model.encoder.cardinalities,
        seed=0,
    )

    dummy = DummyClassifier(strategy="prior").fit(train.x_num, train.y)
    np.testing.assert_allclose(predicted.values, dummy.predict_proba(test.x_num))


def test_the_constant_baseline_of_a_regression_is_the_mean_of_the_training_rows(
    make_fitted: Callable[[str], Fitted], toy_table: MakeTable
) -> None:
    fitted = make_fitted("regression")
    train_rows, _, _ = split_rows(toy_table(400, task="regression"), fitted.config)

    predicted = predict_baseline(
        "constant", fitted.train, fitted.test, target=fitted.model.target, cardinalities=(), seed=0
    )

    dummy = DummyRegressor().fit(np.zeros((train_rows.num_rows, 1)), train_rows["label"])
    np.testing.assert_allclose(predicted.values, dummy.predict(np.zeros((fitted.test.n_rows, 1))))


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_gradient_boosting_learns_in_the_shape_and_unit_of_the_task(
    tmp_path: Path, make_fitted: Callable[[str], Fitted], task: str
) -> None:
    baselines = make_fitted(task).evaluate(tmp_path).result.baselines

    boosted, constant = baselines["gradient_boosting"], baselines["constant"]
    if task == "regression":
        assert boosted["rmse"] < constant["rmse"] / 2
    else:
        assert boosted["accuracy"] > max(0.8, constant["accuracy"])


def test_gradient_boosting_takes_more_categories_than_it_has_bins() -> None:
    random = np.random.default_rng(0)
    x_cat = random.integers(0, 1000, (2000, 1)).astype(np.int32)
    y = (x_cat[:, 0] % 2).astype(np.int64)
    split = EncodedSplit(x_cat, np.empty((2000, 0), np.float32), y)

    predicted = predict_baseline(
        "gradient_boosting",
        split,
        split,
        target=ClassTarget("label", ("a", "b")),
        cardinalities=(1000,),
        seed=0,
    )

    assert predicted.values.shape == (2000, 2)
    np.testing.assert_allclose(predicted.values.sum(axis=1), 1)


def test_the_champion_is_scored_on_the_same_rows_through_its_own_encoder(
    tmp_path: Path, make_fitted: Callable[[str], Fitted]
) -> None:
    fitted = make_fitted("multiclass")

    champion = score_champion(fitted.config, fitted.model, "4", fitted.test_rows)

    assert champion.version == "4"
    assert champion.scores == fitted.evaluate(tmp_path).result.scores


def test_a_champion_that_lacks_a_column_gets_the_reason_and_no_scores(
    make_fitted: Callable[[str], Fitted],
) -> None:
    fitted = make_fitted("multiclass")

    champion = score_champion(fitted.config, fitted.model, "4", fitted.test_rows.drop(["color"]))

    assert champion.scores is None
    assert "column 'color': is missing" in champion.problem
    assert "\n" not in champion.problem


def test_a_champion_that_predicts_something_else_gets_the_reason_and_no_scores(
    make_fitted: Callable[[str], Fitted], table_config: MakeConfig
) -> None:
    fitted = make_fitted("multiclass")
    other = table_config(data={"task": "binary"})

    champion = score_champion(other, fitted.model, "4", fitted.test_rows)

    assert champion.scores is None
    assert "it predicts 'label' (multiclass), not 'label' (binary)" in champion.problem


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_champion_that_says_nan_gets_the_reason_and_no_scores(
    make_fitted: Callable[[str], Fitted], task: str
) -> None:
    fitted = make_fitted(task)

    champion = score_champion(fitted.config, _broken(fitted.model), "4", fitted.test_rows)

    assert not champion.scores
    assert champion.problem


def test_a_class_that_the_champion_does_not_know_costs_it(
    make_fitted: Callable[[str], Fitted],
) -> None:
    fitted = make_fitted("multiclass")
    rows = fitted.test_rows
    labels = ["new" if label == "hot" else label for label in rows["label"].to_pylist()]

    champion = score_champion(
        fitted.config, fitted.model, "4", rows.set_column(2, "label", pa.array(labels))
    )

    share = 1 - labels.count("new") / len(labels)
    assert champion.scores is not None
    assert champion.scores["accuracy"] <= share
    assert champion.scores["log_loss"] > 1


def test_classes_called_like_the_rows_of_a_report_stay_classes() -> None:
    classes = ("accuracy", "macro avg", "weighted avg")
    labels = ["accuracy", "accuracy", "macro avg", "weighted avg", "macro avg"]
    probs = np.eye(3)[[0, 1, 1, 2, 0]]

    tables = class_tables(
        pa.chunked_array([pa.array(labels)]),
        Predictions(ClassTarget("label", classes), probs, np.zeros(5, np.int32)),
    )

    assert tables.report["class"].tolist() == list(classes)
    assert tables.report["n_rows"].tolist() == [2, 2, 1]
    assert tables.report["recall"].tolist() == [0.5, 0.5, 1.0]
    assert tables.confusion.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_the_tables_of_a_test_are_scikit_learns() -> None:
    classes = ("b", "a", "unused")
    random = np.random.default_rng(0)
    labels = random.choice(["a", "b"], 40).tolist()
    probs = random.dirichlet(np.ones(3), 40)
    predicted = [classes[i] for i in probs.argmax(axis=1)]

    tables = class_tables(
        pa.chunked_array([pa.array(labels)]),
        Predictions(ClassTarget("label", classes), probs, np.zeros(40, np.int32)),
    )

    confusion = sk.confusion_matrix(labels, predicted, labels=classes)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0
    )
    assert (tables.confusion == confusion).all()
    np.testing.assert_allclose(tables.report["precision"], precision)
    np.testing.assert_allclose(tables.report["recall"], recall)
    np.testing.assert_allclose(tables.report["f1"], f1)
    assert tables.report["n_rows"].tolist() == support.tolist()
    frame = tables.confusion_frame()
    cell = frame[(frame["actual"] == "a") & (frame["predicted"] == "b")]
    assert cell["n_rows"].item() == confusion[1, 0]
    assert len(frame) == 9
