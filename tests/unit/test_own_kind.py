"""A kind of model that the union does not have: no module of torch, no epochs, files of its own."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.settings import Settings
from pipeline_lib.errors import ModelError
from pipeline_lib.fitting import start_on_rows
from pipeline_lib.models import Dimensions, EstimatorKind, FitInput
from pipeline_lib.storage.json_files import Json

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


class FrequencySettings(Settings):
    """Shares of the classes among the training rows of each code, or their mean number."""

    kind: Literal["frequency"] = "frequency"
    prior: float = 1.0


@dataclass(frozen=True)
class Frequencies:
    """Scores of each code of the first category column."""

    table: npt.NDArray[np.float64]

    def scores(
        self, x_cat: npt.NDArray[np.int32], x_num: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        return self.table[x_cat[:, 0]]

    def save(self, folder: Path) -> Mapping[str, Json]:
        (folder / "frequencies.json").write_text(json.dumps(self.table.tolist()))
        return {"n_codes": len(self.table)}

    @property
    def size(self) -> str:
        return f"{len(self.table)} codes"


@dataclass(frozen=True)
class FrequencyKind(EstimatorKind):
    settings: FrequencySettings = field(default_factory=FrequencySettings)

    @property
    def name(self) -> str:
        return "frequency"

    @property
    def files(self) -> tuple[str, ...]:
        return ("frequencies.json",)

    def fit(self, given: FitInput) -> Frequencies:
        n_classes, n_codes = given.dimensions.n_classes, given.dimensions.cardinalities[0]
        sums = np.zeros((n_codes, n_classes or 1))
        counts = np.full((n_codes, 1), self.settings.prior)
        for batch in given.train.in_order(50):
            codes, y = batch.x_cat[:, 0].numpy(), batch.y.numpy()
            np.add.at(sums, codes, np.eye(n_classes)[y] if n_classes else y[:, None])
            np.add.at(counts, codes, 1.0)
        prior = self.settings.prior / n_classes if n_classes else 0.0
        return Frequencies((sums + prior) / counts)

    def load(self, folder: Path, spec: Mapping[str, Any], dimensions: Dimensions) -> Frequencies:
        table = np.array(json.loads((folder / "frequencies.json").read_text()))
        if len(table) != dimensions.cardinalities[0]:
            raise ValueError(f"{len(table)} codes")
        return Frequencies(table)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_kind_of_your_own_is_fitted_saved_loaded_and_asked_like_any_other(
    table_config: MakeConfig, toy_table: MakeTable, tmp_path: Path, task: str
) -> None:
    config, table = table_config(data={"task": task}), toy_table(300, task=task)

    model = fit(config, table, kind=FrequencyKind())
    model.save(tmp_path / "model")
    loaded = load_model(tmp_path / "model", kind=FrequencyKind())

    rows = table.to_pandas()
    answered = model.predict(rows)
    pd.testing.assert_frame_equal(loaded.predict(rows), answered, check_exact=True)
    red, others = answered[rows["color"] == "red"], answered[rows["color"] != "red"]
    if task == "multiclass":  # in `toy_table` red is hot
        assert (red["prediction"] == "hot").all()
        assert not (others["prediction"] == "hot").any()
    assert red.iloc[:, :-1].drop_duplicates().shape[0] == 1
    assert not (tmp_path / "model" / "model.safetensors").exists()


def test_a_session_without_epochs_has_the_figures_of_the_fit_and_no_record(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    session = start_on_rows(table_config(), toy_table(300), kind=FrequencyKind())

    records = list(session.epochs())

    figures, facts = session.best_metrics(), session.facts()
    assert records == []
    assert set(figures) == {"best/train_loss", "best/val_loss", "best/macro_f1", "rows_per_s"}
    assert facts["model"] == "frequency, 6 codes"
    assert facts["fit"].endswith(" s")
    assert "epochs" not in facts
    assert session.training.resumable is None
    assert session.training.network is None


def test_its_validation_loss_is_the_log_loss_of_scikit_learn(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    from sklearn.metrics import f1_score, log_loss

    for task in ("binary", "multiclass"):
        config = table_config(data={"task": task})
        session = start_on_rows(config, toy_table(300, task=task), kind=FrequencyKind())
        list(session.epochs())
        val = next(iter(session.given.val.in_order(1000)))

        probs = session.training.model().scores(val.x_cat.numpy(), val.x_num.numpy())

        y, figures = val.y.numpy(), session.training.figures
        labels = list(range(probs.shape[1]))
        assert figures.val_loss == pytest.approx(log_loss(y, probs, labels=labels), rel=1e-9)
        expected = f1_score(y, probs.argmax(axis=1), average="macro", labels=np.unique(y))
        assert figures.primary == pytest.approx(expected, rel=1e-6)


def test_its_validation_error_is_in_the_unit_of_the_target(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = table_config(data={"task": "regression"})
    session = start_on_rows(config, toy_table(300, task="regression"), kind=FrequencyKind())
    list(session.epochs())
    val = next(iter(session.given.val.in_order(1000)))

    numbers = session.training.model().scores(val.x_cat.numpy(), val.x_num.numpy())[:, 0]

    deviation = session.given.target_deviation
    rmse = deviation * np.sqrt(np.mean((numbers - val.y.numpy()) ** 2))
    assert deviation > 100
    assert session.training.figures.primary == pytest.approx(rmse, rel=1e-5)
    assert session.training.figures.val_loss == pytest.approx((rmse / deviation) ** 2, rel=1e-5)


def test_a_champion_of_such_a_kind_gives_no_first_weights(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config, table = table_config(training={"start_from": "champion"}), toy_table(300)
    champion = fit(config, table, kind=FrequencyKind())

    session = start_on_rows(config, table, champion=champion)

    assert session.obstacle == "it is of another kind than embedding_mlp"
    assert len(list(session.epochs())) == 3


def test_a_file_that_its_kind_needs_is_missed_when_it_is_gone(
    table_config: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    fit(table_config(), toy_table(300)).save(tmp_path / "network")

    with pytest.raises(ModelError, match=r"holds no model of kind frequency: 'frequencies.json'"):
        load_model(tmp_path / "network", kind=FrequencyKind())


def test_a_kind_that_is_not_in_the_config_is_refused_where_it_is_not_given(
    table_config: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    fit(table_config(), toy_table(300), kind=FrequencyKind()).save(tmp_path / "model")

    with pytest.raises(ModelError, match=r"frequency.* does not match any of the expected tags"):
        load_model(tmp_path / "model")
