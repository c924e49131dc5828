"""Better, worse, equal, and how sure: whatever the direction of the metric."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline_lib.config.metrics import METRIC_FACTS, METRICS, Metric
from pipeline_lib.evaluation import chance as chance_module
from pipeline_lib.evaluation.answers import Answers, Truth
from pipeline_lib.evaluation.chance import (
    shuffled_average_precision,
    shuffled_balanced_accuracy,
)
from pipeline_lib.evaluation.comparison import (
    Scores,
    better_or_equal,
    deciding_metric,
    difference_to_chance,
    gain,
    is_better,
    is_tie,
    paired_difference,
)
from tests.unit.evaluation.models import by_scikit_learn, classified, numbers, taken

metrics = st.sampled_from(sorted({metric for known in METRICS.values() for metric in known}))
scores = st.floats(-1e6, 1e6)
BOTH: Scores = {"roc_auc": 0.5, "log_loss": 1.0}


@given(metrics, scores, scores)
def test_a_gain_is_positive_exactly_when_the_challenger_is_better(
    metric: Metric, challenger: float, champion: float
) -> None:
    lower_is_better = metric in {"log_loss", "brier", "rmse", "mae"}
    better = challenger < champion if lower_is_better else challenger > champion

    assert (gain(metric, challenger, champion) > 0) is better
    assert better_or_equal(metric, challenger, champion) is (better or challenger == champion)


@pytest.mark.parametrize("metric", ["rmse", "macro_f1"])
def test_nan_is_neither_better_nor_equal(metric: Metric) -> None:
    nan = float("nan")

    assert not better_or_equal(metric, nan, 0.5)
    assert not better_or_equal(metric, 0.5, nan)
    assert not better_or_equal(metric, nan, nan)


def test_values_that_differ_by_rounding_are_a_tie_and_neither_is_better() -> None:
    assert is_tie(0.1 + 0.2, 0.3)
    assert not is_better("macro_f1", 0.1 + 0.2, 0.3)
    assert not is_tie(0.3, 0.3 + 1e-8)
    assert is_better("rmse", 0.3, 0.3 + 1e-8)


@pytest.mark.parametrize(
    ("primary", "first", "second", "expected"),
    [
        (
            "roc_auc",
            {"roc_auc": 0.5, "log_loss": 1.0},
            {"roc_auc": 0.6, "log_loss": 1.0},
            "roc_auc",
        ),
        ("roc_auc", {"log_loss": 1.0}, {"roc_auc": 0.6, "log_loss": 1.0}, "log_loss"),
        (
            "roc_auc",
            {"roc_auc": 0.5, "log_loss": 1.0},
            {"roc_auc": math.nan, "log_loss": 1},
            "log_loss",
        ),
        ("r2", {"rmse": 1.0}, {"rmse": 1.0, "r2": 0.5}, "rmse"),
        ("mae", {"mae": math.inf, "rmse": 1.0}, {"mae": 1.0, "rmse": 1.0}, "rmse"),
        ("macro_f1", {}, {"macro_f1": 0.5, "log_loss": 1.0}, None),
        ("rmse", {"mae": 1.0}, {"mae": 2.0}, None),
    ],
)
def test_a_metric_decides_if_both_models_have_it_else_the_loss_does(
    primary: Metric,
    first: dict[Metric, float],
    second: dict[Metric, float],
    expected: Metric | None,
) -> None:
    assert deciding_metric(primary, first, second) == expected


@pytest.mark.parametrize(
    "metric",
    ["macro_f1", "balanced_accuracy", "log_loss", "average_precision", "rmse"],
)
def test_the_spread_of_a_difference_is_that_of_resamples_scored_one_by_one(metric: Metric) -> None:
    made = numbers(120, seed=5) if metric == "rmse" else classified(120, 4, seed=5)
    truth, first, second = made

    known = paired_difference(metric, truth, first, second, seed=3, n_resamples=4000)

    random, gains = np.random.default_rng(99), []
    for _ in range(400):
        rows = random.integers(0, truth.n_rows, truth.n_rows)
        values = [by_scikit_learn(metric, *taken(truth, m, rows)) for m in (first, second)]
        gains.append(gain(metric, *values))
    values = [by_scikit_learn(metric, truth, answers) for answers in (first, second)]
    spread = np.std(gains)
    # 400 resamples know the spread to within 3.5 %, and their 5 % quantile to within 0.11 of it.
    assert known.gain == pytest.approx(gain(metric, *values), abs=1e-9)
    assert known.standard_error == pytest.approx(spread, rel=0.14)
    assert known.lower == pytest.approx(np.quantile(gains, 0.05), abs=0.44 * spread)


@pytest.mark.parametrize("metric", METRICS["binary"])
def test_a_hundred_thousand_rows_have_the_standard_error_that_theory_gives(metric: Metric) -> None:
    n_rows = 100_000
    truth, first, second = classified(n_rows, 2, seed=1)

    known = paired_difference(metric, truth, first, second, seed=0)

    at_random = np.random.default_rng(0).permutation(n_rows).reshape(20, -1)
    parts = [
        gain(metric, *(by_scikit_learn(metric, *taken(truth, m, rows)) for m in (first, second)))
        for rows in at_random
    ]
    # The error of the whole follows from the spread of 20 parts of it, known as chi-squared tells.
    expected = np.std(parts, ddof=1) / math.sqrt(20)
    low, high = (math.sqrt(stats.chi2.ppf(q, 19) / 19) for q in (0.0005, 0.9995))
    assert expected / high < known.standard_error < expected / low
    assert known.lower == pytest.approx(known.gain - 1.645 * known.standard_error, rel=0.02)


def test_models_that_say_the_same_differ_by_nothing() -> None:
    truth, first, _ = classified(60, 3, seed=0)

    known = paired_difference("macro_f1", truth, first, first, seed=0)

    assert (known.gain, known.standard_error, known.lower) == (0.0, 0.0, 0.0)


def test_the_same_seed_draws_the_same_resamples() -> None:
    truth, first, second = classified(60, 3, seed=0)

    once, again, other = (
        paired_difference("macro_f1", truth, first, second, seed=seed) for seed in (1, 1, 2)
    )

    assert once == again
    assert once.lower != other.lower


def test_coin_flips_do_not_surely_beat_a_constant() -> None:
    random = np.random.default_rng(0)
    n_nights, surely = 200, 0
    for _ in range(n_nights):
        y, predicted = random.integers(0, 2, 300), random.integers(0, 2, 300)
        guess = Answers(predicted, np.full((300, 2), 0.5), (1,))
        one = Answers(np.zeros(300, np.int64), np.full((300, 2), 0.5), (1,))
        truth = Truth(y, ("a", "b"))
        known = paired_difference("accuracy", truth, guess, one, seed=0, n_resamples=200)
        surely += known.lower > 0

    # 5 % of nights by construction; more than 20 of 200 would be one in a thousand.
    assert surely <= stats.binom.ppf(0.999, n_nights, 0.05)


def test_chance_is_what_the_same_answers_have_in_another_order() -> None:
    truth, answers, _ = classified(3000, 3, seed=0)

    known = difference_to_chance("macro_f1", truth, answers, seed=0)

    assert known is not None
    random = np.random.default_rng(1)
    shuffled = [
        by_scikit_learn(
            "macro_f1", truth, Answers(random.permutation(answers.predicted), answers.probs)
        )
        for _ in range(30)
    ]
    value = by_scikit_learn("macro_f1", truth, answers)
    assert value - known.gain == pytest.approx(np.mean(shuffled), abs=0.005)
    assert 0 < known.lower < known.gain


def test_coin_flips_do_not_surely_beat_chance_though_they_beat_a_constant() -> None:
    random = np.random.default_rng(0)
    n_nights, constant, chance = 200, 0, 0
    for _ in range(n_nights):
        y, predicted = random.integers(0, 2, 300), random.integers(0, 2, 300)
        guess = Answers(predicted, np.full((300, 2), 0.5), (1,))
        one = Answers(np.zeros(300, np.int64), np.full((300, 2), 0.5), (1,))
        truth = Truth(y, ("a", "b"))
        pair = paired_difference("macro_f1", truth, guess, one, seed=0, n_resamples=200)
        constant += pair.lower > 0
        known = difference_to_chance("macro_f1", truth, guess, seed=0, n_resamples=200)
        assert known is not None
        chance += known.lower > 0

    assert constant == n_nights
    assert chance <= stats.binom.ppf(0.999, n_nights, 0.05)


def test_a_lead_that_hangs_on_one_row_of_five_is_not_sure() -> None:
    truth = Truth(np.array([0, 0, 0, 0, 1]), ("a", "b"))
    right = Answers(truth.y, np.eye(2)[truth.y.astype(int)], (1,))
    one = Answers(np.zeros(5, np.int64), np.full((5, 2), 0.5), (1,))

    known = paired_difference("accuracy", truth, right, one, seed=0)

    assert known.gain == pytest.approx(0.2)
    assert known.lower == 0.0  # (4/5)^5 = 33 % of resamples are without the row


def test_a_metric_that_most_resamples_lack_has_no_known_spread() -> None:
    one_class = Truth(np.zeros(9, np.int64), ("a",))
    alone = Answers(np.zeros(9, np.int64), np.ones((9, 1)), (0,))
    one_value = Truth(np.full(9, 4.0))
    number = Answers(np.arange(9.0), np.empty((9, 0)))

    area = paired_difference("roc_auc", one_class, alone, alone, seed=0)
    share = paired_difference("r2", one_value, number, number, seed=0)

    for known in (area, share):
        assert math.isnan(known.standard_error)
        assert math.isnan(known.lower)


def test_random_rankings_of_two_rows_among_two_hundred_do_not_surely_beat_chance() -> None:
    random = np.random.default_rng(0)
    n_nights, constant, chance = 200, 0, 0
    y = np.repeat([0, 1], [198, 2])
    truth = Truth(y, ("a", "b"))
    same = Answers(np.zeros(200, np.int64), np.full((200, 2), 0.5), (1,))
    for _ in range(n_nights):
        scores = random.random(200)
        guess = Answers(np.zeros(200, np.int64), np.stack([1 - scores, scores], axis=1), (1,))
        pair = paired_difference("roc_auc", truth, guess, same, seed=0, n_resamples=100)
        known = difference_to_chance("roc_auc", truth, guess, seed=0)
        assert known is not None
        constant += pair.lower > 0
        chance += known.lower > 0

    most = stats.binom.ppf(0.999, n_nights, 0.05)
    assert constant > most  # resamples of two rows are no measure
    assert chance <= most


def test_the_spread_of_a_random_ranking_is_that_of_the_rank_sum() -> None:
    truth, answers, _ = classified(300, 2, seed=0)

    known = difference_to_chance("roc_auc", truth, answers, seed=0)

    n_positive = int(np.sum(truth.y == 1))
    pairs = n_positive * (300 - n_positive)
    assert known is not None
    assert known.standard_error == pytest.approx(np.sqrt(pairs * 301 / 12) / pairs)
    assert difference_to_chance("accuracy", truth, answers, seed=0) is None


@pytest.mark.parametrize("metric", METRICS["binary"])
def test_chance_is_known_of_every_metric_by_which_guesses_can_beat_a_constant(
    metric: Metric,
) -> None:
    truth, answers, _ = classified(300, 2, seed=0)

    known = difference_to_chance(metric, truth, answers, seed=0)

    assert (known is not None) is METRIC_FACTS[metric].guesses_beat_constant


@pytest.mark.parametrize(("n_classes", "rare"), [(2, False), (2, True), (4, False)])
@pytest.mark.parametrize("metric", ["balanced_accuracy", "average_precision"])
def test_chance_has_the_spread_of_answers_that_are_shuffled_one_by_one(
    metric: Metric, n_classes: int, rare: bool
) -> None:
    truth, answers, _ = classified(400, n_classes, seed=0)
    if rare:  # three rows of the last class
        y = np.where(truth.y == n_classes - 1, 0, truth.y)
        y[:3] = n_classes - 1
        truth = Truth(y, truth.classes)

    known = difference_to_chance(metric, truth, answers, seed=0, n_resamples=2000)

    random, shuffled = np.random.default_rng(1), []
    for _ in range(400):
        order = random.permutation(400)
        parts = Answers(answers.predicted[order], answers.probs[order], answers.ranked)
        shuffled.append(by_scikit_learn(metric, truth, parts))
    value, spread = by_scikit_learn(metric, truth, answers), np.std(shuffled)
    assert known is not None
    assert value - known.gain == pytest.approx(np.mean(shuffled), abs=0.2 * spread)
    assert known.standard_error == pytest.approx(spread, rel=0.2)
    assert value - known.lower == pytest.approx(np.quantile(shuffled, 0.95), abs=0.6 * spread)


def test_a_random_ranking_of_many_positives_has_the_spread_that_drawing_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth = Truth((np.arange(6000) < 600).astype(np.int64), ("a", "b"))

    formula = shuffled_average_precision(truth, np.random.default_rng(0), 4000)
    monkeypatch.setattr(chance_module, "MAX_DRAWN", 600)
    drawn = shuffled_average_precision(truth, np.random.default_rng(0), 4000)

    assert formula.mean() == pytest.approx(drawn.mean(), abs=0.1 * drawn.std())
    assert formula.std() == pytest.approx(drawn.std(), rel=0.1)


@pytest.mark.parametrize(
    ("metric", "n_rare", "says_rare"),
    [
        ("balanced_accuracy", 1, 0.2),
        ("balanced_accuracy", 3, 0.5),
        ("average_precision", 2, 0.5),
    ],
)
def test_guesses_at_a_few_rows_among_two_hundred_do_not_surely_beat_chance(
    metric: Metric, n_rare: int, says_rare: float
) -> None:
    random = np.random.default_rng(0)
    n_nights, surely = 200, 0
    truth = Truth(np.repeat([0, 1], [200 - n_rare, n_rare]), ("a", "b"))
    for _ in range(n_nights):
        scores = random.random(200)
        probs = np.stack([1 - scores, scores], axis=1)
        guess = Answers((scores > 1 - says_rare).astype(np.int64), probs, (1,))
        known = difference_to_chance(metric, truth, guess, seed=0, n_resamples=300)
        assert known is not None
        surely += known.lower > 0

    assert surely <= stats.binom.ppf(0.999, n_nights, 0.05)


def test_shuffled_answers_of_many_classes_have_the_spread_that_drawing_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    n_classes = chance_module.MAX_CLASSES
    y = np.concatenate([np.arange(n_classes), random.integers(0, n_classes, 800)])
    truth = Truth(y, tuple(map(str, range(n_classes))))
    answers = Answers(random.integers(-1, 8, len(y)), np.empty((len(y), 0)))

    drawn = shuffled_balanced_accuracy(truth, answers, random, 500)
    monkeypatch.setattr(chance_module, "MAX_CLASSES", 1)
    formula = shuffled_balanced_accuracy(truth, answers, random, 500)

    assert formula.mean() == pytest.approx(drawn.mean(), abs=0.2 * drawn.std())
    assert formula.std() == pytest.approx(drawn.std(), rel=0.2)


def test_a_model_that_knows_its_rows_surely_beats_its_shuffled_answers() -> None:
    truth, answers, _ = classified(300, 4, seed=0)

    for metric in METRICS["multiclass"]:
        known = difference_to_chance(metric, truth, answers, seed=0)
        assert known is None or known.lower > 0
