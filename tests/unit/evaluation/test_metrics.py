"""Test metrics, compared with scikit-learn on labels and probabilities."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from pipeline_lib.config.metrics import METRIC_FACTS, METRICS
from pipeline_lib.encoding import ClassTarget, NumberTarget
from pipeline_lib.evaluation.metrics import (
    all_finite,
    answers_of,
    is_constant,
    score,
    score_answers,
    truth_of,
)
from pipeline_lib.serving import Predictions

CLASSES = ("unacc", "acc", "good", "vgood")


def _column(values: list[str] | list[float]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values)])


def _classes(probs: npt.NDArray[np.float64], classes: tuple[str, ...] = CLASSES) -> Predictions:
    return Predictions(ClassTarget("label", classes), probs, np.zeros(len(probs), np.int32))


def _numbers(values: list[float] | npt.NDArray[np.float64]) -> Predictions:
    unseen = np.zeros(len(values), np.int32)
    return Predictions(NumberTarget("y", 5.0, 2.0), np.array(values, np.float64), unseen)


def _random_probs(n_rows: int, n_classes: int, seed: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).dirichlet(np.ones(n_classes), n_rows)


@pytest.mark.parametrize("seed", range(5))
def test_scores_of_several_classes_are_scikit_learns_by_name(seed: int) -> None:
    probs = _random_probs(80, 4, seed)
    random = np.random.default_rng(seed)
    labels = random.choice(CLASSES, 80).tolist()
    # scikit-learn sorts classes by name, so its columns stand in another order.
    by_name = sorted(CLASSES)
    sorted_probs = probs[:, [CLASSES.index(name) for name in by_name]]
    predicted = [CLASSES[i] for i in probs.argmax(axis=1)]

    scores = score(_column(labels), _classes(probs))

    assert scores == pytest.approx(
        {
            "macro_f1": sk.f1_score(labels, predicted, average="macro"),
            "accuracy": sk.accuracy_score(labels, predicted),
            "log_loss": sk.log_loss(labels, sorted_probs, labels=by_name),
            "roc_auc": sk.roc_auc_score(
                labels, sorted_probs, multi_class="ovr", average="macro", labels=by_name
            ),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
            "average_precision": sk.average_precision_score(labels, sorted_probs, average="macro"),
            "brier": sk.brier_score_loss(labels, sorted_probs, labels=by_name),
        }
    )


def test_scores_of_two_classes_take_the_last_as_the_positive_one() -> None:
    labels = ["yes", "no", "yes", "no", "no"]
    positive = np.array([0.2, 0.9, 0.6, 0.7, 0.4])  # of "no"
    probs = np.stack([1 - positive, positive], axis=1)

    scores = score(_column(labels), _classes(probs, ("yes", "no")))

    is_no = [label == "no" for label in labels]
    assert scores["roc_auc"] == pytest.approx(sk.roc_auc_score(is_no, positive))
    assert scores["log_loss"] == pytest.approx(sk.log_loss(is_no, positive))
    assert scores["average_precision"] == pytest.approx(sk.average_precision_score(is_no, positive))
    assert scores["brier"] == pytest.approx(sk.brier_score_loss(is_no, positive))
    assert scores["brier"] == pytest.approx(np.mean((positive - is_no) ** 2))
    said_no = positive > 0.5
    assert scores["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(is_no, said_no))
    assert scores["accuracy"] == pytest.approx(3 / 5)


def test_every_metric_is_over_the_classes_that_the_rows_hold() -> None:
    probs = _random_probs(30, 4, 0)
    labels = ["unacc", "acc", "good"] * 10
    predicted = [CLASSES[i] for i in probs.argmax(axis=1)]
    assert "vgood" in predicted

    scores = score(_column(labels), _classes(probs))

    held = CLASSES[:3]
    ones = np.array([[label == name for name in held] for label in labels])
    areas = [sk.roc_auc_score(ones[:, number], probs[:, number]) for number in range(3)]
    precisions = [
        sk.average_precision_score(ones[:, number], probs[:, number]) for number in range(3)
    ]
    assert scores == pytest.approx(
        {
            "macro_f1": sk.f1_score(labels, predicted, labels=held, average="macro"),
            "accuracy": sk.accuracy_score(labels, predicted),
            "log_loss": -np.mean(
                [
                    np.log(row[CLASSES.index(label)])
                    for row, label in zip(probs, labels, strict=True)
                ]
            ),
            "roc_auc": np.mean(areas),
            "balanced_accuracy": sk.recall_score(labels, predicted, labels=held, average="macro"),
            "average_precision": np.mean(precisions),
            "brier": np.mean(np.sum((probs[:, :3] - ones) ** 2, axis=1)),
        }
    )


def test_answers_of_a_class_without_a_row_cost_a_model_those_rows_and_no_more() -> None:
    labels = ["unacc"] * 50 + ["acc"] * 50
    two, four = np.zeros((100, 2)), np.zeros((100, 4))
    two[:, 0] = four[:, 0] = [0.9] * 50 + [0.2] * 50
    two[:, 1] = four[:, 1] = 1 - two[:, 0]
    four[-1] = [0.1, 0.2, 0.0, 0.7]

    fewer, more = (
        score(_column(labels), _classes(probs, CLASSES[: probs.shape[1]])) for probs in (two, four)
    )

    assert fewer["macro_f1"] == 1.0
    # One of 100 rows is wrong, of a class whose 49 others are right.
    assert more["macro_f1"] == pytest.approx((1 + 2 * 49 / 99) / 2)
    assert more["accuracy"] == 0.99


def test_a_model_that_does_not_know_a_class_of_the_rows_gives_it_probability_0() -> None:
    labels = _column(["a", "b", "new", "a"])
    truth = truth_of(labels, ClassTarget("label", ("new", "b", "a")))
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.6, 0.4]])

    answers = answers_of(_classes(probs, ("a", "b")), truth)

    scores = score_answers(truth, answers)
    assert truth.classes == ("new", "b", "a")
    np.testing.assert_array_equal(answers.probs[:, 0], 0)
    assert scores["accuracy"] == 0.75
    assert scores["macro_f1"] == pytest.approx((0 + 1 + 0.8) / 3)
    assert scores["log_loss"] > 5
    assert scores["balanced_accuracy"] == pytest.approx((0 + 1 + 1) / 3)
    # (0.1² + 0.9²) + (0.2² + 0.2²) + (1² + 0.5² + 0.5²) + (0.4² + 0.4²), each less 1 where right
    squares = [(1 - 0.9) ** 2 + 0.1**2, 0.2**2 + 0.2**2, 1 + 0.5**2 + 0.5**2, 0.4**2 + 0.4**2]
    assert scores["brier"] == pytest.approx(np.mean(squares))


def test_both_models_are_scored_by_the_positive_class_though_one_knows_another() -> None:
    labels = _column(["no", "yes", "yes", "no"])
    truth = truth_of(labels, ClassTarget("label", ("no", "yes")))
    probs = np.array([[0.1, 0.2, 0.7], [0.2, 0.5, 0.3], [0.3, 0.1, 0.6], [0.8, 0.1, 0.1]])

    scores = score_answers(truth, answers_of(_classes(probs, ("no", "yes", "maybe")), truth))

    is_yes = [0, 1, 1, 0]
    expected = sk.average_precision_score(is_yes, probs[:, 1])
    assert scores["average_precision"] == pytest.approx(expected)
    # The squared probability that each row's own class lacks.
    assert scores["brier"] == pytest.approx(np.mean([0.9**2, 0.5**2, 0.9**2, 0.2**2]))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_of_many_equal_values_have_scikit_learns_rankings(n_classes: int) -> None:
    random = np.random.default_rng(3)
    probs = random.integers(1, 4, (200, n_classes)).astype(np.float64)
    probs /= probs.sum(axis=1, keepdims=True)
    y = random.integers(0, n_classes, 200)

    scores = score(_column([CLASSES[i] for i in y]), _classes(probs, CLASSES[:n_classes]))

    one_vs_rest = range(n_classes) if n_classes > 2 else [1]
    areas = [sk.roc_auc_score(y == k, probs[:, k]) for k in one_vs_rest]
    precisions = [sk.average_precision_score(y == k, probs[:, k]) for k in one_vs_rest]
    assert scores["roc_auc"] == pytest.approx(np.mean(areas))
    assert scores["average_precision"] == pytest.approx(np.mean(precisions))


@given(st.integers(0, 2**31), st.sampled_from([2, 3, 6]))
def test_every_value_lies_in_the_range_that_the_table_names(seed: int, n_classes: int) -> None:
    random = np.random.default_rng(seed)
    probs = random.dirichlet(np.full(n_classes, 0.2), 12)
    names = tuple("abcdef"[:n_classes])
    labels = random.choice(names, 12).tolist()
    numbers = score(_column(random.normal(size=12).tolist()), _numbers(random.normal(size=12)))

    scores = score(_column(labels), _classes(probs, names)) | numbers

    for metric, value in scores.items():
        facts = METRIC_FACTS[metric]
        assert facts.least - 1e-12 <= value <= facts.most + 1e-12


@pytest.mark.parametrize("values", [[3.0], [4.0, 4.0, 4.0]])
def test_rows_of_one_value_have_no_r2(values: list[float]) -> None:
    assert set(score(_column(values), _numbers([5.0] * len(values)))) == {"rmse", "mae"}


def test_a_score_is_a_finite_number_or_absent() -> None:
    assert "rmse" not in score(_column([0.0, 1.0]), _numbers([1e300, 1e300]))


@pytest.mark.parametrize("n_classes", [2, 4])
def test_rows_of_one_class_alone_still_have_a_log_loss(n_classes: int) -> None:
    classes = CLASSES[:n_classes]
    probs = np.tile([0.1] + [0.9 / (n_classes - 1)] * (n_classes - 1), (3, 1))

    scores = score(_column(["unacc"] * 3), _classes(probs, classes))

    assert set(METRICS["binary"]) - set(scores) == {"roc_auc", "average_precision"}
    assert scores["log_loss"] == pytest.approx(-np.log(0.1))
    assert scores["brier"] == pytest.approx(0.9**2)  # of classes without a row nothing counts
    assert scores["accuracy"] == 0.0


def test_a_certain_and_wrong_prediction_costs_much_and_not_infinitely_much() -> None:
    probs = np.array([[1.0, 0.0], [1.0, 0.0]])

    scores = score(_column(["a", "b"]), _classes(probs, ("a", "b")))

    assert 10 < scores["log_loss"] < 100


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=2, max_size=30).filter(
        lambda rows: len({actual for actual, _ in rows}) > 1
    )
)
def test_scores_of_numbers_are_scikit_learns(rows: list[tuple[float, float]]) -> None:
    actual, predicted = (list(part) for part in zip(*rows, strict=True))

    scores = score(_column(actual), _numbers(predicted))

    assert scores == pytest.approx(
        {
            "rmse": sk.mean_squared_error(actual, predicted) ** 0.5,
            "mae": sk.mean_absolute_error(actual, predicted),
            "r2": sk.r2_score(actual, predicted),
        }
    )


def test_one_number_has_errors_but_no_r2() -> None:
    assert score(_column([3.0]), _numbers([5.0])) == {"rmse": 2.0, "mae": 2.0}


def test_predictions_are_finite_only_if_all_are() -> None:
    assert all_finite(_numbers([1.0, 2.0]))
    assert not all_finite(_numbers([1.0, float("nan")]))
    assert not all_finite(_numbers([float("inf"), 1.0]))


def test_a_model_is_constant_only_if_it_says_the_same_of_every_row() -> None:
    assert is_constant(_numbers([2.0, 2.0, 2.0]))
    assert not is_constant(_numbers([2.0, 2.0, 2.0000001]))
    assert not is_constant(_numbers([2.0]))
    assert is_constant(_classes(np.tile([0.1, 0.2, 0.3, 0.4], (5, 1))))
    assert not is_constant(_classes(np.array([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.4, 0.3]])))
