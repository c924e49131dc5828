"""All columns together: arrays out, files without pickle, counts of what was never seen."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_lib.config.columns import CategoryColumn, Column, NumberColumn
from pipeline_lib.encoding import Encoder, Standardizer
from pipeline_lib.errors import ModelError, UnknownCategoryError

MakeTable = Callable[..., pa.Table]
COLUMNS: dict[str, Column] = {
    "size": NumberColumn(),
    "color": CategoryColumn(),
    "weight": NumberColumn(nullable=True),
    "shape": CategoryColumn(nullable=True),
}


def _rows(
    color: list[str | None], shape: list[str | None], size: list[float | None] | None = None
) -> pa.Table:
    sizes = size or [float(i) for i in range(len(color))]
    return pa.table(
        {
            "size": pa.array(sizes, pa.float64()),
            "color": pa.array(color, pa.string()),
            "weight": pa.array([None, *sizes[1:]], pa.float64()),
            "shape": pa.array(shape, pa.string()),
        }
    )


def _encoder() -> Encoder:
    train = _rows(["red", "blue", "red"], ["round", None, "flat"])
    return Encoder.fit(train, COLUMNS, today="2026-01-01")


def test_arrays_have_a_column_per_input_in_the_order_of_the_config() -> None:
    encoder, rows = _encoder(), _rows(["blue", "red"], ["flat", "round"])

    x_cat, x_num = encoder.encode_categories(rows), encoder.encode_numbers(rows)

    assert x_cat.tolist() == [[2, 2], [3, 3]]
    assert (x_cat.dtype, x_num.dtype) == (np.int32, np.float32)
    assert x_num.shape == (2, encoder.n_numeric) == (2, 3)
    assert x_num[:, 2].tolist() == [1.0, 0.0]
    assert encoder.cardinalities == (4, 4)


@pytest.mark.parametrize("kind", ["category", "number"])
def test_an_encoder_of_one_kind_of_column_gives_the_other_array_no_width(kind: str) -> None:
    columns: dict[str, Column] = {n: c for n, c in COLUMNS.items() if c.kind == kind}
    rows = _rows(["red", "blue"], ["round", "flat"])
    encoder = Encoder.fit(rows, columns, today="2026-01-01")

    shapes = (encoder.encode_categories(rows).shape, encoder.encode_numbers(rows).shape)

    assert shapes == (((2, 2), (2, 0)) if kind == "category" else ((2, 0), (2, 3)))


def test_a_table_without_rows_gives_arrays_without_rows() -> None:
    encoder = _encoder()
    empty = _rows(["red"], ["flat"])[:0]

    x_cat = encoder.encode_categories(empty)

    assert x_cat.shape == (0, 2)
    assert encoder.encode_numbers(empty).shape == (0, 3)
    assert encoder.count_unseen(x_cat, empty).tolist() == []


@given(
    st.lists(st.tuples(st.none() | st.text(), st.none() | st.floats(-1e9, 1e9)), min_size=1),
    st.text(min_size=1),
)
def test_a_saved_encoder_loads_as_the_same_encoder(
    tmp_path: Path, values: list[tuple[str | None, float | None]], name: str
) -> None:
    words, numbers = (list(part) for part in zip(*values, strict=True))
    number_name = f"{name} as a number"
    rows = pa.table(
        {name: pa.array(words, pa.string()), number_name: pa.array(numbers, pa.float64())}
    )
    columns: dict[str, Column] = {
        name: CategoryColumn(nullable=True, on_unknown="error"),
        number_name: NumberColumn(nullable=True, minimum=-1e9),
    }
    encoder = Encoder.fit(rows, columns, today="2026-01-01")

    encoder.save(tmp_path)
    loaded = Encoder.load(tmp_path)

    assert loaded.columns == encoder.columns
    assert loaded.float_inputs == encoder.float_inputs
    assert loaded.categories_table().equals(encoder.categories_table())
    assert loaded.fingerprint() == encoder.fingerprint()


def test_the_table_of_categories_says_which_code_means_what() -> None:
    table = _encoder().categories_table()

    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("color", 0, None, 0, None, None, None),
        ("color", 1, None, 0, None, None, None),
        ("color", 2, "blue", 1, "2026-01-01", "2026-01-01", "active"),
        ("color", 3, "red", 2, "2026-01-01", "2026-01-01", "active"),
        ("shape", 0, None, 0, None, None, None),
        ("shape", 1, None, 1, None, None, None),
        ("shape", 2, "flat", 1, "2026-01-01", "2026-01-01", "active"),
        ("shape", 3, "round", 1, "2026-01-01", "2026-01-01", "active"),
    ]


def test_an_encoder_without_categories_saves_an_empty_table(tmp_path: Path) -> None:
    columns: dict[str, Column] = {"size": NumberColumn()}
    encoder = Encoder.fit(_rows(["a"], ["b"]), columns, today="2026-01-01")

    encoder.save(tmp_path)

    assert Encoder.load(tmp_path).fingerprint() == encoder.fingerprint()
    assert pq.read_table(tmp_path / "categories.parquet").num_rows == 0


def test_the_fingerprint_changes_with_what_a_code_means_and_not_with_counts() -> None:
    def fingerprint(color: list[str | None], today: str = "2026-01-01") -> str:
        shapes: list[str | None] = ["round", "flat", None, "flat"]
        rows = _rows(color, shapes, [1.0, 2.0, 3.0, 4.0])
        return Encoder.fit(rows, COLUMNS, today=today).fingerprint()

    base = fingerprint(["red", "blue", "red", "red"])

    assert fingerprint(["blue", "blue", "red", "blue"], "2026-01-02") == base
    assert fingerprint(["red", "blue", "red", "green"]) != base


@pytest.mark.parametrize("damage", ["version", "word", "mean", "cut", "gone", "empty"])
def test_an_encoder_that_was_tampered_with_is_refused(tmp_path: Path, damage: str) -> None:
    _encoder().save(tmp_path)
    path, categories = tmp_path / "encoder.json", tmp_path / "categories.parquet"
    spec = json.loads(path.read_text())

    match damage:
        case "version":
            path.write_text(json.dumps({**spec, "version": 99}))
        case "mean":
            spec["columns"][0]["parameters"]["mean"] += 1
            path.write_text(json.dumps(spec))
        case "word":
            table = pq.read_table(categories)
            words = ["green" if w == "red" else w for w in table["category"].to_pylist()]
            pq.write_table(table.set_column(2, "category", pa.array(words)), categories)
        case "cut":
            path.write_text(path.read_text()[:-20])
        case "gone":
            categories.unlink()
        case _:
            categories.write_bytes(b"")

    with pytest.raises(ModelError, match="99" if damage == "version" else str(tmp_path)):
        Encoder.load(tmp_path)


@pytest.mark.parametrize("new", [None, [], {}, "x", -1, float("inf")])
def test_whatever_stands_where_a_part_stood_is_refused_as_a_models_error(
    tmp_path: Path, new: object
) -> None:
    _encoder().save(tmp_path)
    path = tmp_path / "encoder.json"
    good = path.read_text()

    for keys in _places({"spec": json.loads(good)}):
        document = {"spec": json.loads(good)}
        place: Any = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = new
        path.write_text(json.dumps(document["spec"]))

        with suppress(ModelError):
            assert Encoder.load(tmp_path).fingerprint() == json.loads(good)["fingerprint"]


def _places(part: object, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys that lead to every part of a JSON document, the whole of it aside."""
    keys: list[Any] = []
    match part:
        case dict():
            keys = list(part)
        case list():
            keys = list(range(len(part)))
        case _:
            pass
    for key in keys:
        yield (*above, key)
        yield from _places(cast("Any", part)[key], (*above, key))


def test_an_unseen_word_stops_only_the_column_that_asks_for_it() -> None:
    columns: dict[str, Column] = {
        "color": CategoryColumn(on_unknown="error"),
        "shape": CategoryColumn(),
    }
    encoder = Encoder.fit(_rows(["red"], ["flat"]), columns, today="2026-01-01")

    codes = encoder.encode_categories(_rows(["red"], ["square"]))

    assert codes.tolist() == [[2, 0]]
    with pytest.raises(UnknownCategoryError, match="column 'color'"):
        encoder.encode_categories(_rows(["teal"], ["flat"]))


def test_what_training_never_saw_is_counted_per_row() -> None:
    encoder = _encoder()
    rows = _rows(
        ["teal", "red", "teal", None, "red"],
        ["flat", "flat", "square", None, None],
        [1.0, None, None, 1.0, 2.0],
    )

    unseen = encoder.count_unseen(encoder.encode_categories(rows), rows)

    # color had no null in training, shape had one; size may not be null, weight may.
    assert unseen.tolist() == [1, 1, 3, 1, 0]
    assert unseen.dtype == np.int32


def test_a_category_of_an_earlier_night_that_tonight_has_no_row_of_counts_as_unseen() -> None:
    first = Encoder.fit(_rows(["red", "teal"], ["flat", None]), COLUMNS, today="2026-01-01")
    second = Encoder.fit(
        _rows(["red", "blue"], ["flat", None]),
        COLUMNS,
        today="2026-01-02",
        ledger=first.vocabularies,
    )
    rows = _rows(["teal", "blue"], ["flat", "flat"])

    unseen = second.count_unseen(second.encode_categories(rows), rows)

    assert unseen.tolist() == [1, 0]


def test_only_training_rows_teach_the_encoder(toy_table: MakeTable) -> None:
    columns: dict[str, Column] = {"color": CategoryColumn(), "size": NumberColumn()}
    train = toy_table(50)

    encoder = Encoder.fit(train, columns, today="2026-01-01")

    sizes = np.array(train["size"].to_pylist())
    size = encoder.float_inputs["size"]
    assert isinstance(size, Standardizer)
    assert size.mean == pytest.approx(sizes.mean())
    assert size.deviation == pytest.approx(sizes.std())
