"""Numbers are centered, bent and binned as formulas of their papers say."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numbers
from sklearn.preprocessing import RobustScaler

from pipeline_lib.models.estimator import Batch
from pipeline_lib.models.number_bins import PiecewiseLinear, borders_of
from pipeline_lib.models.number_inputs import NumberInputs, TrainingNumbers
from pipeline_lib.models.periodic import Periodic
from pipeline_lib.training.rows import TensorSplit

Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def _rows(x_num: Array, y: Array | None = None) -> TensorSplit:
    target = np.zeros(len(x_num), np.float32) if y is None else y
    codes = torch.empty(len(x_num), 0, dtype=torch.int32)
    return TensorSplit(codes, torch.from_numpy(x_num), torch.from_numpy(target))


def _begun(x_num: Array, n_bins: int = 4) -> NumberInputs:
    found = TrainingNumbers.of(_rows(x_num), x_num.shape[1])
    inputs = NumberInputs([len(b) for b in found.borders(n_bins)], 0, 0.1)
    inputs.begin(found, n_bins)
    return inputs


def _reference(x: Array, borders: Array) -> Array:
    """Return the encoding of one column by the paper's cases, with a search for each bin."""
    out = np.zeros((len(x), len(borders) - 1))
    place = np.searchsorted(borders, x, side="right") - 1
    for row, (value, bin_) in enumerate(zip(x, place, strict=True)):
        out[row, : max(bin_, 0)] = 1
        if 0 <= bin_ < len(borders) - 1:
            out[row, bin_] = (value - borders[bin_]) / (borders[bin_ + 1] - borders[bin_])
    return out.astype(np.float32)


def test_bins_are_those_of_the_paper_inside_and_beyond_the_borders() -> None:
    borders = [np.array([-1.0, 0.0, 0.5, 4.0]), np.array([10.0, 20.0])]
    bins = PiecewiseLinear([4, 2])
    bins.set_borders(borders)
    x = np.random.default_rng(0).uniform([-3, 5], [6, 25], (200, 2)).astype(np.float32)

    ours = bins(torch.from_numpy(x)).numpy()

    theirs = [_reference(x[:, i], borders[i].astype(np.float32)) for i in range(2)]
    np.testing.assert_allclose(ours, np.hstack(theirs), atol=1e-6)


@given(values=numbers.arrays(np.float32, 50, elements=st.floats(-1e6, 1e6, width=32)))
def test_borders_ascend_span_the_values_and_are_no_more_than_asked(values: Array) -> None:
    borders = borders_of(values, 8)

    assert len(borders) <= 9
    assert bool((np.diff(borders) > 0).all())
    if len(borders):
        assert borders[0] == values.min()
        assert values.max() - borders[-1] <= 1e-5 * (values.max() - values.min())


def test_borders_of_values_that_are_all_different_are_their_quantiles() -> None:
    values = np.random.default_rng(1).normal(size=1_001).astype(np.float32)

    expected = np.sort(values)[np.arange(0, 1_001, 250)]

    np.testing.assert_allclose(borders_of(values, 4), expected)


@pytest.mark.parametrize("values", [[3.0] * 9, [0.0, 1.0] * 9])
def test_one_or_two_values_need_no_bins(values: list[float]) -> None:
    assert len(borders_of(np.array(values, np.float32), 16)) == 0


def test_one_dominant_value_leaves_the_other_ones_their_bins() -> None:
    values = np.concatenate([np.zeros(950), np.arange(1, 51)]).astype(np.float32)

    borders = borders_of(values, 16)

    assert len(borders) > 12
    assert np.diff(borders).max() <= 8


def test_numbers_are_scaled_as_scikit_learn_does_and_bent() -> None:
    x = np.random.default_rng(2).lognormal(size=(301, 2)).astype(np.float32)

    ours = _begun(x, n_bins=0)(torch.from_numpy(x))[0].numpy()

    scaled = RobustScaler().fit_transform(x)
    np.testing.assert_allclose(ours, scaled / np.sqrt(1 + (scaled / 3) ** 2), rtol=1e-5, atol=1e-6)


@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
@pytest.mark.parametrize("unit", [1e-40, 1e-3, 1.0, 1e30])
def test_no_number_is_beyond_3(unit: float, value: float) -> None:
    inputs = _begun(np.arange(9, dtype=np.float32)[:, None] * np.float32(unit))

    bent, bins, _ = inputs(torch.tensor([[value]]))

    assert abs(float(bent)) <= 3.0 + 1e-6
    assert bool(((bins >= 0) & (bins <= 1)).all())


def test_a_column_that_was_constant_says_nothing_whatever_comes() -> None:
    inputs = _begun(np.full((20, 1), 7.0, np.float32))

    outputs = torch.cat(inputs(torch.tensor([[7.0], [8.0], [1e9]])), dim=1)

    assert not outputs.any()


def test_a_column_of_rare_ones_is_scaled_by_its_deviation() -> None:
    x = np.zeros((100, 1), np.float32)
    x[:4] = 1

    (bent, *_) = _begun(x)(torch.tensor([[1.0]]))

    scaled = 1 / x.std()
    np.testing.assert_allclose(float(bent), scaled / np.sqrt(1 + (scaled / 3) ** 2), rtol=1e-5)


def test_no_columns_give_no_input() -> None:
    inputs = _begun(np.empty((5, 0), np.float32))

    assert inputs.width == 0
    assert torch.cat(inputs(torch.empty(5, 0)), dim=1).shape == (5, 0)


class _InBatches:
    """Rows that come a few at a time, as from a file."""

    def __init__(self, rows: TensorSplit, batch_rows: int) -> None:
        self._rows, self._batch_rows = rows, batch_rows
        self.n_rows, self.device = rows.n_rows, rows.device

    def in_order(self, batch_rows: int) -> Iterator[Batch]:
        yield from self._rows.in_order(min(batch_rows, self._batch_rows))


@pytest.mark.parametrize("batch_rows", [1, 7, 1_000])
def test_what_is_sampled_is_the_same_in_whatever_batches_rows_come(
    batch_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_lib.models.number_inputs._SAMPLE_ROWS", 30)
    x = np.arange(100, dtype=np.float32)[:, None]
    rows = _rows(x, x[::-1, 0].copy() - 5)

    found = TrainingNumbers.of(_InBatches(rows, batch_rows), 1)

    assert found.sample[:, 0].tolist() == list(range(0, 100, 4))
    assert (found.lowest, found.highest) == (-5, 94)


def test_wide_rows_are_sampled_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline_lib.models.number_inputs._SAMPLE_CELLS", 100)

    found = TrainingNumbers.of(_rows(np.zeros((80, 10), np.float32)), 10)

    assert found.sample.shape == (10, 10)


def test_waves_are_linear_maps_of_cosines_of_each_column_alone() -> None:
    torch.manual_seed(4)
    periodic, x = Periodic(2, 5, 0.5), torch.randn(7, 2)

    ours = periodic(x).detach().numpy()

    weights = [p.detach().numpy() for p in periodic.parameters()]
    frequencies, phases, weight, bias = weights
    for column in range(2):
        angles = 2 * np.pi * np.outer(x[:, column], frequencies[column]) + phases[column]
        theirs = np.cos(angles) @ weight[column] + bias[column]
        np.testing.assert_allclose(ours[:, 3 * column : 3 * column + 3], theirs, atol=1e-5)


def test_no_frequencies_are_no_waves() -> None:
    assert Periodic(3, 0, 0.1)(torch.randn(4, 3)).shape == (4, 0)
