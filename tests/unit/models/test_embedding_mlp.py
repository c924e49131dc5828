"""The textbook's network: widths, order of layers, and rows of any number."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pipeline_lib.config.models import EmbeddingMLPSettings
from pipeline_lib.encoding import N_RESERVED
from pipeline_lib.models import Dimensions, EmbeddingMLP, embedding_width
from pipeline_lib.models.dropout import Dropout
from pipeline_lib.models.embedding_mlp import EmbeddingMLPKind
from pipeline_lib.training.rows import TensorSplit


def _inputs(
    cardinalities: tuple[int, ...], n_rows: int, n_numeric: int
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    codes = [torch.randint(0, n, (n_rows,), generator=generator) for n in cardinalities]
    x_cat = torch.stack(codes, dim=1) if codes else torch.empty(n_rows, 0, dtype=torch.int64)
    return x_cat.to(torch.int32), torch.randn(n_rows, n_numeric, generator=generator)


def _no_rows(dimensions: Dimensions) -> TensorSplit:
    x_cat, x_num = _inputs(dimensions.cardinalities, 0, dimensions.n_numeric)
    return TensorSplit(x_cat, x_num, torch.empty(0))


@given(st.integers(1, 100_000), st.integers(1, 100))
def test_a_width_is_half_the_categories_rounded_up_and_never_above_the_maximum(
    n_categories: int, d_max: int
) -> None:
    width = embedding_width(n_categories + N_RESERVED, d_max)

    assert width == min(d_max, (n_categories + 1) // 2)


def test_the_car_tables_columns_get_the_widths_of_the_textbook() -> None:
    # Four columns of 4, 4, 4, 3, 3, 3 categories: (4 + 1) // 2 = 2 and (3 + 1) // 2 = 2.
    cardinalities = [n + N_RESERVED for n in (4, 4, 4, 3, 3, 3)]

    model = EmbeddingMLP(cardinalities, n_numeric=0, d_out=4)

    tables = [(e.num_embeddings, e.embedding_dim) for e in model.embeddings]
    assert tables == [(n, 2) for n in cardinalities]


def test_each_block_is_linear_relu_batchnorm_dropout_and_a_linear_head_follows() -> None:
    settings = EmbeddingMLPSettings(d_hidden=(200, 100, 50), dropout=0.3, dropout_embedding=0.2)

    dimensions = Dimensions((6, 6), n_numeric=3, d_out=4, n_classes=4)
    model = EmbeddingMLPKind(settings).build(dimensions, _no_rows(dimensions))

    kinds = [type(layer) for layer in model.blocks]
    linears = [layer for layer in model.blocks if isinstance(layer, nn.Linear)]
    dropouts = [layer.p for layer in model.blocks if isinstance(layer, Dropout)]
    assert kinds == [nn.Linear, nn.ReLU, nn.BatchNorm1d, Dropout] * 3
    assert [(x.in_features, x.out_features) for x in linears] == [(7, 200), (200, 100), (100, 50)]
    assert dropouts == [0.3, 0.3, 0.3]
    assert model.dropout_embedding.p == 0.2
    assert (model.head.in_features, model.head.out_features) == (50, 4)


@pytest.mark.parametrize("n_rows", [0, 1, 2, 1000])
@pytest.mark.parametrize(("cardinalities", "n_numeric"), [((6, 4), 3), ((6,), 0), ((), 2)])
def test_rows_of_any_number_give_as_many_logits_in_eval_mode(
    n_rows: int, cardinalities: tuple[int, ...], n_numeric: int
) -> None:
    model = EmbeddingMLP(cardinalities, n_numeric=n_numeric, d_out=3, d_hidden=(8,)).eval()

    logits = model(*_inputs(cardinalities, n_rows, n_numeric))

    assert logits.shape == (n_rows, 3)
    assert torch.isfinite(logits).all()


def test_a_row_has_the_same_logits_alone_and_among_others_in_eval_mode() -> None:
    model = EmbeddingMLP((6, 4), n_numeric=3, d_out=3, d_hidden=(8, 8)).eval()
    x_cat, x_num = _inputs((6, 4), 100, 3)

    together = model(x_cat, x_num)

    alone = torch.cat([model(x_cat[i : i + 1], x_num[i : i + 1]) for i in range(100)])
    torch.testing.assert_close(together, alone)


def test_int32_and_int64_codes_give_the_same_logits() -> None:
    model = EmbeddingMLP((6, 4), n_numeric=1, d_out=2, d_hidden=(8,)).eval()
    x_cat, x_num = _inputs((6, 4), 10, 1)

    assert torch.equal(model(x_cat, x_num), model(x_cat.long(), x_num))


def test_numbers_join_after_the_embeddings_and_past_their_dropout() -> None:
    model = EmbeddingMLP((6,), n_numeric=2, d_out=1, d_hidden=(4,), dropout=0.0).train()
    model.dropout_embedding.p = 0.999
    seen: list[torch.Tensor] = []
    model.blocks[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    x_cat, x_num = _inputs((6,), 50, 2)

    model(x_cat, x_num)

    assert seen[0].shape == (50, 2 + 2)
    assert torch.equal(seen[0][:, 2:], x_num)
    assert (seen[0][:, :2] == 0).float().mean() > 0.9


def test_codes_without_training_rows_get_the_mean_vector_of_the_training_rows() -> None:
    model = EmbeddingMLP((6,), n_numeric=0, d_out=1, d_hidden=(4,))
    table = model.embeddings[0]
    assert isinstance(table, nn.Embedding)
    x_cat = torch.tensor([[2], [2], [4]], dtype=torch.int32)
    before = table.weight.detach().clone()

    model.fill_untrained([torch.bincount(x_cat[:, 0], minlength=6)])

    mean = before[[2, 2, 4]].mean(dim=0)
    for code in (0, 1, 3, 5):
        torch.testing.assert_close(table.weight[code], mean)
    assert torch.equal(table.weight[[2, 4]], before[[2, 4]])


def test_filling_untrained_codes_changes_no_prediction_of_a_training_row() -> None:
    model = EmbeddingMLP((9, 7), n_numeric=1, d_out=3, d_hidden=(8,)).eval()
    x_cat, x_num = _inputs((5, 4), 40, 1)
    before = model(x_cat, x_num)

    model.fill_untrained(
        [torch.bincount(x_cat[:, position], minlength=n) for position, n in enumerate((9, 7))]
    )

    assert torch.equal(model(x_cat, x_num), before)


def test_a_model_without_category_columns_has_nothing_to_fill() -> None:
    model = EmbeddingMLP((), n_numeric=2, d_out=1, d_hidden=(4,))
    before = {k: v.clone() for k, v in model.state_dict().items()}

    model.fill_untrained([])

    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_the_same_seed_builds_the_same_weights() -> None:
    def build(seed: int) -> EmbeddingMLP:
        torch.manual_seed(seed)
        dimensions = Dimensions((6,), n_numeric=1, d_out=2, n_classes=2)
        return EmbeddingMLPKind(EmbeddingMLPSettings()).build(dimensions, _no_rows(dimensions))

    one, same, other = build(3), build(3), build(4)

    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.head.weight, other.head.weight)


def test_first_embeddings_have_the_deviation_that_is_set_and_all_else_stays() -> None:
    dimensions = Dimensions((2_000,), n_numeric=2, d_out=1, n_classes=2)
    built: dict[float, EmbeddingMLP] = {}
    for deviation in (1.0, 0.1):
        torch.manual_seed(0)
        settings = EmbeddingMLPSettings(embedding_deviation=deviation)
        built[deviation] = EmbeddingMLPKind(settings).build(dimensions, _no_rows(dimensions))

    plain, small = built[1.0], built[0.1]
    assert small.tables[0].weight.std().item() == pytest.approx(0.1, rel=0.02)
    assert torch.equal(small.tables[0].weight, plain.tables[0].weight * 0.1)
    assert torch.equal(small.head.weight, plain.head.weight)


def test_a_config_that_sets_no_deviation_is_the_config_it_was() -> None:
    assert "embedding_deviation" not in EmbeddingMLPSettings().model_dump()
    assert EmbeddingMLPSettings(embedding_deviation=0.1).model_dump()["embedding_deviation"] == 0.1
