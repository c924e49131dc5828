"""Baselines are scikit-learn's, trained on all rows or on a sample that repeats."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier

from pipeline_lib.config.columns import Column, HashColumn
from pipeline_lib.encoding import ClassTarget, EncodedSplit, Encoder, NumberTarget
from pipeline_lib.encoding.tensors import ROW_GROUP_ROWS, SplitFile
from pipeline_lib.evaluation.baselines import predict_baseline, sampled
from pipeline_lib.fitting import split_rows
from tests.unit.encoding.in_memory import write_split
from tests.unit.evaluation.conftest import MakeFitted

MakeTable = Callable[..., pa.Table]


def _all(file: SplitFile) -> EncodedSplit:
    return file.read(range(file.n_groups))


def test_the_constant_baseline_is_scikit_learns_prior(
    make_fitted: MakeFitted,
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

    dummy = DummyClassifier(strategy="prior").fit(_all(train).x_num, _all(train).y)
    np.testing.assert_allclose(predicted.values, dummy.predict_proba(_all(test).x_num))


def test_the_constant_baseline_of_a_regression_is_the_mean_of_the_training_rows(
    make_fitted: MakeFitted, toy_table: MakeTable
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
    tmp_path: Path, make_fitted: MakeFitted, task: str
) -> None:
    baselines = make_fitted(task).evaluate(tmp_path).result.baselines

    boosted, constant = baselines["gradient_boosting"], baselines["constant"]
    if task == "regression":
        assert boosted["rmse"] < constant["rmse"] / 2
    else:
        assert boosted["accuracy"] > max(0.8, constant["accuracy"])


def test_gradient_boosting_takes_more_categories_than_it_has_bins(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    columns: dict[str, Column] = {"word": HashColumn(n_buckets=1000)}
    encoder = Encoder.fit(pa.table({"word": ["a", "b"]}), columns, today="2026-01-01")
    x_cat = random.integers(0, 1000, (2000, 1)).astype(np.int32)
    y = (x_cat[:, 0] % 2).astype(np.int64)
    target = ClassTarget("label", ("a", "b"))
    split = EncodedSplit(x_cat, np.empty((2000, 0), np.float32), y)
    write_split(tmp_path / "rows.parquet", split, encoder, target)
    file = SplitFile(tmp_path / "rows.parquet", encoder)

    predicted = predict_baseline(
        "gradient_boosting", file, file, target=target, cardinalities=(1000,), seed=0
    )

    assert predicted.values.shape == (2000, 2)
    np.testing.assert_allclose(predicted.values.sum(axis=1), 1)


def test_gradient_boosting_of_no_more_rows_than_a_sample_is_scikit_learns_of_them_all(
    make_fitted: MakeFitted,
) -> None:
    fitted = make_fitted("multiclass")
    train, test = _all(fitted.train), _all(fitted.test)

    predicted = fitted.boosted(train.n_rows)

    classifier = HistGradientBoostingClassifier(
        categorical_features=[True] + [False] * train.x_num.shape[1], random_state=5
    )
    classifier.fit(np.hstack([train.x_cat, train.x_num]), train.y)
    probs = classifier.predict_proba(np.hstack([test.x_cat, test.x_num]))
    np.testing.assert_array_equal(predicted.values, probs)


def test_gradient_boosting_of_a_sample_repeats_and_the_page_is_told(
    tmp_path: Path, make_fitted: MakeFitted
) -> None:
    fitted = make_fitted("multiclass")
    n_rows = fitted.train.n_rows

    once, again = fitted.boosted(150), fitted.boosted(150)
    sample, every = (fitted.evaluate(tmp_path, sample_rows=n).result for n in (150, n_rows))

    np.testing.assert_array_equal(once.values, again.values)
    assert not np.array_equal(once.values, fitted.boosted(n_rows).values)
    note = f"gradient boosting was trained on 150 of {n_rows} training rows, drawn uniformly"
    assert [note in result.notes for result in (sample, every)] == [True, False]
    assert sample.baselines["constant"] == every.baselines["constant"]


def test_a_sample_is_drawn_from_all_row_groups_alike_and_keeps_the_order(tmp_path: Path) -> None:
    encoder = Encoder.fit(
        pa.table({"word": ["a", "b"]}), {"word": HashColumn(n_buckets=1000)}, today="2026-01-01"
    )
    n_rows = 2 * ROW_GROUP_ROWS + 77
    numbers = np.arange(n_rows)
    split = EncodedSplit(
        (numbers % 1000)[:, None].astype(np.int32),
        np.empty((n_rows, 0), np.float32),
        numbers.astype(np.float32),
    )
    write_split(tmp_path / "rows.parquet", split, encoder, NumberTarget("y", 0.0, 1.0))
    file = SplitFile(tmp_path / "rows.parquet", encoder)

    sample, other = (sampled(file, 20_000, seed=seed) for seed in (1, 2))

    rows = sample.y.astype(np.int64)
    assert (np.diff(rows) > 0).all()
    assert (sample.x_cat[:, 0] == rows % 1000).all()
    assert not np.array_equal(sample.y, other.y)
    tenths = np.histogram(rows, bins=10, range=(0, n_rows))[0]
    np.testing.assert_allclose(tenths, 2000, atol=5 * np.sqrt(2000 * 0.9))
