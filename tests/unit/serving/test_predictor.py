"""Raw rows as people have them go in; labels, probabilities and counts of the unseen come out."""

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from scipy.special import softmax

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.errors import ContractError, MissingColumnError, UnknownCategoryError
from pipeline_lib.serving import ExtraColumnsWarning, FittedModel
from tests.unit.serving.conftest import rows_of

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


def _answer(model: FittedModel, rows: pd.DataFrame) -> pd.DataFrame | str:
    """Return predictions, or what a contract error says."""
    try:
        return model.predict(rows)
    except ContractError as error:
        return str(error)


def _equal(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return one.reset_index(drop=True).equals(other.reset_index(drop=True))


def test_a_prediction_has_a_label_a_probability_per_class_and_the_unseen(
    model: FittedModel,
) -> None:
    frame = model.predict(rows_of(["red", "blue", "teal"]))

    probabilities = ["probability_hot", "probability_large", "probability_small"]
    assert list(frame.columns) == ["prediction", *probabilities, "unseen"]
    np.testing.assert_allclose(frame[probabilities].sum(axis=1), 1)
    likeliest = frame[probabilities].idxmax(axis=1).str.removeprefix("probability_")
    assert frame["prediction"].tolist() == likeliest.tolist()
    assert frame["unseen"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("index", [["x", "y"], [7, 7], [(1, 2), (3, 4)]])
def test_the_index_of_the_frame_is_kept(model: FittedModel, index: list[Any]) -> None:
    rows = rows_of(["red", "blue"])
    rows.index = pd.MultiIndex.from_tuples(index) if isinstance(index[0], tuple) else index

    frame = model.predict(rows)

    assert frame.index.equals(rows.index)


def test_probabilities_are_the_softmax_of_the_networks_logits(model: FittedModel) -> None:
    rows = pa.table({"color": ["red", "blue"], "size": [19.0, 25.0]})
    x_cat = torch.from_numpy(model.encoder.encode_categories(rows))
    x_num = torch.from_numpy(model.encoder.encode_numbers(rows))
    with torch.no_grad():
        logits = model.networks[0].eval()(x_cat, x_num).double().numpy()

    frame = model.predict(rows)

    np.testing.assert_allclose(frame.iloc[:, 1:4].to_numpy(), softmax(logits, axis=1), rtol=1e-9)


def test_an_arrow_table_and_a_frame_of_the_same_rows_are_predicted_alike(
    model: FittedModel, toy_table: MakeTable
) -> None:
    table = toy_table(50, seed=9).select(["color", "size"])

    assert _equal(model.predict(table), model.predict(table.to_pandas()))


@pytest.mark.parametrize(
    "way",
    ["category", "object", "string", "string[pyarrow]", "float32 size", "other order", "chunks"],
)
def test_how_the_rows_are_stored_does_not_matter(
    model: FittedModel, toy_table: MakeTable, way: str
) -> None:
    table = toy_table(50, seed=9).select(["color", "size"])
    sizes = pa.array(np.round(table["size"].to_numpy() * 4) / 4)
    table = table.set_column(1, "size", sizes)
    frame = table.to_pandas()
    expected = model.predict(frame)

    match way:
        case "category":
            # Their own codes run the other way round.
            words = sorted(set(frame["color"]), reverse=True)
            frame["color"] = pd.Categorical(frame["color"], categories=["unused", *words])
        case "float32 size":
            frame["size"] = frame["size"].astype(np.float32)
        case "other order":
            frame = frame[["size", "color"]]
        case "chunks":
            table = pa.concat_tables([table[:7], table[7:8], table[8:]])
        case _:
            frame["color"] = frame["color"].astype(way)  # type: ignore[call-overload]

    assert _equal(model.predict(table if way == "chunks" else frame), expected)


def test_whole_numbers_among_words_count_as_their_text(doors_model: FittedModel) -> None:
    sizes = [1.0, 2.0, 3.0, 4.0]
    words = pd.DataFrame({"doors": ["2", "3", "4", "5more"], "size": sizes})
    mixed = pd.DataFrame({"doors": [2, "3", 4.0, "5more"], "size": sizes}, dtype=object)

    frame = doors_model.predict(mixed)

    assert _equal(frame, doors_model.predict(words))
    assert frame["unseen"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "doors",
    [
        [2, 3, 4],
        [2.0, 3.0, 4.0],
        pd.array([2, 3, 4], dtype="Int64"),
        pd.Categorical([2, 3, 4]),
        [np.int64(2), "3", 4],
        [np.int8(2), np.int64(3), "4"],
        [np.str_("2"), "3", np.float64(4)],
    ],
    ids=["int", "float", "Int64", "category of int", "numpy mixed", "numpy small", "numpy words"],
)
def test_numbers_of_any_kind_are_the_words_they_were_trained_as(
    doors_model: FittedModel, doors: Any
) -> None:
    rows = pd.DataFrame({"size": [1.0, 2.0, 3.0]})
    rows["doors"] = pd.Series(doors, dtype=object if isinstance(doors, list) else None)

    frame = doors_model.predict(rows)

    assert frame["unseen"].tolist() == [0, 0, 0]


def test_a_boolean_is_one_word_alone_and_among_words(table_config: MakeConfig) -> None:
    flags = [True, False] * 50
    sizes = [float(i) for i in range(100)]
    table = pa.table(
        {"flag": flags, "size": sizes, "label": ["a" if flag else "b" for flag in flags]}
    )
    columns = {"flag": {"kind": "category"}, "size": {"kind": "number"}}
    model = fit(table_config(columns=columns, data={"task": "binary"}), table)

    frame = model.predict(pd.DataFrame({"flag": [True, "false"], "size": [1.0, 2.0]}))

    assert frame["unseen"].tolist() == [0, 0]


def test_numbers_and_text_that_is_a_number_may_be_mixed_in_a_number_column(
    model: FittedModel,
) -> None:
    mixed = pd.DataFrame({"color": ["red"] * 3, "size": [1.5, "2.5", 3]}, dtype=object)

    frame = model.predict(mixed)

    assert _equal(frame, model.predict(rows_of(["red"] * 3, [1.5, 2.5, 3.0])))


def test_an_object_that_is_neither_text_nor_number_is_refused(model: FittedModel) -> None:
    with pytest.raises(ContractError, match="column 'color': 1 row holds"):
        model.predict(rows_of(["red", ("blue",)]))


def test_an_unseen_category_is_counted_and_predicted_all_the_same(model: FittedModel) -> None:
    frame = model.predict(rows_of(["amber", "red", "amber"]))

    assert frame["unseen"].tolist() == [1, 0, 1]
    assert frame["prediction"].isin(["hot", "large", "small"]).all()


def test_a_null_where_training_had_none_is_counted(model: FittedModel) -> None:
    frame = model.predict(rows_of([None, "red", None], [20.0, None, float("nan")]))

    assert frame["unseen"].tolist() == [1, 1, 2]
    assert np.isfinite(frame["probability_hot"]).all()


def test_a_null_where_training_had_some_is_known(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(200)
    colors = [None if i % 5 == 0 else c for i, c in enumerate(table["color"].to_pylist())]
    columns = {
        "color": {"kind": "category", "nullable": True},
        "size": {"kind": "number", "nullable": True},
    }
    model = fit(table_config(columns=columns), table.set_column(0, "color", pa.array(colors)))

    frame = model.predict(rows_of([None, "red"], [20.0, None]))

    assert frame["unseen"].tolist() == [0, 0]


def test_every_null_of_pandas_is_the_same_null(model: FittedModel) -> None:
    rows = rows_of([None, np.nan, pd.NA, "red"], [20.0] * 4)

    frame = model.predict(rows)

    assert frame["unseen"].tolist() == [1, 1, 1, 0]
    assert len(set(frame["probability_hot"].iloc[:3])) == 1


def test_words_that_look_like_nulls_are_words(table_config: MakeConfig) -> None:
    words = ["nan", "None", "", "null"] * 50
    sizes = [float(i) for i in range(200)]
    table = pa.table({"word": words, "size": sizes, "label": ["a", "b"] * 100})
    columns = {"word": {"kind": "category"}, "size": {"kind": "number"}}
    model = fit(table_config(columns=columns, data={"task": "binary"}), table)

    frame = model.predict(pd.DataFrame({"word": ["nan", "None", "", None], "size": [1.0] * 4}))

    assert frame["unseen"].tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    "size", [float("inf"), float("-inf"), "inf", "nan", "1e400", 1e300], ids=repr
)
def test_a_number_that_is_too_large_or_none_is_refused_or_predicted_finitely(
    model: FittedModel, size: float | str
) -> None:
    rows = rows_of(["red", "red"], [size, 20.0 if isinstance(size, float) else "20"])

    answer = _answer(model, rows)

    if isinstance(answer, str):
        assert "column 'size'" in answer
    else:
        assert np.isfinite(answer["probability_hot"]).all()


def test_a_category_that_is_unseen_stops_a_column_that_asks_for_it(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    columns = {"color": {"kind": "category", "on_unknown": "error"}, "size": {"kind": "number"}}
    model = fit(table_config(columns=columns), toy_table(100))

    with pytest.raises(UnknownCategoryError, match=r"'amber' \(2 rows\)"):
        model.predict(rows_of(["amber", "red", "amber"]))


@pytest.mark.parametrize("as_table", [False, True])
def test_a_missing_column_is_told_with_the_nearest(model: FittedModel, as_table: bool) -> None:
    frame = rows_of(["red"]).rename(columns={"color": " Color"})
    rows = pa.Table.from_pandas(frame) if as_table else frame

    with pytest.raises(MissingColumnError, match="column 'color': is missing; did you mean ' Col"):
        model.predict(rows)


@pytest.mark.parametrize("as_table", [False, True])
def test_a_column_that_the_model_does_not_know_is_warned_of_and_ignored(
    model: FittedModel, as_table: bool
) -> None:
    plain = rows_of(["red", "blue"])
    frame = plain.assign(shape=["round", "flat"], label=["hot", "large"])

    with pytest.warns(ExtraColumnsWarning, match="1 columns .* ignored: 'shape'$"):
        predicted = model.predict(pa.Table.from_pandas(frame) if as_table else frame)

    assert _equal(predicted, model.predict(plain))


def test_rows_with_the_columns_of_the_model_and_its_target_are_warned_of_nothing(
    model: FittedModel, toy_table: MakeTable
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = model.predict(toy_table(5))

    assert len(frame) == 5


@pytest.mark.parametrize("as_table", [False, True])
def test_a_column_that_stands_twice_is_refused(model: FittedModel, as_table: bool) -> None:
    frame = pd.concat([rows_of(["red"]), rows_of(["blue"])[["color"]]], axis=1)
    table = pa.table([["red"], [20.0], ["blue"]], names=["color", "size", "color"])

    with pytest.raises(ContractError, match="column 'color'"):
        model.predict(table if as_table else frame)


@pytest.mark.parametrize("as_table", [False, True])
def test_no_rows_give_no_predictions_with_the_same_columns(
    model: FittedModel, as_table: bool
) -> None:
    empty = rows_of(["red"])[:0]

    frame = model.predict(pa.Table.from_pandas(empty) if as_table else empty)

    assert len(frame) == 0
    assert list(frame.columns) == list(model.predict(rows_of(["red"])).columns)


def test_a_frame_of_empty_lists_gives_no_predictions(model: FittedModel) -> None:
    assert len(model.predict(pd.DataFrame({"color": [], "size": []}))) == 0


def test_a_row_is_predicted_alike_alone_and_among_twenty_thousand(
    model: FittedModel, toy_table: MakeTable
) -> None:
    table = toy_table(20_000, seed=3).select(["color", "size"])

    together = model.predict(table)

    for row in (0, 16_383, 16_384, 19_999):
        alone = model.predict(table[row : row + 1])
        np.testing.assert_allclose(
            together.iloc[row, 1:-1].to_numpy(float), alone.iloc[0, 1:-1].to_numpy(float), atol=1e-6
        )


def test_predicting_changes_nothing_for_the_next_prediction(model: FittedModel) -> None:
    first = model.predict(rows_of(["red", "blue"]))

    model.predict(rows_of(["amber", None]))

    assert _equal(model.predict(rows_of(["red", "blue"])), first)


def test_several_networks_answer_with_the_mean_of_their_probabilities(
    table_config: MakeConfig, toy_table: MakeTable, tmp_path: Path
) -> None:
    rows = rows_of(["red", "blue", "teal"])
    three = fit(table_config(training={"n_members": 3}), toy_table(200))
    names = [name for name in three.predict(rows).columns if name.startswith("probability_")]

    each = [
        dataclasses.replace(three, model=dataclasses.replace(three.model, members=(network,)))
        .predict(rows)[names]
        .to_numpy()
        for network in three.networks
    ]
    three.save(tmp_path / "model")

    answered = load_model(tmp_path / "model").predict(rows)[names].to_numpy()
    np.testing.assert_allclose(answered, np.mean(each, axis=0), atol=1e-7)
    assert np.ptp(each, axis=0).max() > 1e-3  # they differ


def test_a_regression_answers_in_the_unit_of_its_target(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(600, task="regression")
    config = table_config(
        data={"task": "regression"},
        model={"d_hidden": [32]},
        training={"epochs": 60, "optimizer": {"kind": "adam", "learning_rate": 0.02}},
    )

    frame = fit(config, table).predict(toy_table(100, task="regression", seed=5))

    actual = toy_table(100, task="regression", seed=5)["label"].to_numpy()
    assert list(frame.columns) == ["prediction", "unseen"]
    # Values lie around 1600 with a deviation of 150.
    assert np.abs(frame["prediction"].to_numpy() - actual).mean() < 40


def test_a_binary_task_has_the_last_class_as_the_positive_one(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    table = toy_table(400, task="binary")
    data = {"task": "binary", "classes": ["yes", "no"]}

    fitted = fit(table_config(data=data, training={"epochs": 30}), table)

    frame = fitted.predict(table)
    assert list(frame.columns) == ["prediction", "probability_yes", "probability_no", "unseen"]
    accuracy = (frame["prediction"].to_numpy() == np.array(table["label"].to_pylist())).mean()
    assert accuracy > 0.9


def test_the_car_table_is_learned(table_config: MakeConfig) -> None:
    columns = {name: {"kind": "category"} for name in car_evaluation().column_names[:-1]}
    config = table_config(
        data={"target": "output"},
        columns=columns,
        model={"d_hidden": [64, 32], "dropout": 0.1},
        training={"epochs": 15, "batch_size": 64},
    )

    frame = fit(config, car_evaluation()).predict(car_evaluation())

    actual = np.array(car_evaluation()["output"].to_pylist())
    # The majority class alone has 0.70.
    assert (frame["prediction"].to_numpy() == actual).mean() > 0.93
    assert frame["unseen"].sum() == 0
