"""Few categories are one-hot, many are embedded, and the unseen code learns from dropped ones."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.preprocessing import OneHotEncoder
from torch import Tensor

from pipeline_lib.models.category_inputs import CategoryInputs


def _inputs(*cardinalities: int, p_unseen: float = 0.0, one_hot_max: int = 3) -> CategoryInputs:
    inputs = CategoryInputs(
        cardinalities, one_hot_max=one_hot_max, d_embedding=4, p_unseen=p_unseen
    )
    inputs.begin()
    return inputs


def _encoded(inputs: CategoryInputs, codes: Tensor) -> Tensor:
    return torch.cat(inputs(codes, torch.float32), dim=1)


def test_one_hot_columns_are_those_of_scikit_learn_and_unseen_is_all_zeros() -> None:
    codes = torch.tensor([[0, 2], [1, 4], [2, 1], [4, 0], [3, 3]], dtype=torch.int32)

    ours = _encoded(_inputs(5, 5), codes)

    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encoder.fit(np.stack([np.arange(1, 5)] * 2, axis=1))
    np.testing.assert_array_equal(ours, encoder.transform(codes.numpy()))


def test_two_categories_are_one_column_of_signs_beside_the_one_of_missing() -> None:
    codes = torch.tensor([[0], [1], [2], [3]])

    encoded = _encoded(_inputs(4), codes)

    assert encoded.tolist() == [[0, 0], [1, 0], [0, -1], [0, 1]]


@pytest.mark.parametrize(
    ("n_categories", "width"), [(0, 1), (1, 2), (2, 2), (3, 4), (4, 4), (500, 4)]
)
def test_width_is_that_of_the_output(n_categories: int, width: int) -> None:
    inputs = _inputs(n_categories + 2)

    encoded = _encoded(inputs, torch.tensor([[0], [1]]))

    assert encoded.shape == (2, width)
    assert inputs.width == width


def test_no_columns_give_no_input() -> None:
    inputs = _inputs()

    assert inputs.width == 0
    assert inputs(torch.empty(3, 0, dtype=torch.int32), torch.float32) == []


def test_fresh_embeddings_are_small_and_the_unseen_one_is_zero() -> None:
    torch.manual_seed(0)

    (table,) = _inputs(20_000).tables

    assert not table.weight[0].any()
    bound = stats.chi2.ppf([1e-6, 1 - 1e-6], 80_000) / 80_000  # of a variance of 1
    assert bound[0] < float(table.weight.detach().var()) / 0.1**2 < bound[1]


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_in_training_embedded_codes_become_the_unseen_one_as_often_as_asked(p: float) -> None:
    torch.manual_seed(1)
    inputs = _inputs(20, p_unseen=p).train()

    encoded = _encoded(inputs, torch.full((20_000, 1), 7))

    n_unseen = int((encoded == 0).all(dim=1).sum())
    low, high = stats.binom.interval(1 - 1e-6, 20_000, p)
    assert low <= n_unseen <= high
    _, weights = encoded.unique(dim=0), inputs.tables[0].weight
    assert encoded.unique(dim=0).shape == (2, 4)
    assert (encoded == weights[7]).all(dim=1).sum() == 20_000 - n_unseen


def test_dropped_codes_train_the_unseen_one_and_kept_ones_alone_their_own() -> None:
    torch.manual_seed(2)
    inputs = _inputs(20, p_unseen=0.3).train()

    _encoded(inputs, torch.full((100, 1), 7)).sum().backward()

    gradient = inputs.tables[0].weight.grad
    assert gradient is not None
    n_rows = gradient[:, 0]
    assert n_rows[0] > 0
    assert n_rows[0] + n_rows[7] == 100


def test_neither_evaluation_nor_a_one_hot_column_drops_a_code() -> None:
    embedded, one_hot = _inputs(20, p_unseen=0.9).eval(), _inputs(5, p_unseen=0.9).train()

    assert len(_encoded(embedded, torch.full((100, 1), 7)).unique(dim=0)) == 1
    assert bool((_encoded(one_hot, torch.full((100, 1), 3))[:, 2] == 1).all())


def test_columns_drop_independently_of_each_other() -> None:
    torch.manual_seed(3)
    inputs = _inputs(20, 20, p_unseen=0.5).train()

    encoded = _encoded(inputs, torch.full((20_000, 2), 7))

    both = ((encoded[:, :4] == 0).all(dim=1) & (encoded[:, 4:] == 0).all(dim=1)).sum()
    low, high = stats.binom.interval(1 - 1e-6, 20_000, 0.25)
    assert low <= int(both) <= high


def test_codes_without_training_rows_count_as_unseen() -> None:
    inputs = _inputs(5, 4, 20)
    counts = [torch.tensor([0, 0, 5, 0, 5]), torch.tensor([0, 0, 5, 5]), torch.ones(20)]
    counts[2][3] = 0

    untrained = inputs.untrained(counts)
    inputs.fill_untrained(counts)

    assert untrained.tolist() == [True, False, True, False, True, False, *[False] * 4]
    (table,) = inputs.tables
    assert torch.equal(table.weight[3], table.weight[0])
    assert not torch.equal(table.weight[4], table.weight[0])
