"""A model trained from text is asked with typed values, and answers in the type of its target."""

# ruff: noqa: DTZ001 - naive times are what people have

import json
import shutil
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding import ClassTarget
from pipeline_lib.serving import FittedModel
from pipeline_lib.storage.publishing import MANIFEST, publish

MakeConfig = Callable[..., PipelineConfig]
N_ROWS = 240
IS_ON = np.arange(N_ROWS) % 3 > 0


def _model(
    make_config: MakeConfig, words: list[str], labels: pa.Array | list[Any] | None = None
) -> FittedModel:
    """Return a model that has learned a label from one column of words."""
    if labels is None:
        labels = np.where(np.array(words) == words[0], "first", "other").tolist()
    table = pa.table({"x": words, "size": [float(i) for i in range(len(words))], "label": labels})
    config = make_config(
        columns={"x": {"kind": "category"}, "size": {"kind": "number"}},
        data={"task": "binary"},
        training={"epochs": 10},
    )
    return fit(config, table)


def _asked(model: FittedModel, values: Any) -> pd.DataFrame:
    """Return predictions of values in the column `x`."""
    if isinstance(values, pa.Array):
        return model.predict(pa.table({"x": values, "size": [5.0] * len(values)}))
    return model.predict(pd.DataFrame({"x": values, "size": [5.0] * len(values)}))


@pytest.fixture(scope="module")
def flag_model(table_config: MakeConfig) -> FittedModel:
    """Return a model of a column that a CSV wrote as True and False."""
    return _model(table_config, [str(bool(on)) for on in IS_ON])


@pytest.mark.parametrize(
    "dtype", ["bool", "boolean", "object", "category", pd.ArrowDtype(pa.bool_())], ids=str
)
def test_booleans_are_the_words_that_a_csv_had_for_them(
    flag_model: FittedModel, dtype: Any
) -> None:
    asked = _asked(flag_model, pd.Series([True, False] * 20, dtype=dtype))

    as_text = _asked(flag_model, ["True", "False"] * 20)
    pd.testing.assert_frame_equal(asked, as_text)
    assert asked["prediction"].tolist() == ["other", "first"] * 20
    assert asked["unseen"].tolist() == [0] * 40


@pytest.mark.parametrize(
    "values",
    [
        pa.array([True, False]),
        pa.array([True, False]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(
            pa.array([0, 1]), pa.array(["True", "False"], pa.string_view())
        ),
    ],
    ids=lambda values: str(values.type),
)
def test_booleans_of_arrow_are_the_words_that_a_csv_had(
    flag_model: FittedModel, values: pa.Array
) -> None:
    assert _asked(flag_model, values).equals(_asked(flag_model, ["True", "False"]))


def test_one_row_with_a_boolean_is_known_and_one_with_other_text_is_not(
    flag_model: FittedModel,
) -> None:
    assert _asked(flag_model, [True])["unseen"].tolist() == [0]
    assert _asked(flag_model, ["true"])["unseen"].tolist() == [1]
    assert _asked(flag_model, [1])["unseen"].tolist() == [1]
    assert _asked(flag_model, pd.Series([True, "False", 1], dtype=object))["unseen"].tolist() == [
        0,
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["1.0", "2.0"], [1.0, 2.0]),
        (["1.0", "2.0"], [1, 2]),
        (["1", "2"], [Decimal("1.00"), Decimal("2.00")]),
        (["01", "02"], [1, 2]),
        (["2024-01-05", "2024-01-06"], pd.to_datetime(["2024-01-05", "2024-01-06"])),
        (["2024-01-05 00:00:00", "2024-01-06 00:00:00"], [date(2024, 1, 5), date(2024, 1, 6)]),
        (["2024-01-05 03:00:00", "x"], [datetime(2024, 1, 5, 3), "x"]),
        (["2024-01-05", "2024-01-06T07:00:00"], [date(2024, 1, 5), datetime(2024, 1, 6, 7)]),
        ([str(2**70), "x"], [2**70, "x"]),
        ([str(2**70), "1"], [2**70, 1]),
    ],
    ids=str,
)
def test_typed_values_are_the_words_they_were_trained_as(
    table_config: MakeConfig, words: list[str], values: Any
) -> None:
    model = _model(table_config, words * 60)

    asked = _asked(model, values)

    assert asked["unseen"].tolist() == [0, 0]
    assert asked.equals(_asked(model, words))


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        (pa.array(IS_ON.astype(int)), "int64"),
        (pa.array(IS_ON.astype(np.uint8)), "int64"),
        (pa.array(IS_ON), "bool"),
        (pa.array(IS_ON).dictionary_encode(), "bool"),
        (pa.array(IS_ON.astype(float)), "float64"),
        (pa.array([Decimal(int(on)) for on in IS_ON]), "int64"),
        (pa.array(IS_ON.astype(int).astype(str).tolist()), "str"),
        (pa.array(np.where(IS_ON, "007", "7").tolist()), "str"),
    ],
    ids=lambda case: str(case.type) if isinstance(case, pa.Array) else str(case),
)
def test_labels_come_back_in_the_type_that_they_were_learned_in(
    table_config: MakeConfig, tmp_path: Path, labels: pa.Array, dtype: str
) -> None:
    model = _model(table_config, ["on" if on else "off" for on in IS_ON], labels)
    model.save(tmp_path / "model")

    for answering in (model, load_model(tmp_path / "model")):
        predicted = _asked(answering, ["on" if on else "off" for on in IS_ON])["prediction"]

        assert predicted.dtype == dtype
        assert (predicted == labels.to_pandas()).mean() > 0.95
    nullable = {"int64": "Int64", "bool": "boolean", "float64": "Float64", "str": "string"}[dtype]
    assert (predicted == labels.to_pandas().astype(nullable)).mean() > 0.95
    assert isinstance(model.target, ClassTarget)
    assert list(_asked(model, ["on"]).columns)[1:3] == [
        f"probability_{name}" for name in model.target.classes
    ]


def test_a_model_of_the_release_before_answers_in_text(
    table_config: MakeConfig, tmp_path: Path
) -> None:
    model = _model(table_config, ["on" if on else "off" for on in IS_ON], pa.array(IS_ON))
    model.save(tmp_path / "model")
    with publish(tmp_path / "earlier", {}) as scratch:
        for path in (tmp_path / "model").iterdir():
            if path.name != MANIFEST:
                shutil.copy(path, scratch)
        spec = json.loads((scratch / "model.json").read_text())
        del spec["target"]["label_type"]
        (scratch / "model.json").write_text(json.dumps(spec))

    predicted = _asked(load_model(tmp_path / "earlier"), ["on", "off"])["prediction"]

    assert predicted.tolist() == ["true", "false"]
