"""Categories with an order: a rank beside the code, in memory, in files, and what has none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest

from pipeline_lib import fit, load_model
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.columns import CategoryColumn, Column, NumberColumn
from pipeline_lib.data.contract.check_snapshot import check_snapshot
from pipeline_lib.data.snapshots.snapshot import take_snapshot
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.data.splits.split_rows import split_checked
from pipeline_lib.encoding import EncodedSplit, Encoder
from pipeline_lib.encoding.encoded_splits import encode_splits, read_ledger
from pipeline_lib.encoding.orders import OrderInput
from pipeline_lib.encoding.unranked import unranked_notes
from pipeline_lib.errors import ContractError, ModelError
from pipeline_lib.fitting import split_rows, start_on_rows
from pipeline_lib.home import find_home

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]
LEVELS = ("low", "med", "high")


def _words(*words: str | None) -> pa.Array:
    return pa.array(words, pa.string())


def _encoder(column: Column, *words: str | None) -> Encoder:
    train = pa.table({"level": _words(*words), "size": [float(n) for n in range(len(words))]})
    return Encoder.fit(train, {"size": NumberColumn(), "level": column}, today="2026-01-01")


def _leveled(toy_table: MakeTable, words: tuple[str, ...] = LEVELS, n_rows: int = 400) -> pa.Table:
    table = toy_table(n_rows)
    levels = [words[n % len(words)] for n in range(n_rows)]
    return table.set_column(0, "color", pa.array(levels))


def test_listed_words_are_ranked_from_the_first_on() -> None:
    inputs = OrderInput.fit("level", LEVELS, _words("high", "low"), np.array([9, 1]))

    encoded = inputs.encode(_words("low", "med", "high"))

    assert encoded.dtype == np.float32
    deviation = np.sqrt(2 / 3)  # of 0, 1 and 2, each as frequent as the others
    np.testing.assert_allclose(encoded[:, 0], [-1 / deviation, 0, 1 / deviation], rtol=1e-6)
    assert encoded[:, 1].tolist() == [0, 0, 0]


def test_a_missing_word_and_one_without_a_rank_are_marked() -> None:
    inputs = OrderInput.fit("level", LEVELS, _words("low"), np.array([1]))

    encoded = inputs.encode(pa.chunked_array([_words("top", None), _words(None, "Low")]))

    assert encoded.tolist() == [[0, 1]] * 4
    assert inputs.encode(pa.chunked_array([], pa.string())).shape == (0, 2)


def test_words_that_are_numbers_are_scaled_by_the_training_rows() -> None:
    words, counts = _words("2", "4", "10", "five"), np.array([3, 1, 0, 2])

    inputs = OrderInput.fit("doors", "numeric", words, counts)
    encoded = inputs.encode(_words("2", "4", "7", " 10 ", "-1e1", "five", "1e999", "", None))

    values = np.array([2, 2, 2, 4])
    expected = (np.array([2, 4, 7, 10, -10]) - values.mean()) / values.std()
    np.testing.assert_allclose(encoded[:5, 0], expected, rtol=1e-6)
    assert encoded[:, 1].tolist() == [0] * 5 + [1] * 4
    assert encoded[5:, 0].tolist() == [0] * 4


@pytest.mark.parametrize("words", [("7",), ("7", "x"), ("x", "y"), ()])
def test_few_numbers_or_none_leave_finite_floats(words: tuple[str, ...]) -> None:
    inputs = OrderInput.fit("n", "numeric", _words(*words), np.ones(len(words), np.int64))

    assert np.isfinite(inputs.encode(_words("7", "8", "x", "1e308", None))).all()


def test_codes_stay_as_they_are_without_an_order() -> None:
    plain = _encoder(CategoryColumn(nullable=True), "med", "low", None, "high", "top")
    ordered = _encoder(
        CategoryColumn(nullable=True, order=LEVELS), "med", "low", None, "high", "top"
    )
    rows = pa.table({"level": _words("low", "never", None), "size": [1.0, 2.0, 3.0]})

    np.testing.assert_array_equal(ordered.encode_categories(rows), plain.encode_categories(rows))
    assert ordered.cardinalities == plain.cardinalities
    assert ordered.categories_table() == plain.categories_table()
    assert (plain.n_numeric, ordered.n_numeric) == (1, 3)
    assert ordered.numeric_names == ("size", "level", "level")
    x_cat = ordered.encode_categories(rows)
    assert ordered.count_unseen(x_cat, rows).tolist() == [0, 1, 0]


def test_an_encoder_without_an_order_is_saved_as_it_always_was(tmp_path: Path) -> None:
    plain, ordered = _encoder(CategoryColumn(), "a", "b"), tmp_path / "ordered"
    ordered.mkdir()

    plain.save(tmp_path)
    _encoder(CategoryColumn(order=("a", "b")), "a", "b").save(ordered)

    saved = json.loads((tmp_path / "encoder.json").read_text())
    assert saved["version"] == 2
    assert "order" not in saved["columns"][1]["settings"]
    # Earlier releases read version 2, and would give models too few inputs.
    assert json.loads((ordered / "encoder.json").read_text())["version"] == 3


@pytest.mark.parametrize("order", [LEVELS, "numeric"])
def test_an_encoder_with_an_order_is_loaded_as_it_was(
    tmp_path: Path, order: tuple[str, ...] | Literal["numeric"]
) -> None:
    encoder = _encoder(CategoryColumn(order=order), "low", "3", "high", "8")

    encoder.save(tmp_path)
    loaded = Encoder.load(tmp_path)

    assert loaded.float_inputs == encoder.float_inputs
    assert loaded.fingerprint() == encoder.fingerprint()
    spec = json.loads((tmp_path / "encoder.json").read_text())
    del spec["columns"][1]["parameters"]
    (tmp_path / "encoder.json").write_text(json.dumps(spec))
    with pytest.raises(ModelError, match="is damaged"):
        Encoder.load(tmp_path)


def test_the_other_order_of_the_same_words_is_another_encoder() -> None:
    encoders = [
        _encoder(CategoryColumn(order=order), "a", "b") for order in (("a", "b"), ("b", "a"))
    ]

    assert encoders[0].fingerprint() != encoders[1].fingerprint()


@pytest.mark.parametrize("order", [["low", "med", "high"], "numeric"])
def test_files_hold_what_a_table_in_memory_gives(
    table_config: MakeConfig, toy_table: MakeTable, order: object
) -> None:
    words = (*LEVELS, "top") if order != "numeric" else ("3", "1", "20", "x")
    column = {"kind": "category", "order": order, "nullable": True}
    config = table_config(columns={"color": column, "size": {"kind": "number"}})
    table = _leveled(toy_table, words)
    gaps = pa.array([n % 17 == 0 for n in range(table.num_rows)])
    values = pa.compute.if_else(gaps, pa.scalar(None, pa.string()), table["color"])
    table = table.set_column(0, "color", values)
    dataset = find_home().dataset(config.name)
    snapshot = take_snapshot(dataset, RowStream.of(table, source="toy.csv"))

    encoded = encode_splits(
        config, split_checked(config, check_snapshot(config, snapshot)), today="2026-01-01"
    )

    encoder, target = encoded.read_encoder(), encoded.read_target()
    for name, part in zip(("train", "val", "test"), split_rows(table, config), strict=True):
        ours, theirs = encoded.read(name), EncodedSplit.of(part, encoder, target)
        np.testing.assert_array_equal(ours.x_cat, theirs.x_cat)
        np.testing.assert_array_equal(ours.x_num, theirs.x_num)
    in_memory = start_on_rows(config, table).encoder
    assert in_memory.float_inputs["color"] == encoder.float_inputs["color"]
    assert list(read_ledger(dataset)) == ["color"]


@pytest.mark.parametrize("kind", ["embedding_mlp", "tabular_mlp", "linear", "boosting", "blend"])
def test_models_of_every_kind_learn_from_raw_rows_with_an_order(
    table_config: MakeConfig, toy_table: MakeTable, tmp_path: Path, kind: str
) -> None:
    columns = {
        "color": {"kind": "category", "order": ["low", "med", "high"]},
        "size": {"kind": "number"},
    }
    tree = table_config(columns=columns).model_dump(mode="json")
    config = PipelineConfig.model_validate({**tree, "model": {"kind": kind}})
    table = _leveled(toy_table)

    model = fit(config, table)
    model.save(tmp_path / "model")

    rows: list[dict[str, Any]] = [{"color": word, "size": 20.0} for word in (*LEVELS, "never")]
    answers = model.predict(rows)
    assert answers["unseen"].tolist() == [0, 0, 0, 1]
    loaded = load_model(tmp_path / "model").predict(rows)
    np.testing.assert_array_equal(
        loaded.filter(like="probability").to_numpy(), answers.filter(like="probability").to_numpy()
    )


def test_first_weights_are_taken_over_for_the_code_and_the_rank(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    def config(order: list[str]) -> PipelineConfig:
        column = {"kind": "category", "order": order}
        return table_config(
            columns={"color": column, "size": {"kind": "number"}},
            training={"start_from": "champion", "warm_share": 1.0},
        )

    table = _leveled(toy_table)
    champion = fit(config(["low", "med", "high"]), table)

    same = start_on_rows(config(["low", "med", "high"]), table, champion=champion)
    other = start_on_rows(config(["low", "high", "med"]), table, champion=champion)

    assert same.training.carried is not None
    assert same.training.carried.columns == ("color", "size")
    network = same.training.network
    assert network is not None
    first = "blocks.0.weight"
    np.testing.assert_array_equal(
        network.state_dict()[first].numpy(), champion.networks[0].state_dict()[first].numpy()
    )
    assert other.training.carried is not None
    assert other.training.carried.fresh_columns == ("color",)


def test_a_typed_value_is_ranked_as_its_word(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    column = {"kind": "category", "order": ["1.0", "2.0", "3.0"]}
    config = table_config(columns={"color": column, "size": {"kind": "number"}})
    table = toy_table(400)
    typed = table.set_column(0, "color", pa.array([1 + n % 3 for n in range(400)], pa.int64()))

    model = fit(config, typed)

    assert sorted(model.encoder.vocabularies["color"].categories.to_pylist()) == [
        *("1.0", "2.0", "3.0")
    ]
    assert unranked_notes(model.encoder) == ()


@pytest.mark.parametrize(
    ("order", "note"),
    [
        (LEVELS, "level: 3 rows hold '7', 'top', not in `order`; they have no rank"),
        ("numeric", "level: 3 rows hold 'low', 'top', no number; they have no rank"),
    ],
)
def test_words_of_training_rows_without_a_rank_are_named(order: tuple[str, ...], note: str) -> None:
    words = ("low", "7", "7", "top") if order != "numeric" else ("low", "7", "top", "top")

    assert unranked_notes(_encoder(CategoryColumn(order=order), *words)) == (note,)
    (hidden,) = unranked_notes(_encoder(CategoryColumn(order=order, private=True), *words))
    assert "top" not in hidden
    assert unranked_notes(_encoder(CategoryColumn(), *words)) == ()


def test_a_word_outside_of_allowed_and_order_breaks_the_contract(
    table_config: MakeConfig, toy_table: MakeTable
) -> None:
    column = {
        "kind": "category",
        "allowed": ["low", "med", "high"],
        "order": ["low", "med", "high"],
    }
    config = table_config(columns={"color": column, "size": {"kind": "number"}})

    with pytest.raises(ContractError, match="'top'; allowed are 'low', 'med', 'high'"):
        fit(config, _leveled(toy_table, (*LEVELS, "top")))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"order": ["low", "low", "high"]}, "lists 'low' twice"),
        ({"order": ["low"]}, "ranks fewer than 2 words"),
        ({"order": []}, "ranks fewer than 2 words"),
        ({"order": "alphabetic"}, "numeric"),
        ({"order": ["a", "b"], "allowed": ["a", "b", "c"]}, "lacks 'c', listed in `allowed`"),
        ({"order": ["a", "b", "c"], "allowed": ["a", "b"]}, "ranks 'c', not listed in `allowed`"),
        ({"order": "numeric", "allowed": ["1", "five"]}, "'five' in `allowed`: no number"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        CategoryColumn.model_validate(settings)


def test_an_order_agrees_with_allowed_in_any_sequence() -> None:
    column = CategoryColumn(allowed=("high", "low", "med"), order=LEVELS)

    assert column.ranked == LEVELS
    assert CategoryColumn(allowed=("2", "1e3"), order="numeric").ranked == ()
    assert CategoryColumn(order=("1", "2")).ranked == ("1", "2")


def test_the_order_of_a_private_column_is_shown_as_hashes(table_config: MakeConfig) -> None:
    column = {"kind": "category", "order": ["lowest", "highest"], "private": True}
    config = table_config(columns={"color": column, "size": {"kind": "number"}})

    shown = config.without_private_words().model_dump_json()

    assert "lowest" not in shown
    assert "highest" not in shown
    number = {"kind": "category", "order": "numeric", "private": True}
    config = table_config(columns={"color": number, "size": {"kind": "number"}})
    assert config.without_private_words() == config


def test_a_column_without_an_order_says_nothing_of_it() -> None:
    assert "order" not in CategoryColumn().model_dump(mode="json")
    assert CategoryColumn(order="numeric").model_dump(mode="json")["order"] == "numeric"
