"""A blend's weights and temperature: chosen by validation rows, optimal beside a plain search."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.models.blend import TEMPERATURES, tempered
from pipeline_lib.models.blend_weights import choose_temperature, choose_weights

Floats = npt.NDArray[np.float64]


def _probs(random: np.random.Generator, y: Floats, *, skill: float, n_classes: int = 3) -> Floats:
    logits = random.normal(size=(len(y), n_classes))
    logits[np.arange(len(y)), y.astype(int)] += skill
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def _log_loss(probs: Floats, y: Floats) -> float:
    return float(-np.log(probs[np.arange(len(y)), y.astype(int)]).mean())


def test_no_pair_of_weights_of_a_grid_is_much_better() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 2000).astype(float)
    scores = [_probs(random, y, skill=2.0), _probs(random, y, skill=1.5)]

    weights = choose_weights(scores, y, n_classes=3)

    best = min(_log_loss(w * scores[0] + (1 - w) * scores[1], y) for w in np.linspace(0, 1, 201))
    chosen = _log_loss(weights[0] * scores[0] + weights[1] * scores[1], y)
    assert chosen <= best * 1.01
    assert weights[0] > weights[1]


def test_a_member_that_guesses_beside_one_that_knows_has_no_weight() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 3000).astype(float)

    weights = choose_weights(
        [_probs(random, y, skill=6.0), _probs(random, y, skill=0.0)], y, n_classes=3
    )

    assert weights[1] < 0.05


def test_members_that_say_the_same_have_equal_weights() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 500).astype(float)
    same = _probs(random, y, skill=1.0)

    weights = choose_weights([same, same, same], y, n_classes=3)

    np.testing.assert_allclose(weights, 1 / 3, atol=1e-6)


def test_numbers_are_weighed_by_their_squared_errors() -> None:
    random = np.random.default_rng(0)
    y = random.normal(size=4000)
    scores = [(y + random.normal(0, scale, 4000))[:, None] for scale in (0.5, 1.0)]

    weights = choose_weights(scores, y, n_classes=0)

    # Independent errors: the best weights are inverse to their variances, 0.8 and 0.2.
    np.testing.assert_allclose(weights, [0.8, 0.2], atol=0.06)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 40), st.sampled_from([0, 2, 4]))
def test_weights_are_at_least_0_and_add_up_to_1(
    seed: int, n_members: int, n_rows: int, n_classes: int
) -> None:
    random = np.random.default_rng(seed)
    y = random.integers(0, max(n_classes, 2), n_rows).astype(float)
    scores = [
        _probs(random, y, skill=random.uniform(-3, 9), n_classes=n_classes)
        if n_classes
        else random.normal(y, random.uniform(0.001, 100))[:, None]
        for _ in range(n_members)
    ]

    weights = choose_weights(scores, y, n_classes=n_classes)

    assert weights.shape == (n_members,)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0)


def test_the_temperature_is_the_one_of_a_plain_search() -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 3000).astype(float)
    too_sure = tempered(_probs(random, y, skill=1.0), 0.6)

    temperature = choose_temperature(too_sure, y)

    grid = np.linspace(*TEMPERATURES, 501)
    losses = [_log_loss(tempered(too_sure, each), y) for each in grid]
    assert temperature == pytest.approx(grid[int(np.argmin(losses))], abs=0.01)
    assert temperature > 1.2


@pytest.mark.parametrize(("n_rows", "errors"), [(299, True), (1000, False)])
def test_few_rows_or_rows_without_errors_leave_probabilities_as_they_are(
    n_rows: int, errors: bool
) -> None:
    random = np.random.default_rng(0)
    y = random.integers(0, 3, n_rows).astype(float)
    probs = _probs(random, y, skill=1.0 if errors else 30.0)

    assert choose_temperature(probs, y) == 1.0
