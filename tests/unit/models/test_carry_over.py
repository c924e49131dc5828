"""What a trained network knows starts a new one: by column, category and class, not by place."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.columns import Column
from pipeline_lib.encoding import ClassTarget, Encoder, NumberTarget, Target
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.models.carry_over import CarriedOver, Learned, carried_widths, carry_over

WORDS = ("high", "low", "med", "none", "some")


def _columns(**columns: dict[str, Any]) -> Mapping[str, Column]:
    tree = {
        "name": "toy",
        "data": {"source": {"kind": "csv", "path": "t.csv"}, "target": "y", "task": "binary"},
        "columns": columns,
    }
    return PipelineConfig.model_validate(tree).columns


BEFORE = _columns(
    safety={"kind": "category"},
    maker={"kind": "hash", "n_buckets": 16},
    price={"kind": "number"},
    size={"kind": "number", "nullable": True},
)


def _table(words: tuple[str, ...] = WORDS[:4], n_rows: int = 40) -> pa.Table:
    random = np.random.default_rng(0)
    return pa.table(
        {
            "safety": [words[i % len(words)] for i in range(n_rows)],
            "maker": [f"m{i % 7}" for i in range(n_rows)],
            "price": random.normal(size=n_rows),
            "size": [None, *random.normal(size=n_rows - 1)],
            "doors": [words[i % 2] for i in range(n_rows)],
            "weight": random.normal(size=n_rows),
        }
    )


def _encoder(
    columns: Mapping[str, Column], table: pa.Table, before: Encoder | None = None
) -> Encoder:
    ledger = before.vocabularies if before else None
    return Encoder.fit(table, columns, today="2026-01-01", ledger=ledger)


def _network(encoder: Encoder, target: Target, d_embeddings: tuple[int, ...] = ()) -> EmbeddingMLP:
    network = EmbeddingMLP(
        encoder.cardinalities,
        n_numeric=encoder.n_numeric,
        d_out=target.d_out,
        d_hidden=(6, 5),
        d_embeddings=d_embeddings or None,
    )
    with torch.no_grad():
        for buffer in network.buffers():
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    return network.eval()


def _learned(target: Target, columns: Mapping[str, Column] = BEFORE) -> Learned:
    encoder = _encoder(columns, _table())
    return Learned(_network(encoder, target), encoder, target)


def _answers(network: EmbeddingMLP, encoder: Encoder, table: pa.Table) -> torch.Tensor:
    x_cat = torch.from_numpy(encoder.encode_categories(table))
    return network(x_cat, torch.from_numpy(encoder.encode_numbers(table)))


def _next(
    source: Learned, columns: Mapping[str, Column], table: pa.Table, target: Target
) -> tuple[Encoder, EmbeddingMLP, CarriedOver]:
    encoder = _encoder(columns, table, source.encoder)
    network = _network(encoder, target, carried_widths(source, encoder, 50))
    return encoder, network, carry_over(source, network, encoder, target)


BINARY = ClassTarget("y", ("no", "yes"))


def test_for_the_same_rows_the_new_network_answers_as_the_trained_one() -> None:
    source, table = _learned(BINARY), _table()

    encoder, network, carried = _next(source, BEFORE, table, BINARY)

    expected = _answers(source.network, source.encoder, table)
    torch.testing.assert_close(_answers(network, encoder, table), expected)
    assert str(carried) == "4 of 4 columns"


def test_a_share_of_the_trained_network_leaves_the_rest_to_the_fresh_one() -> None:
    source, table = _learned(BINARY), _table()
    encoder = _encoder(BEFORE, table, source.encoder)
    fresh = _network(encoder, BINARY, carried_widths(source, encoder, 50))
    mixed = copy.deepcopy(fresh)

    carry_over(source, mixed, encoder, BINARY, share=0.75)

    pairs = zip(source.network.parameters(), fresh.parameters(), strict=True)
    for weight, (trained, drawn) in zip(mixed.parameters(), pairs, strict=True):
        torch.testing.assert_close(weight, 0.75 * trained + 0.25 * drawn)
    for ours, theirs in zip(mixed.buffers(), source.network.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_new_category_starts_as_the_trained_network_sees_an_unseen_one() -> None:
    source, table = _learned(BINARY), _table(WORDS)

    encoder, network, carried = _next(source, BEFORE, table, BINARY)

    # to the trained network the fifth word is an unseen one
    assert encoder.vocabularies["safety"].cardinality == 7
    expected = _answers(source.network, source.encoder, table)
    torch.testing.assert_close(_answers(network, encoder, table), expected)
    assert str(carried) == "4 of 4 columns, 1 new category starts as an unseen one"


def test_an_embedding_keeps_its_width_when_categories_join() -> None:
    source = _learned(BINARY)  # of 4 words: width 2; of 5 it would be 3

    _, network, _ = _next(source, BEFORE, _table(WORDS), BINARY)

    assert network.d_embeddings == source.network.d_embeddings


@pytest.mark.parametrize(
    "order", [("price", "safety", "size", "maker"), ("size", "maker", "price", "safety")]
)
def test_columns_are_matched_by_name_whatever_their_order(order: tuple[str, ...]) -> None:
    source, table = _learned(BINARY), _table()

    encoder, network, _ = _next(source, {name: BEFORE[name] for name in order}, table, BINARY)

    expected = _answers(source.network, source.encoder, table)
    torch.testing.assert_close(_answers(network, encoder, table), expected)


def test_categories_are_matched_by_word_where_codes_are_others() -> None:
    source, table = _learned(BINARY), _table()
    encoder = _encoder(BEFORE, _table(tuple(reversed(WORDS))))  # another ledger: other codes

    network = _network(encoder, BINARY, carried_widths(source, encoder, 50))
    carry_over(source, network, encoder, BINARY)

    expected = _answers(source.network, source.encoder, table)
    torch.testing.assert_close(_answers(network, encoder, table), expected)


def test_columns_that_left_and_joined_are_told_and_the_others_carried_over() -> None:
    source, table = _learned(BINARY), _table()
    columns = _columns(
        safety={"kind": "category"},
        doors={"kind": "category"},
        size={"kind": "number", "nullable": True},
        weight={"kind": "number"},
    )

    encoder, network, carried = _next(source, columns, table, BINARY)

    assert carried.columns == ("safety", "size")
    assert str(carried) == "2 of 4 columns, fresh: 'doors', 'weight'"
    # size is at 2 + 16-bucket embedding + price in the source, after two embeddings here
    theirs, ours = (n.blocks[0].weight for n in (source.network, network))
    torch.testing.assert_close(ours[:, :2], theirs[:, :2])
    place = sum(network.d_embeddings)
    torch.testing.assert_close(ours[:, place : place + 2], theirs[:, -2:])
    assert encoder.numeric_names == ("size", "size", "weight")


def test_what_is_told_of_fresh_columns_is_short_however_long_and_many_their_names() -> None:
    names = tuple(f"{number} " + "wide " * 1000 for number in range(200))

    told = str(CarriedOver(("safety",), names, n_new_categories=0, n_new_classes=0, has_head=True))

    assert told.startswith("1 of 201 columns, fresh: '0 wide ")
    assert len(told) < 500


@pytest.mark.parametrize(
    "changed",
    [
        {"safety": {"kind": "hash", "n_buckets": 16}},
        {"maker": {"kind": "hash", "n_buckets": 32}},
        {"price": {"kind": "number", "nullable": True}},
        {"price": {"kind": "number", "scaling": {"kind": "robust"}}},
        {"price": {"kind": "boolean"}},
    ],
)
def test_a_column_that_means_something_else_now_starts_fresh(changed: dict[str, Any]) -> None:
    source, table = _learned(BINARY), _table()
    if changed.get("price", {}).get("kind") == "boolean":
        flags = pa.array([i % 2 == 0 for i in range(table.num_rows)])
        table = table.set_column(table.column_names.index("price"), "price", flags)
    columns = {**BEFORE, **_columns(**changed)}

    *_, carried = _next(source, columns, table, BINARY)

    assert carried.fresh_columns == tuple(changed)


def test_a_column_whose_yes_is_now_a_no_starts_fresh() -> None:
    table = _table().append_column("male", pa.array([i % 2 == 0 for i in range(40)]))
    before = _columns(male={"kind": "boolean", "true": ["m"], "false": ["f"]})
    after = _columns(male={"kind": "boolean", "true": ["f"], "false": ["m"]})
    encoder = _encoder(before, table)
    source = Learned(_network(encoder, BINARY), encoder, BINARY)

    *_, carried = _next(source, after, table, BINARY)

    assert carried.fresh_columns == ("male",)


def test_of_more_classes_each_keeps_its_row_of_the_last_layer() -> None:
    source = _learned(ClassTarget("y", ("a", "b", "c")))
    target = ClassTarget("y", ("a", "aa", "b", "c"))

    _, network, carried = _next(source, BEFORE, _table(), target)

    torch.testing.assert_close(network.head.weight[[0, 2, 3]], source.network.head.weight)
    torch.testing.assert_close(network.head.bias[[0, 2, 3]], source.network.head.bias)
    assert str(carried) == "4 of 4 columns, 1 new class starts fresh"


@pytest.mark.parametrize(
    "target", [ClassTarget("y", ("no", "maybe")), ClassTarget("y", ("a", "b", "c"))]
)
def test_two_classes_that_are_others_get_a_fresh_last_layer(target: ClassTarget) -> None:
    source = _learned(BINARY)

    _, network, carried = _next(source, BEFORE, _table(), target)

    expected = "a fresh last layer, for the classes or the target's scale are others"
    assert str(carried) == f"4 of 4 columns, {expected}"
    assert not torch.isin(network.head.weight, source.network.head.weight).any()


def test_a_regressions_last_layer_is_carried_over() -> None:
    source, table = _learned(NumberTarget("y", 0.0, 1.0)), _table()

    encoder, network, carried = _next(source, BEFORE, table, NumberTarget("y", 5.0, 2.0))

    assert carried.has_head
    expected = _answers(source.network, source.encoder, table)
    torch.testing.assert_close(_answers(network, encoder, table), expected)
