"""Baselines are scikit-learn's constants and the product's own kinds, on all rows or a sample."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.baselines import Baseline
from pipeline_lib.config.columns import HashColumn
from pipeline_lib.encoding import EncodedSplit, Encoder, NumberTarget
from pipeline_lib.encoding.tensors import ROW_GROUP_ROWS, SplitFile
from pipeline_lib.evaluation.baselines import sampled
from pipeline_lib.fitting import split_rows
from tests.unit.encoding.in_memory import write_split
from tests.unit.evaluation.conftest import MakeFitted

MakeTable = Callable[..., pa.Table]
TRAINED: tuple[Baseline, ...] = ("linear", "boosting")


def _all(file: SplitFile) -> EncodedSplit:
    return file.read(range(file.n_groups))


def test_the_constant_baseline_is_scikit_learns_prior(make_fitted: MakeFitted) -> None:
    fitted = make_fitted("multiclass")
    train, test = _all(fitted.splits.train), _all(fitted.splits.test)

    predicted = fitted.of_baseline("constant").predictions

    dummy = DummyClassifier(strategy="prior").fit(train.x_num, train.y)
    np.testing.assert_allclose(predicted.values, dummy.predict_proba(test.x_num))


def test_the_constant_baseline_of_a_regression_is_the_mean_of_the_training_rows(
    make_fitted: MakeFitted, toy_table: MakeTable
) -> None:
    fitted = make_fitted("regression")
    train_rows, _, test_rows = split_rows(toy_table(400, task="regression"), fitted.config)

    predicted = fitted.of_baseline("constant").predictions

    dummy = DummyRegressor().fit(np.zeros((train_rows.num_rows, 1)), train_rows["label"])
    expected = dummy.predict(np.zeros((test_rows.num_rows, 1)))
    np.testing.assert_allclose(predicted.values, expected)


@pytest.mark.parametrize("baseline", TRAINED)
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_baseline_is_the_model_of_its_kind_that_the_config_would_give(
    make_fitted: MakeFitted, toy_table: MakeTable, task: str, baseline: Baseline
) -> None:
    fitted = make_fitted(task)
    tree = {**fitted.config.model_dump(mode="json"), "model": {"kind": baseline}}
    model = fit(PipelineConfig.model_validate(tree), toy_table(400, task=task))

    said = fitted.of_baseline(baseline)

    expected = model.predictions(fitted.test_rows.drop(["label"])).values
    np.testing.assert_array_equal(said.predictions.values, expected)
    assert said.fit_s > 0
    assert said.note == ""


def test_weights_of_classes_are_those_of_the_config(make_fitted: MakeFitted) -> None:
    fitted = make_fitted("binary")
    heavy = PipelineConfig.model_validate(
        {
            **fitted.config.model_dump(mode="json"),
            "training": {"loss": {"kind": "cross_entropy", "class_weights": {"yes": 50.0}}},
        }
    ).training.loss

    for baseline in TRAINED:
        plain, weighted = (
            fitted.of_baseline(baseline, loss=loss).predictions for loss in (None, heavy)
        )

        assert weighted.values[:, 1].mean() > plain.values[:, 1].mean() + 0.05


@pytest.mark.parametrize("baseline", TRAINED)
def test_a_baseline_of_a_sample_repeats_and_the_page_says_so(
    make_fitted: MakeFitted, baseline: Baseline
) -> None:
    fitted = make_fitted("multiclass")
    n_rows = fitted.splits.train.n_rows

    once, again, every = (fitted.of_baseline(baseline, n) for n in (150, 150, n_rows))

    np.testing.assert_array_equal(once.predictions.values, again.predictions.values)
    assert not np.array_equal(once.predictions.values, every.predictions.values)
    note = f"the baseline {baseline} was trained on 150 of {n_rows} training rows, drawn uniformly"
    assert once.note.startswith(note)
    assert every.note == ""


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
