"""A model and the champion on the same raw test rows, with the baselines beside them."""

import copy
import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from sklearn import metrics as sk

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.data import Task
from pipeline_lib.config.metrics import METRICS, Metric
from pipeline_lib.encoding import ClassTarget, EncodedSplit
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.errors import MissingColumnError
from pipeline_lib.evaluation.comparison import Difference
from pipeline_lib.evaluation.evaluate import evaluate_model, read_predictions, score_champion
from pipeline_lib.models import Network, Networks
from pipeline_lib.serving import FittedModel
from tests.unit.encoding.in_memory import write_split
from tests.unit.evaluation.conftest import Fitted, MakeFitted

MakeConfig = Callable[..., PipelineConfig]


def _broken(model: FittedModel) -> FittedModel:
    """Return the model with weights that are no numbers."""
    network = copy.deepcopy(model.networks[0])
    with torch.no_grad():
        network.get_parameter("head.weight").fill_(float("nan"))
    return _of_network(model, network)


def _of_network(model: FittedModel, network: Network) -> FittedModel:
    assert isinstance(model.model, Networks)
    return dataclasses.replace(model, model=dataclasses.replace(model.model, members=(network,)))


def _renamed(make_fitted: MakeFitted, names: Mapping[str, str]) -> Fitted:
    """Return the night of the same rows with other names of classes, and the model for it."""
    fitted = make_fitted("multiclass")
    rows, target = fitted.test_rows, fitted.model.target
    assert isinstance(target, ClassTarget)
    labels = [names.get(label, label) for label in rows["label"].to_pylist()]
    classes = tuple(names.get(name, name) for name in target.classes)
    model = dataclasses.replace(fitted.model, target=ClassTarget("label", classes))
    rows = rows.set_column(2, "label", pa.array(labels))
    return fitted._replace(model=model, test_rows=rows)


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
    assert set(result.baselines) == {"constant", "linear", "boosting"}
    assert result.scores["accuracy"] > result.baselines["constant"]["accuracy"]
    assert (result.finite, result.constant) == (True, False)
    assert sum(row.n_rows for row in result.classes) == len(kept)


@pytest.mark.parametrize("task", METRICS)
def test_a_plain_evaluation_holds_every_metric_of_its_task(
    tmp_path: Path, make_fitted: MakeFitted, task: Task
) -> None:
    fitted = make_fitted(task)

    result = fitted.evaluate(tmp_path).result

    assert set(result.scores) == set(METRICS[task])
    assert {name: set(scores) for name, scores in result.baselines.items()} == {
        "constant": set(METRICS[task]),
        "linear": set(METRICS[task]),
        "boosting": set(METRICS[task]),
    }


@pytest.mark.parametrize(
    ("task", "metric"), [(task, metric) for task, known in METRICS.items() for metric in known]
)
def test_the_gate_gets_the_difference_to_the_champion_by_any_metric_that_is_primary(
    tmp_path: Path, make_fitted: MakeFitted, task: Task, metric: Metric
) -> None:
    fitted = make_fitted(task)
    evaluation = fitted.config.evaluation.model_copy(update={"primary": metric})
    config = fitted.config.model_copy(update={"evaluation": evaluation})

    champion = fitted._replace(config=config).as_champion(tmp_path)

    assert champion.scores is not None
    assert set(champion.scores) == set(METRICS[task])
    assert champion.difference == Difference(metric, 0.0, 0.0, 0.0)


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
            splits=fitted.splits,
            out=kept,
        )

    assert kept.read_bytes() == before
    assert list(tmp_path.glob(".*")) == []


def test_the_champion_is_scored_on_the_same_rows_through_its_own_encoder(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("multiclass")

    champion = fitted.as_champion(tmp_path)

    assert champion.version == "4"
    assert champion.scores == fitted.evaluate(tmp_path).result.scores
    assert champion.difference == Difference("macro_f1", 0.0, 0.0, 0.0)


def test_a_champion_that_lacks_a_column_gets_the_reason_and_no_scores(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("multiclass")

    champion = fitted.as_champion(tmp_path, rows=[fitted.test_rows.drop(["color"])])

    assert champion.scores is None
    assert "column 'color': is missing" in champion.problem
    assert "\n" not in champion.problem


def test_a_champion_that_predicts_something_else_gets_the_reason_and_no_scores(
    tmp_path: Path, make_fitted: MakeFitted, table_config: MakeConfig
) -> None:
    fitted = make_fitted("multiclass")
    other = table_config(data={"task": "binary"})

    champion = fitted._replace(config=other).as_champion(tmp_path)

    assert champion.scores is None
    assert "it predicts 'label' (multiclass), not 'label' (binary)" in champion.problem


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_champion_that_says_nan_gets_the_reason_and_no_scores(
    tmp_path: Path, make_fitted: MakeFitted, task: str
) -> None:
    fitted = make_fitted(task)

    champion = fitted.as_champion(tmp_path, _broken(fitted.model))

    assert not champion.scores
    assert champion.problem


@pytest.mark.parametrize("batch_rows", [7, 1000])
def test_a_class_that_the_champion_does_not_know_costs_it(
    tmp_path: Path, make_fitted: MakeFitted, batch_rows: int
) -> None:
    fitted, current = make_fitted("multiclass"), _renamed(make_fitted, {"hot": "new"})
    labels = current.test_rows["label"].to_pylist()

    champion = current.as_champion(tmp_path, fitted.model, rows=current.batches(batch_rows))

    share = 1 - labels.count("new") / len(labels)
    assert champion.scores is not None
    assert champion.scores["accuracy"] <= share
    assert champion.scores["log_loss"] > 1
    assert champion.difference is not None
    assert champion.difference.gain > 0.1


def test_a_champion_that_shares_no_class_with_the_rows_cannot_be_compared(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("multiclass")
    current = _renamed(make_fitted, {"hot": "0", "large": "1", "small": "2"})

    champion = current.as_champion(tmp_path, fitted.model)

    assert champion.scores is None
    assert champion.problem == (
        "it knows the classes 'hot', 'large', 'small' of 'label', "
        "this run's test rows hold '0', '1', '2'"
    )


def test_a_champion_without_a_class_that_the_rows_lack_too_is_scored_on_the_same_classes(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("multiclass")
    rows = fitted.test_rows.filter(pc.not_equal(fitted.test_rows["label"], "hot"))

    champion = fitted._replace(test_rows=rows).as_champion(tmp_path)

    predicted = fitted.model.predict(rows.drop(["label"]))["prediction"]
    labels = rows["label"].to_pylist()
    f1 = sk.f1_score(labels, predicted, labels=["large", "small"], average="macro")
    assert champion.scores is not None
    assert champion.scores["macro_f1"] == pytest.approx(f1)
    assert "roc_auc" in champion.scores


def test_a_model_that_says_nan_is_not_held_against_the_champion(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("multiclass")
    result = fitted.evaluate(tmp_path, _broken(fitted.model)).result

    champion = score_champion(
        fitted.config, fitted.model, "4", [fitted.test_rows], challenger=result.predictions
    )

    assert champion.scores
    assert champion.difference is None


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_kept_predictions_are_read_as_they_were_made(
    tmp_path: Path, make_fitted: MakeFitted, task: str
) -> None:
    fitted = make_fitted(task)
    result = fitted.evaluate(tmp_path, batch_rows=7).result

    kept = read_predictions(result.predictions)

    said = fitted.model.predictions(fitted.test_rows.drop(["label"]))
    assert kept.target == fitted.model.target
    np.testing.assert_allclose(kept.values, said.values, rtol=1e-5)
    np.testing.assert_array_equal(kept.unseen, said.unseen)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_model_that_has_learned_surely_beats_a_constant(
    tmp_path: Path, make_fitted: MakeFitted, task: str
) -> None:
    result = make_fitted(task).evaluate(tmp_path).result

    known = result.against_constant
    assert known is not None
    assert known.metric == ("rmse" if task == "regression" else "macro_f1")
    gain = result.scores[known.metric] - result.baselines["constant"][known.metric]
    assert known.gain == pytest.approx(abs(gain))
    assert 0 < known.lower < known.gain
    assert known == make_fitted(task).evaluate(tmp_path).result.against_constant


def test_rows_of_one_class_are_judged_by_log_loss_where_the_ranking_counts(
    tmp_path: Path, make_fitted: MakeFitted, table_config: MakeConfig
) -> None:
    fitted = make_fitted("binary")
    rows = fitted.test_rows.filter(pc.equal(fitted.test_rows["label"], "no"))
    config = table_config(data={"task": "binary"}, evaluation={"primary": "roc_auc"})
    split = EncodedSplit.of(rows, fitted.model.encoder, fitted.model.target)
    write_split(tmp_path / "no.parquet", split, fitted.model.encoder, fitted.model.target)
    test = SplitFile(tmp_path / "no.parquet", fitted.model.encoder)
    splits = dataclasses.replace(fitted.splits, test=test)
    current = fitted._replace(config=config, test_rows=rows, splits=splits)

    result, champion = current.evaluate(tmp_path).result, current.as_champion(tmp_path)

    assert "roc_auc" not in result.scores
    assert result.against_constant is not None
    assert result.against_constant.metric == "log_loss"
    assert champion.difference is not None
    assert champion.difference.metric == "log_loss"


def test_a_model_that_is_worse_than_a_baseline_gets_a_warning_that_names_the_best(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("multiclass")
    network = copy.deepcopy(fitted.model.networks[0])
    with torch.no_grad():
        network.get_parameter("head.weight").zero_()
    dull = _of_network(fitted.model, network)

    behind, ahead = fitted.evaluate(tmp_path, dull).result, fitted.evaluate(tmp_path).result

    best = max(("linear", "boosting"), key=lambda name: behind.baselines[name]["macro_f1"])
    ours, theirs = behind.scores["macro_f1"], behind.baselines[best]["macro_f1"]
    line = (
        f"no better than the best baseline: macro_f1 {ours:.4f}, {theirs - ours:.4f} below {best} ("
    )
    assert behind.notes[0].startswith(line)
    assert behind.warnings == behind.notes[:1]
    is_behind = max(found["macro_f1"] for found in ahead.baselines.values())
    assert bool(ahead.warnings) is (is_behind >= ahead.scores["macro_f1"])


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_the_page_compares_the_model_with_the_best_baseline(
    tmp_path: Path, make_fitted: MakeFitted, task: str
) -> None:
    result = make_fitted(task).evaluate(tmp_path).result

    metric, sign = ("rmse", -1) if task == "regression" else ("macro_f1", 1)
    scores = {name: sign * found[metric] for name, found in result.baselines.items()}
    worth = result.worth
    assert worth is not None
    assert sign * worth.value == max(scores.values()) == scores[worth.baseline]
    assert worth.fit_s == result.fit_s[worth.baseline]
    gain = sign * (result.scores[metric] - worth.value)
    assert worth.difference.gain == pytest.approx(gain)
    assert worth.is_better is (gain > 0)
    assert result.notes[0] == worth.line()


def test_a_machine_without_lightgbm_evaluates_a_network_with_a_warning(
    tmp_path: Path, make_fitted: MakeFitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)

    result = make_fitted("multiclass").evaluate(tmp_path).result

    assert set(result.baselines) == {"constant", "linear"}
    (said,) = [warning for warning in result.warnings if "left out" in warning]
    assert said.startswith("the baseline boosting is left out: LightGBM cannot be loaded")


def test_a_champion_that_cannot_predict_the_last_batch_gets_the_reason_and_no_scores(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("multiclass")
    *first, last = fitted.batches(30)
    words = last.set_column(1, "size", pa.array(["tall"] * last.num_rows))

    champion = fitted.as_champion(tmp_path, rows=[*first, words])

    assert champion.scores is None
    assert "tall" in champion.problem
