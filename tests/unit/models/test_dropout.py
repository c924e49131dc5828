"""Dropout's mask has the distribution it names, drawn anew each time, and the same for a seed."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline_lib.config.models import EmbeddingMLPSettings
from pipeline_lib.models.dropout import Dropout, keep_mask

# Chance that one check fails though the mask is right; the seeds are fixed.
ALPHA = 1e-6
N = 200_000
SHARES = [0.001, 0.1, 0.25, 0.4, 0.5, 0.9, 0.999]


def _rounded(p: float) -> Fraction:
    """Return the multiple of 1 / 65,536 that is nearest to p."""
    return Fraction(round(p * 2**16), 2**16)


def _is_binomial(count: int, n: int, p: float) -> bool:
    low, high = stats.binom.interval(1 - ALPHA, n, p)
    return bool(low <= count <= high)


@pytest.mark.parametrize("p", SHARES)
def test_the_share_of_zeros_is_p_within_what_chance_allows(p: float) -> None:
    torch.manual_seed(0)

    mask = keep_mask(torch.empty(N), p)

    n_zeros = int((mask == 0).sum())
    assert _is_binomial(n_zeros, N, float(_rounded(p)))


@pytest.mark.parametrize("p", SHARES)
def test_the_mean_of_a_mask_is_1_within_what_chance_allows(p: float) -> None:
    torch.manual_seed(1)

    mean = float(keep_mask(torch.empty(N, dtype=torch.float64), p).mean())

    deviation = (float(_rounded(p) / (1 - _rounded(p))) / N) ** 0.5
    # beside the deviations, two values more: the normal bound is short where few are dropped
    slack = 2 / (N * (1 - p))
    assert abs(mean - 1) < stats.norm.isf(ALPHA / 2) * deviation + slack


@given(p=st.floats(0, 0.9999))
def test_what_is_kept_is_scaled_by_exactly_1_over_the_rounded_share(p: float) -> None:
    mask = keep_mask(torch.empty(2_000, dtype=torch.float64), p)

    kept = {value for value in mask.tolist() if value != 0}

    assert kept <= {float(1 / (1 - _rounded(p)))}


@pytest.mark.parametrize("p", [0.1, 0.4, 0.9])
def test_two_draws_drop_the_same_position_no_more_often_than_chance(p: float) -> None:
    torch.manual_seed(2)

    first, second = (keep_mask(torch.empty(N), p) == 0 for _ in range(2))

    n_both = int((first & second).sum())
    assert _is_binomial(n_both, N, float(_rounded(p)) ** 2)


@pytest.mark.parametrize("p", [0.1, 0.4, 0.9])
@pytest.mark.parametrize("distance", [1, 2, 3, 4, 8, N // 8, N // 4, N // 2])
def test_two_positions_are_dropped_together_no_more_often_than_chance(
    distance: int, p: float
) -> None:
    torch.manual_seed(3)

    dropped = keep_mask(torch.empty(N), p) == 0

    # pairs that share no position, so that their number is binomial
    pairs = dropped[: N // (2 * distance) * 2 * distance].view(-1, 2, distance)
    n_both = int((pairs[:, 0] & pairs[:, 1]).sum())
    assert _is_binomial(n_both, pairs.numel() // 2, float(_rounded(p)) ** 2)


@pytest.mark.parametrize("place", range(4))
def test_each_of_the_four_values_of_a_draw_is_dropped_with_the_same_share(place: int) -> None:
    torch.manual_seed(4)

    dropped = keep_mask(torch.empty(N), 0.4)[place::4] == 0

    assert _is_binomial(int(dropped.sum()), N // 4, float(_rounded(0.4)))


@pytest.mark.parametrize("p", [0.999995, 0.9999999])
def test_any_share_that_the_config_takes_gives_a_finite_mask(p: float) -> None:
    settings = EmbeddingMLPSettings(dropout=p)

    mask = keep_mask(torch.empty(N), settings.dropout)

    assert bool(torch.isfinite(mask).all())


def test_the_same_seed_gives_the_same_mask_and_another_seed_another() -> None:
    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return keep_mask(torch.empty(50, 7), 0.5)

    first, again, other = drawn(5), drawn(5), drawn(6)

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (5, 7), (2, 3, 5), (0, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_mask_has_shape_and_type_of_what_it_covers(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    mask = keep_mask(torch.empty(shape, dtype=dtype), 0.4)

    assert mask.shape == shape
    assert mask.dtype == dtype


def test_a_transposed_input_is_dropped_like_any_other() -> None:
    x = torch.ones(400, 300).T

    out = Dropout(0.4)(x)

    assert out.shape == x.shape
    assert _is_binomial(int((out == 0).sum()), x.numel(), float(_rounded(0.4)))


def test_without_a_share_to_drop_the_input_itself_comes_back() -> None:
    x = torch.randn(10)

    assert Dropout(0.0)(x) is x


def test_in_eval_mode_the_input_itself_comes_back() -> None:
    x = torch.randn(10)

    assert Dropout(0.5).eval()(x) is x


def test_gradient_flows_through_kept_values_alone_and_with_their_scale() -> None:
    x = torch.rand(1_000).add(1).requires_grad_()

    out = Dropout(0.25)(x)
    out.sum().backward()

    assert x.grad is not None
    kept = out != 0
    assert 0 < int(kept.sum()) < 1_000
    assert bool((x.grad[~kept] == 0).all())
    torch.testing.assert_close(x.grad[kept], torch.full_like(x.grad[kept], 4 / 3))
    torch.testing.assert_close(out[kept], x.detach()[kept] * (4 / 3))
