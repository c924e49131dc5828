"""The linear model, beside scikit-learn's of the same penalty on a one-hot matrix."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.errors import TrainingError
from pipeline_lib.fitting import TrainingSession, start_on_rows
from pipeline_lib.models import LinearModel
from pipeline_lib.training.rows import TensorSplit

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]
Floats = npt.NDArray[np.float64]


@pytest.fixture
def make(table_config: MakeConfig) -> MakeConfig:
    """Return a factory of configs of a linear model, of the training rows alone."""

    def config(l2: float = 1.0, *, refit: bool = False, **sections: Any) -> PipelineConfig:
        tree = table_config(**sections).model_dump(mode="json")
        tree["training"]["refit"] = refit
        return PipelineConfig.model_validate({**tree, "model": {"kind": "linear", "l2": l2}})

    return config


def _fitted(config: PipelineConfig, table: pa.Table) -> tuple[TrainingSession, LinearModel]:
    session = start_on_rows(config, table)
    list(session.epochs())
    model = session.training.model()
    assert isinstance(model, LinearModel)
    return session, model


def _one_hot(session: TrainingSession) -> tuple[Floats, npt.NDArray[Any], TensorSplit]:
    split = session.given.train
    assert isinstance(split, TensorSplit)
    return _one_hot_of(session, split), split.y.numpy(), split


def _one_hot_of(session: TrainingSession, split: TensorSplit) -> Floats:
    blocks = [
        np.eye(n)[split.x_cat[:, position].numpy()]
        for position, n in enumerate(session.encoder.cardinalities)
    ]
    return np.hstack([*blocks, split.x_num.double().numpy()])


def _scores(model: LinearModel, split: TensorSplit) -> Floats:
    return model.scores(split.x_cat.numpy(), split.x_num.numpy())


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("l2", [0.01, 1.0, 100.0])
def test_probabilities_are_those_of_logistic_regression(
    make: MakeConfig, toy_table: MakeTable, task: str, l2: float
) -> None:
    session, model = _fitted(make(l2, data={"task": task}), toy_table(300, task=task))
    x, y, split = _one_hot(session)

    theirs = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=10_000).fit(x, y)

    np.testing.assert_allclose(_scores(model, split), theirs.predict_proba(x), atol=2e-5)


def test_a_model_that_is_fitted_again_is_that_of_training_and_validation_rows(
    make: MakeConfig, toy_table: MakeTable
) -> None:
    session, model = _fitted(
        make(refit=True, data={"task": "binary"}), toy_table(300, task="binary")
    )
    x, y, split = _one_hot(session)
    val = session.given.val
    assert isinstance(val, TensorSplit)
    x_val, y_val = _one_hot_of(session, val), val.y.numpy()

    theirs = LogisticRegression(tol=1e-10, max_iter=10_000)
    theirs.fit(np.vstack([x, x_val]), np.concatenate([y, y_val]))

    np.testing.assert_allclose(_scores(model, split), theirs.predict_proba(x), atol=2e-5)
    of_train = LogisticRegression(tol=1e-10, max_iter=10_000).fit(x, y).predict_proba(x_val)
    judged = -np.log(of_train[np.arange(len(y_val)), y_val.astype(int)]).mean()
    assert session.training.figures.val_loss == pytest.approx(judged, abs=1e-5)


def test_weighted_classes_are_weighted_as_by_logistic_regression(
    make: MakeConfig, toy_table: MakeTable
) -> None:
    for task in ("binary", "multiclass"):
        loss = {"kind": "cross_entropy", "class_weights": "balanced"}
        config = make(data={"task": task}, training={"loss": loss})
        session, model = _fitted(config, toy_table(300, task=task))
        x, y, split = _one_hot(session)

        weighted = LogisticRegression(class_weight="balanced", tol=1e-10, max_iter=10_000)

        theirs = weighted.fit(x, y).predict_proba(x)
        np.testing.assert_allclose(_scores(model, split), theirs, atol=2e-5)


@pytest.mark.parametrize("l2", [0.01, 2.0, 500.0])
def test_numbers_are_those_of_ridge_regression(
    make: MakeConfig, toy_table: MakeTable, l2: float
) -> None:
    table = toy_table(300, task="regression")
    session, model = _fitted(make(l2, data={"task": "regression"}), table)
    x, y, split = _one_hot(session)

    theirs = Ridge(alpha=l2 / 2).fit(x, y)

    np.testing.assert_allclose(_scores(model, split)[:, 0], theirs.predict(x), atol=1e-5)


def test_rows_of_many_categories_alone_are_learned_from(make: MakeConfig) -> None:
    cars = car_evaluation()
    columns = {name: {"kind": "category"} for name in cars.column_names if name != "output"}
    config = make(data={"target": "output", "task": "multiclass"}, columns=columns)
    session, model = _fitted(config, cars)
    x, y, split = _one_hot(session)

    theirs = LogisticRegression(tol=1e-10, max_iter=10_000).fit(x, y)

    np.testing.assert_allclose(_scores(model, split), theirs.predict_proba(x), atol=1e-4)


def test_a_code_without_a_training_row_counts_as_an_average_category(
    make: MakeConfig, toy_table: MakeTable
) -> None:
    _, model = _fitted(make(), toy_table(300))

    unseen, weights = model.categories[0], model.categories[2:]

    assert (unseen == 0).all()
    np.testing.assert_allclose(weights.mean(dim=0), 0.0, atol=1e-5)


def test_rows_of_numbers_alone_are_learned_from(make: MakeConfig, toy_table: MakeTable) -> None:
    config = make(columns={"size": {"kind": "number"}})
    session, model = _fitted(config, toy_table(300))
    x, y, split = _one_hot(session)

    theirs = LogisticRegression(tol=1e-10, max_iter=10_000).fit(x, y)

    np.testing.assert_allclose(_scores(model, split), theirs.predict_proba(x), atol=2e-5)


def test_a_target_beyond_float32_is_an_error(make: MakeConfig, toy_table: MakeTable) -> None:
    table = toy_table(200, task="regression")
    labels = pa.array([1e300 * (-1) ** i for i in range(200)])

    with pytest.raises(TrainingError, match="Look for extreme numbers"):
        _fitted(make(data={"task": "regression"}), table.set_column(2, "label", labels))


def test_passes_over_the_rows_are_bounded(make: MakeConfig, toy_table: MakeTable) -> None:
    config = make()
    few = config.model_copy(update={"model": config.model.model_copy(update={"max_passes": 3})})

    session, _ = _fitted(few, toy_table(300))

    assert session.training.figures.n_passes <= 3 + 25  # the last line search is brought to its end
    assert "passes over the rows" in session.facts()["fit"]
