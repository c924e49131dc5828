"""Positive targets on the log scale: the way there and back, and where there is none."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.encoding import NumberTarget, target_from_json, target_to_json
from pipeline_lib.encoding.log_scale import LogScale, LogScaleFitter


def _scale(values: list[float]) -> LogScale:
    fitter = LogScaleFitter()
    fitter.add(pa.chunked_array([pa.array(values, pa.float64())]))
    found = fitter.finish()
    assert found is not None
    return found


@given(st.lists(st.floats(1e-6, 1e12), min_size=1, max_size=20))
def test_a_number_comes_back_from_its_logarithm(values: list[float]) -> None:
    scale = _scale(values)

    again = scale.values(scale.encode(np.array(values)))

    np.testing.assert_allclose(again, values, rtol=1e-9)
    np.testing.assert_allclose(scale.decode(scale.encode(np.array(values))), values, rtol=1e-9)


def test_logarithms_have_mean_0_and_deviation_1_on_the_training_rows() -> None:
    values = [1.0, 10.0, 100.0, 1e12]

    encoded = _scale(values).encode(np.array(values))

    assert encoded.mean() == pytest.approx(0, abs=1e-12)
    assert encoded.std() == pytest.approx(1)


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=9), st.floats(1e-3, 1e3))
def test_predictions_stay_in_the_range_of_the_training_rows(
    outputs: list[float], factor: float
) -> None:
    scale = LogScale(mean=3.0, deviation=2.0, low=0.5, high=1e12, factor=factor)

    predicted = scale.decode(np.array(outputs))

    assert (predicted >= 0.5).all()
    assert (predicted <= 1e12).all()


def test_a_constant_is_predicted_as_itself() -> None:
    scale = _scale([7.0] * 5)

    assert scale.encode(np.array([7.0])) == pytest.approx([0.0], abs=1e-12)
    assert scale.decode(np.array([-3.0, 0.0, 3.0])).tolist() == [7.0, 7.0, 7.0]


def test_the_factor_makes_the_sum_of_predictions_that_of_the_values() -> None:
    random = np.random.default_rng(0)
    signal = random.normal(size=2000)
    values = np.exp(2 + signal + 0.8 * random.normal(size=2000))
    scale = _scale(values.tolist())
    outputs = (2 + signal - scale.mean) / scale.deviation  # the mean of the logarithm

    corrected = scale.with_factor(outputs, scale.encode(values))

    assert corrected.factor == pytest.approx(values.sum() / np.exp(2 + signal).sum())
    assert corrected.factor == pytest.approx(np.exp(0.8**2 / 2), rel=0.05)  # of normal residuals
    assert corrected.decode(outputs).sum() == pytest.approx(values.sum(), rel=1e-3)


def test_one_outlier_does_not_decide_the_factor() -> None:
    random = np.random.default_rng(0)
    values = np.exp(random.normal(size=500))
    scale = _scale([*values.tolist(), 1e12])
    outputs = np.full(501, (0.0 - scale.mean) / scale.deviation)

    factor = scale.with_factor(outputs, scale.encode(np.array([*values, 1e12]))).factor

    assert factor == pytest.approx(np.exp(0.5), rel=0.15)


@pytest.mark.parametrize("odd", [0.0, -1.0])
def test_a_row_without_a_logarithm_leaves_no_scale(odd: float) -> None:
    of_train, of_val = LogScaleFitter(), LogScaleFitter()
    good, bad = (pa.chunked_array([pa.array(v)]) for v in ([1.0, 2.0], [3.0, odd]))

    of_train.add(good)
    of_train.add(bad)
    of_val.add(good)
    of_val.look(bad)

    assert (of_train.finish(), of_train.n_not_positive) == (None, 1)
    assert (of_val.finish(), of_val.n_not_positive) == (None, 1)
    assert LogScaleFitter().finish() is None


def test_how_the_rows_come_does_not_change_the_scale() -> None:
    values = np.exp(np.random.default_rng(0).normal(size=1000))
    at_once, in_parts = LogScaleFitter(), LogScaleFitter()

    at_once.add(pa.chunked_array([pa.array(values)]))
    for part in np.array_split(values, 7):
        in_parts.add(pa.chunked_array([pa.array(part)]))

    assert at_once.finish() == in_parts.finish()


def test_a_target_on_the_log_scale_survives_json_to_the_bit() -> None:
    log = LogScale(1 / 3, 2.5e-7, 0.1, 1e300, 1.25)
    target = NumberTarget("price", 1 / 3, 7.0, log, "on the log scale: RMSE 1 against 2")

    assert target_from_json(json.loads(json.dumps(target_to_json(target)))) == target


def test_a_target_without_a_scale_is_saved_as_it_always_was() -> None:
    saved = target_to_json(NumberTarget("price", 1.0, 2.0))

    assert saved == {"column": "price", "mean": 1.0, "deviation": 2.0}


@pytest.mark.parametrize("damage", [{"low": 0.0}, {"low": 9.0}, {"factor": 0.0}, {"high": "inf"}])
def test_numbers_that_are_no_scale_are_refused(damage: dict[str, object]) -> None:
    spec = LogScale(0.0, 1.0, 1.0, 8.0).to_json() | damage

    with pytest.raises(ValueError, match="not those of a log scale"):
        LogScale.from_json(spec)


def test_the_linear_scale_of_encoded_values_is_that_of_the_values() -> None:
    values = np.array([1.0, 20.0, 300.0])
    target = NumberTarget("y", 107.0, 136.6, _scale(values.tolist()))
    column = pa.chunked_array([pa.array(values)])

    linear = target.encode_linear(target.encode(column))

    np.testing.assert_allclose(linear, target.linear.encode(column), rtol=1e-5)
    np.testing.assert_allclose(target.values(target.encode(column)), values, rtol=1e-5)
