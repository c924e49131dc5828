"""Robust and quantile scaling, and moments from batches, held against numpy and scikit-learn."""

from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.preprocessing import QuantileTransformer, RobustScaler, StandardScaler

from pipeline_lib.config.columns import NumberColumn, QuantileScaling
from pipeline_lib.config.columns import RobustScaling as Robust
from pipeline_lib.encoding.numeric import FloatInput, float_input_fitter
from pipeline_lib.encoding.scaling import QuantileScaler, StandardFitter, Standardizer
from pipeline_lib.encoding.scaling import RobustScaler as Robustly

Numbers = npt.NDArray[np.float64]

ROBUST = NumberColumn(scaling=Robust())
NORMAL = NumberColumn(scaling=QuantileScaling(n_quantiles=100))
UNIFORM = NumberColumn(scaling=QuantileScaling(n_quantiles=100, output="uniform"))

thousandths = st.integers(-(10**9), 10**9).map(lambda value: value / 1000)
columns = st.lists(thousandths | st.integers(0, 3).map(float), min_size=2, max_size=60)


def _column(values: "list[float | None] | Numbers") -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.float64())])


def _fitted(column: NumberColumn, values: "list[float | None] | Numbers") -> FloatInput:
    fitter = float_input_fitter("x", column)
    fitter.add(_column(values))
    return fitter.finish()


def _nullable(column: NumberColumn) -> NumberColumn:
    return column.model_copy(update={"nullable": True})


@given(st.lists(thousandths, min_size=2, max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_moments_from_batches_are_those_of_numpy(values: list[float], cuts: list[int]) -> None:
    fitter = StandardFitter("x", nullable=False)
    borders = [0, *sorted(cuts), len(values)]
    for first, last in zip(borders, borders[1:], strict=False):  # noqa: RUF007
        fitter.add(_column(values)[first:last])

    scale = fitter.finish()

    assert scale == Standardizer.fit("x", _column(values), nullable=False)
    np.testing.assert_allclose(scale.mean, np.mean(values), rtol=1e-12, atol=1e-12 * np.ptp(values))
    if len(set(values)) > 1:
        np.testing.assert_allclose(scale.deviation, np.std(values), rtol=1e-9)


@pytest.mark.parametrize("mean", [0.0, 1e3, -1e9])
def test_moments_of_many_numbers_are_those_of_scikit_learn(mean: float) -> None:
    values = np.random.default_rng(0).normal(mean, 2.0, 200_000)
    fitter = StandardFitter("x", nullable=False)

    for first in range(0, 200_000, 1777):
        fitter.add(_column(values[first : first + 1777]))

    expected = StandardScaler().fit(values[:, None])
    assert fitter.finish().mean == pytest.approx(float(expected.mean_[0]), rel=1e-12, abs=1e-12)
    assert fitter.finish().deviation == pytest.approx(float(expected.scale_[0]), rel=1e-8)


def test_where_batches_end_does_not_change_a_bit_of_the_moments() -> None:
    values = np.random.default_rng(1).normal(1e6, 1.0, 150_001)
    found: set[Standardizer] = set()

    for size in (150_001, 65_536, 977):
        fitter = StandardFitter("x", nullable=False)
        for first in range(0, len(values), size):
            fitter.add(_column(values[first : first + size]))
        found.add(fitter.finish())

    assert len(found) == 1


@given(columns)
def test_robust_values_are_those_of_scikit_learn_smoothly_clipped(values: list[float]) -> None:
    scaler = _fitted(ROBUST, values)

    encoded = scaler.encode(_column(values))[:, 0]

    first, third = np.quantile(values, [0.25, 0.75])
    by_quartiles = RobustScaler().fit_transform(np.array(values)[:, None])[:, 0]
    if first == third:
        by_quartiles /= np.ptp(values) / 2 or 1.0
    expected = by_quartiles / np.sqrt(1 + (by_quartiles / 3) ** 2)
    np.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-6)


def test_outliers_keep_their_order_within_the_clip() -> None:
    scaler = _fitted(ROBUST, np.random.default_rng(0).normal(size=1000))

    encoded = scaler.encode(_column([-1e300, -50.0, -5.0, 0.0, 5.0, 50.0, 1e300]))[:, 0]

    assert (np.diff(encoded) > 0).all()
    assert np.abs(encoded).max() <= 3.0


def test_equal_quartiles_give_way_to_half_the_range() -> None:
    scaler = _fitted(ROBUST, [0.0] * 98 + [-3.0, 5.0])

    assert isinstance(scaler, Robustly)
    assert (scaler.median, scaler.spread) == (0.0, 4.0)


def test_a_constant_keeps_its_unit() -> None:
    scaler = _fitted(ROBUST, [7.0] * 10)

    np.testing.assert_allclose(scaler.encode(_column([7.0, 8.0])), [[0.0], [1 / (10 / 9) ** 0.5]])


@pytest.mark.parametrize("clip", [0.5, 3.0, 1e6])
def test_the_clip_is_the_one_of_the_settings(clip: float) -> None:
    scaler = _fitted(NumberColumn(scaling=Robust(clip=clip)), [0.0, 1.0, 2.0, 3.0, 4.0])

    assert scaler.encode(_column([1e200]))[0, 0] == pytest.approx(clip)
    assert scaler.encode(_column([4.0]))[0, 0] == pytest.approx(1 / np.sqrt(1 + 1 / clip**2))


def _by_scikit_learn(
    train: Numbers, values: Numbers, *, n_quantiles: int, output: str = "uniform"
) -> Numbers:
    transformer = QuantileTransformer(
        n_quantiles=min(n_quantiles, len(train)), output_distribution=output, subsample=None
    )
    return transformer.fit(train[:, None]).transform(values[:, None])[:, 0]


@given(columns.filter(lambda values: len(set(values)) > 1))
def test_values_that_rows_share_are_in_the_middle_of_their_ranks(values: list[float]) -> None:
    encoded = _fitted(UNIFORM, values).encode(_column(values))[:, 0]

    expected = (rankdata(values) - 1) / (len(values) - 1)
    expected[np.array(values) == max(values)] = 1.0
    expected[np.array(values) == min(values)] = 0.0
    np.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-6)


@given(st.lists(thousandths, min_size=2, max_size=60, unique=True), st.lists(thousandths))
def test_between_training_rows_ranks_are_those_of_scikit_learn(
    values: list[float], unseen: list[float]
) -> None:
    train, asked = np.array(values), np.array(values + unseen)

    encoded = _fitted(UNIFORM, values).encode(_column(asked))[:, 0]

    expected = _by_scikit_learn(train, asked, n_quantiles=100)
    np.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_quantiles", [10, 1000])
@pytest.mark.parametrize("output", ["uniform", "normal"])
@pytest.mark.parametrize("kind", ["lognormal", "with ties", "whole"])
def test_a_long_column_is_that_of_scikit_learn(n_quantiles: int, output: str, kind: str) -> None:
    random = np.random.default_rng(0)
    train = random.lognormal(size=20_000)
    if kind == "with ties":
        train[::3] = 1.5
    if kind == "whole":
        train = np.floor(train * 3)
    asked = np.concatenate([train[:500], random.lognormal(sigma=2, size=500), [-5.0, 1e9]])
    scaling = QuantileScaling(n_quantiles=n_quantiles, output=output)

    encoded = _fitted(NumberColumn(scaling=scaling), train).encode(_column(asked))[:, 0]

    expected = _by_scikit_learn(train, asked, n_quantiles=n_quantiles, output=output)
    np.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-5)


def test_a_column_of_tiny_numbers_is_spread_too() -> None:
    train = np.random.default_rng(0).normal(size=5000)

    encoded = _fitted(NORMAL, train * 1e-12).encode(_column(train * 1e-12))

    # scikit-learn takes all numbers within 1e-7 of an end for the end.
    assert encoded.std() == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(encoded, _fitted(NORMAL, train).encode(_column(train)), atol=1e-4)


def test_beyond_both_ends_the_normal_stops_where_scikit_learn_does() -> None:
    scaler = _fitted(NORMAL, np.random.default_rng(0).normal(size=1000))

    encoded = scaler.encode(_column([-1e308, 1e308]))[:, 0]

    np.testing.assert_allclose(encoded, [-5.19933758, 5.19933758], rtol=1e-6)


@pytest.mark.parametrize(("column", "middle"), [(NORMAL, 0.0), (UNIFORM, 0.5)])
def test_a_constant_is_in_the_middle_of_the_ranks(column: NumberColumn, middle: float) -> None:
    scaler = _fitted(column, [7.0] * 10)

    low, same, high = scaler.encode(_column([6.0, 7.0, 8.0]))[:, 0]

    assert low < same == middle < high


def test_a_missing_number_is_where_the_median_is() -> None:
    train: list[float | None] = [1.0, None, 2.0, 3.0, 10.0, 50.0, None]

    for column in (ROBUST, NORMAL, UNIFORM):
        scaler = _fitted(_nullable(column), train)
        missing, median = scaler.encode(_column([None, 3.0]))
        assert missing[0] == median[0]
        assert (missing[1], median[1]) == (1.0, 0.0)


@pytest.mark.parametrize("column", [ROBUST, NORMAL, UNIFORM], ids=["robust", "normal", "uniform"])
def test_a_column_without_a_training_value_gives_finite_floats(column: NumberColumn) -> None:
    scaler = _fitted(_nullable(column), [None, None])

    assert np.isfinite(scaler.encode(_column([None, 3.0, -1e300]))).all()


def test_fewer_training_rows_than_quantiles_are_a_quantile_each() -> None:
    scaler = _fitted(NumberColumn(scaling=QuantileScaling()), [3.0, 1.0, 2.0])

    assert isinstance(scaler, QuantileScaler)
    assert scaler.quantiles == (1.0, 2.0, 3.0)


def test_a_scaler_of_an_earlier_release_gives_the_same_floats() -> None:
    # Earlier releases took the standard library's formula, and their own copy of it.
    numbers = np.concatenate([np.linspace(0.0, 1.0, 2001), np.logspace(-9, -1, 500)])
    scaler = QuantileScaler("x", (0.0, 1.0), "normal", nullable=False)
    shares = np.clip(numbers, 1e-7, 1 - 1e-7)

    encoded = scaler.encode(_column(numbers))[:, 0]
    one_by_one = [scaler.encode(pa.array([number]))[0, 0] for number in numbers[:200]]

    expected = np.array([NormalDist().inv_cdf(share) for share in shares])
    np.testing.assert_allclose(encoded, expected, rtol=1e-6, atol=1e-7)
    assert one_by_one == encoded[:200].tolist()
