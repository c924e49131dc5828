"""Weights of rows in the models: scikit-learn's, LightGBM's, and those of copied rows."""

from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.preprocessing import TargetEncoder

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding import EncodedSplit
from pipeline_lib.fitting import TrainingSession, start_on_rows
from pipeline_lib.models.blend import tempered
from pipeline_lib.models.blend_weights import choose_temperature, choose_weights
from pipeline_lib.models.target_statistics import StatisticsCounter, fold_of_rows
from pipeline_lib.training.rows import TensorSplit
from tests.conftest import MakeConfig, MakeTable

Floats = npt.NDArray[np.float64]


def _weighted(table: pa.Table, *, seed: int = 0) -> pa.Table:
    """Return a table with weights, a fifth of them 0."""
    random = np.random.default_rng(seed)
    weights = random.gamma(1.0, 100.0, table.num_rows)
    weights[random.random(table.num_rows) < 0.2] = 0.0
    return table.append_column("w", pa.array(weights))


def _config(make: MakeConfig, model: dict[str, Any], **sections: Any) -> PipelineConfig:
    data = {"weight": "w", **sections.pop("data", {})}
    training = {"refit": False, **sections.pop("training", {})}
    tree = make(data=data, training=training, **sections).model_dump(mode="json")
    return PipelineConfig.model_validate({**tree, "model": model})


def _ended(config: PipelineConfig, table: pa.Table) -> TrainingSession:
    session = start_on_rows(config, table)
    list(session.epochs())
    return session


def _held(rows: object) -> tuple[TensorSplit, Floats]:
    assert isinstance(rows, TensorSplit)
    assert rows.weight is not None
    return rows, rows.weight.double().numpy()


def _one_hot(session: TrainingSession, rows: TensorSplit) -> Floats:
    n = session.encoder.cardinalities[0]
    return np.hstack([np.eye(n)[rows.x_cat[:, 0].numpy()], rows.x_num.double().numpy()])


def _scores(session: TrainingSession, rows: TensorSplit) -> Floats:
    return session.training.model().scores(rows.x_cat.numpy(), rows.x_num.numpy())


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("l2", [0.01, 10.0])
def test_a_linear_classification_is_scikit_learns_of_weighted_rows(
    table_config: MakeConfig, toy_table: MakeTable, task: str, l2: float
) -> None:
    config = _config(table_config, {"kind": "linear", "l2": l2}, data={"task": task})
    session = _ended(config, _weighted(toy_table(300, task=task)))
    rows, weight = _held(session.given.train)
    val, _ = _held(session.given.val)
    x, y = _one_hot(session, rows), rows.y.numpy()

    theirs = LogisticRegression(C=1 / l2, tol=1e-10, max_iter=10_000)
    theirs.fit(x, y, sample_weight=weight)

    np.testing.assert_allclose(_scores(session, rows), theirs.predict_proba(x), atol=1e-5)
    expected = theirs.predict_proba(_one_hot(session, val))
    np.testing.assert_allclose(_scores(session, val), expected, atol=1e-5)
    assert weight.mean() == pytest.approx(1)
    assert 150 < len(weight) < 300 * 0.7


def test_a_linear_regression_is_scikit_learns_of_weighted_rows(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = _config(table_config, {"kind": "linear", "l2": 3.0}, data={"task": "regression"})
    session = _ended(config, _weighted(toy_table(300, task="regression")))
    rows, weight = _held(session.given.train)
    x, y = _one_hot(session, rows), rows.y.double().numpy()

    # The loss is the square, scikit-learn's penalty is not halved.
    theirs = Ridge(alpha=1.5, tol=1e-10).fit(x, y, sample_weight=weight)

    np.testing.assert_allclose(_scores(session, rows)[:, 0], theirs.predict(x), atol=1e-5)


def test_the_weight_of_its_class_multiplies_that_of_a_row(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    loss = {"kind": "cross_entropy", "class_weights": {"yes": 5.0}}
    settings = {"kind": "linear", "l2": 1.0}
    data, training = {"task": "binary"}, {"loss": loss}
    config = _config(table_config, settings, data=data, training=training)
    session = _ended(config, _weighted(toy_table(300, task="binary")))
    rows, weight = _held(session.given.train)
    x, y = _one_hot(session, rows), rows.y.numpy()

    theirs = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000, class_weight={0: 1.0, 1: 5.0})
    theirs.fit(x, y, sample_weight=weight)

    np.testing.assert_allclose(_scores(session, rows), theirs.predict_proba(x), atol=1e-5)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("kind", ["linear", "boosting"])
def test_the_figures_of_a_fit_are_weighted_and_those_of_a_predict(
    table_config: MakeConfig, toy_table: MakeTable, task: str, kind: str
) -> None:
    session = _ended(
        _config(table_config, {"kind": kind}, data={"task": task}),
        _weighted(toy_table(300, task=task)),
    )
    rows, weight = _held(session.given.val)
    scores, y = _scores(session, rows), rows.y.numpy()

    if task == "regression":
        expected = np.average((scores[:, 0] - y) ** 2, weights=weight)
    else:
        expected = log_loss(y, scores, sample_weight=weight, labels=range(scores.shape[1]))

    assert session.training.figures.val_loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("class_weights", [None, {"yes": 5.0}])
@pytest.mark.parametrize("flat_val", [False, True], ids=["", "validation weights alike"])
def test_trees_are_lightgbms_own_of_weighted_rows(
    table_config: MakeConfig,
    toy_table: MakeTable,
    class_weights: dict[str, float] | None,
    flat_val: bool,
) -> None:
    loss = {"kind": "cross_entropy", "class_weights": class_weights}
    model = {"kind": "boosting", "max_rounds": 40}
    data, training = {"task": "binary"}, {"loss": loss}
    table = _weighted(toy_table(400, task="binary"))
    config = _config(table_config, model, data=data, training=training)
    given = start_on_rows(config, table).given
    train, weight = _held(given.train)
    val, val_weight = _held(given.val)
    if flat_val:  # LightGBM takes weights of 1 for none
        val_weight = np.ones(val.n_rows)
    val = EncodedSplit(
        val.x_cat.numpy(), val.x_num.numpy(), val.y.numpy(), val_weight.astype(np.float32)
    )
    rows = EncodedSplit(
        train.x_cat.numpy(), train.x_num.numpy(), train.y.numpy(), weight.astype(np.float32)
    )
    session = TrainingSession.start(config, given.encoder, given.target, rows, val)
    list(session.epochs())
    ours = session.training.model()
    settings = config.model.model_dump(exclude={"kind", "target_statistics", "max_rounds"})
    theirs = lightgbm.LGBMClassifier(
        n_estimators=40,
        subsample_freq=1,
        deterministic=True,
        force_row_wise=True,
        random_state=0,
        n_jobs=1,
        verbose=-1,
        early_stopping_rounds=settings.pop("patience"),
        **settings,
    )

    theirs.fit(
        np.hstack([rows.x_cat, rows.x_num]),
        rows.y,
        sample_weight=weight * np.where(rows.y == 1, 5.0 if class_weights else 1.0, 1.0),
        eval_set=[(np.hstack([val.x_cat, val.x_num]), val.y)],
        eval_sample_weight=[val_weight * 2.0],
        categorical_feature=[0],
    )

    expected = theirs.predict_proba(np.hstack([val.x_cat, val.x_num]))
    np.testing.assert_allclose(ours.scores(val.x_cat, val.x_num), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "boosting", "embedding_mlp", "blend"])
def test_weights_times_a_constant_change_nothing(
    table_config: MakeConfig, toy_table: MakeTable, kind: str
) -> None:
    model: dict[str, Any] = {"kind": kind}
    if kind == "boosting":
        model["target_statistics"] = True
    config = _config(table_config, model, data={"task": "binary"}, training={"refit": True})
    table = _weighted(toy_table(300, task="binary"))
    scaled = table.set_column(3, "w", pa.array(table["w"].to_numpy() * 2.0**40))

    one, other = (fit(config, rows).predict(table) for rows in (table, scaled))

    assert one.equals(other)


@pytest.mark.parametrize("kind", ["linear", "boosting", "embedding_mlp", "tabular_mlp", "blend"])
def test_predictions_need_no_weights(
    table_config: MakeConfig, toy_table: MakeTable, kind: str
) -> None:
    config = _config(table_config, {"kind": kind}, data={"task": "binary"})
    table = _weighted(toy_table(300, task="binary"))

    model = fit(config, table)

    assert model.predict(table.select(["color", "size"])).equals(model.predict(table))


@given(counts=st.lists(st.integers(1, 3), min_size=40, max_size=40))
def test_statistics_of_a_row_of_weight_k_are_those_of_k_rows(counts: list[int]) -> None:
    random = np.random.default_rng(0)
    x_cat = random.integers(0, 8, (40, 1)).astype(np.int32)
    outputs, folds = random.normal(size=(40, 2)), fold_of_rows(40, seed=0)
    weighted, repeated = (StatisticsCounter((8,), 2) for _ in range(2))

    weighted.add(x_cat, outputs, folds, np.array(counts, float))
    repeated.add(*(part.repeat(counts, axis=0) for part in (x_cat, outputs, folds)))

    for fold in (None, 0, 3):
        one, other = (c.statistics(without=fold).means[0] for c in (weighted, repeated))
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_statistics_of_weighted_rows_are_scikit_learns_of_their_copies() -> None:
    random = np.random.default_rng(0)
    x_cat, y = random.integers(0, 8, (60, 1)).astype(np.int32), random.normal(size=60)
    counts, counter = random.integers(1, 4, 60), StatisticsCounter((8,), 1)

    counter.add(x_cat, y[:, None], fold_of_rows(60, seed=0), counts.astype(float))

    theirs = TargetEncoder(smooth="auto", target_type="continuous")
    theirs.fit(x_cat.repeat(counts, axis=0), y.repeat(counts))
    known = theirs.categories_[0].astype(int)
    found = counter.statistics().means[0][known, 0]
    np.testing.assert_allclose(found, theirs.encodings_[0], rtol=1e-5)


@pytest.mark.parametrize("n_classes", [3, 0])
def test_weights_of_a_blend_are_those_of_weighted_rows_alone(n_classes: int) -> None:
    """Of rows that one member knows and rows that the other knows the heavier decide."""
    random = np.random.default_rng(0)
    n_rows = 400
    y = random.integers(0, 3, n_rows).astype(float)
    is_first = np.arange(n_rows) < 200
    if n_classes:
        right, wrong = np.eye(3)[y.astype(int)] * 0.8 + 0.2 / 3, np.full((n_rows, 3), 1 / 3)
    else:
        right, wrong = y[:, None], y[:, None] + random.normal(size=(n_rows, 1))
    scores = [np.where(is_first[:, None] == first, right, wrong) for first in (True, False)]
    first, second = (
        choose_weights(scores, y, n_classes=n_classes, row_weights=np.where(heavy, 9.0, 0.1))
        for heavy in (is_first, ~is_first)
    )

    assert first[0] > 0.8
    assert second[0] < 0.2
    alike = choose_weights(scores, y, n_classes=n_classes, row_weights=np.full(n_rows, 7.0))
    np.testing.assert_allclose(alike, choose_weights(scores, y, n_classes=n_classes), atol=1e-6)


def test_the_temperature_has_the_least_weighted_log_loss() -> None:
    random = np.random.default_rng(0)
    probs = random.dirichlet(np.ones(3), 2000)
    y = np.array([random.choice(3, p=row) for row in tempered(probs, 2.0)], float)
    weight = random.gamma(0.5, 1.0, 2000)

    found = choose_temperature(probs, y, row_weights=weight)

    def loss(temperature: float) -> float:
        return float(log_loss(y, tempered(probs, temperature), sample_weight=weight))

    assert loss(found) <= min(map(loss, np.linspace(0.5, 4.0, 200))) + 1e-6
    few = np.where(np.arange(2000) < 50, 1.0, 1e-9)
    assert choose_temperature(probs, y, row_weights=few) == 1.0
